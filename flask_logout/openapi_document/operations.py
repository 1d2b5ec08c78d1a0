"""Describe in OpenAPI what each endpoint accepts and how it responds."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import field

from pydantic import BaseModel

from ..config.value_types import Endpoint
from ..request_validation import error_item
from ..schemas import ContentTooLarge
from ..schemas import Envelope
from ..schemas import ErrorCode
from ..schemas import EXAMPLE_TOKEN
from ..schemas import ExternalAPIErrorData
from ..schemas import ExternalAPIFailed
from ..schemas import InvalidToken
from ..schemas import LoggedOut
from ..schemas import LogoutAllRequest
from ..schemas import LogoutRequest
from ..schemas import ServiceUnavailable
from ..schemas import ValidationErrorData
from ..schemas import ValidationFailed
from .security import Token


class Answer(t.NamedTuple):
    """An example of a response."""

    name: str
    """The name of the example."""

    summary: str
    """What leads to the response."""

    envelope: Envelope
    """The body of the response."""


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    name: str
    """The ``operationId``, which is also the name of the example of a request."""

    path: str
    """The path, after ``LOGOUT_URL_PREFIX``."""

    method: t.Literal["get", "post", "delete"]

    summary: str

    description: str

    answers: tuple[Answer, ...]
    """Examples of every response."""

    request: type[BaseModel] | None = None
    """The model of the request's body, or ``None`` if it has none."""

    body: dict[str, t.Any] = field(default_factory=dict)
    """An example of that body."""

    body_description: str = ""

    parameters: tuple[dict[str, t.Any], ...] = ()
    """The parameters in the path and in the query string."""

    token: Token = "access"
    """The token that authorizes the request."""

    takes_refresh_token: bool = False
    """Whether the body has a refresh token, which can also be in a cookie."""

    sets_cookies: bool = False
    """Whether a success sets the cookies of new tokens."""

    unsets_cookies: tuple[str, ...] = ("200", "401")
    """The statuses with which cookies are unset."""


def reject(key: str, code: ErrorCode, value: object, summary: str) -> Answer:
    """Describe a response to an invalid request."""
    data = ValidationErrorData(errors=[error_item(key, code, value)])
    return Answer(code, summary, ValidationFailed(data=data))


_LOGGED_OUT = Answer("logged_out", "Logged out", LoggedOut())
_UPSTREAM_FAILED = Answer(
    "external_api_error",
    "Another service that has to end the login failed",
    ExternalAPIFailed(
        data=ExternalAPIErrorData(
            errors=[], details={"upstream": "identity provider", "status": 502}
        )
    ),
)
TOO_LARGE = Answer(
    "content_too_large", "Larger than the app accepts", ContentTooLarge()
)
UNAVAILABLE = Answer(
    "service_unavailable", "The store did not respond", ServiceUnavailable()
)

_LOGOUT = Operation(
    name="logout",
    path="/logout",
    method="post",
    summary="Revoke the access token and the refresh token of a login",
    description="Both tokens are validated first, then revoked in one statement. With any"
    " status other than 200, Flask-Logout has revoked nothing, unless the store did not"
    " acknowledge a write (503). A valid refresh token that has expired or is already"
    " revoked is accepted. Unknown fields in the body are ignored.",
    request=LogoutRequest,
    body={"refresh_token": EXAMPLE_TOKEN},
    body_description="The refresh token of the same user as the access token.",
    answers=(
        _LOGGED_OUT,
        reject(
            *("body", "invalid_json", [1, 2]),
            "No body, not a JSON object, or another content type",
        ),
        reject(
            *("refresh_token", "required", ""),
            "Missing, null, or an empty or blank string",
        ),
        reject("refresh_token", "string_expected", 42, "Not a string"),
        reject(
            *("refresh_token", "too_long", EXAMPLE_TOKEN),
            "Longer than the app accepts",
        ),
        reject(
            *("refresh_token", "invalid", EXAMPLE_TOKEN),
            "Malformed, invalid signature, issuer or audience, or not valid yet",
        ),
        reject(
            *("refresh_token", "wrong_token_type", EXAMPLE_TOKEN),
            "A valid token of another type",
        ),
        reject(
            *("refresh_token", "wrong_subject", EXAMPLE_TOKEN),
            "A valid refresh token with another subject or issuer than the access token",
        ),
        _UPSTREAM_FAILED,
        Answer(
            "invalid_token",
            "Missing, malformed, forged, expired, revoked, or a refresh token",
            InvalidToken(),
        ),
        TOO_LARGE,
        UNAVAILABLE,
    ),
    takes_refresh_token=True,
)

_LOGOUT_ALL = Operation(
    name="logout_all",
    path="/logout/all",
    method="post",
    summary="Revoke every login of the user",
    description="Revokes every token of every login that began before the request, or of"
    " every other login if `keep_current` is true. With any status other than 200,"
    " Flask-Logout has revoked nothing, unless the store did not acknowledge a write"
    " (503). Unknown fields in the body are ignored.",
    request=LogoutAllRequest,
    body={"keep_current": True},
    body_description="Whether the current login stays valid. A request without a body"
    " ends it too.",
    answers=(
        _LOGGED_OUT,
        reject(
            *("body", "invalid_json", [1, 2]),
            "A body that is not a JSON object, or has another content type",
        ),
        reject("keep_current", "boolean_expected", None, "Not a boolean"),
        reject(
            *("keep_current", "session_required", True),
            "The access token does not belong to a session",
        ),
        _UPSTREAM_FAILED,
        Answer(
            "invalid_token",
            "Missing, malformed, forged, expired, revoked, a refresh token, or not fresh"
            " although the app requires it",
            InvalidToken(),
        ),
        TOO_LARGE,
        UNAVAILABLE,
    ),
)

OPERATIONS: dict[Endpoint, tuple[Operation, ...]] = {
    "logout": (_LOGOUT,),
    "logout_all": (_LOGOUT_ALL,),
}
"""The operations of each endpoint, except those in :mod:`.openapi_document.sessions`."""
