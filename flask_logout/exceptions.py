"""The exceptions of Flask-Logout, and the JSON responses of those that have one."""

from __future__ import annotations

import json
import typing as t

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

if t.TYPE_CHECKING:
    from pydantic import JsonValue

    from .schemas import ErrorItem

RETRY_AFTER = 5
"""Seconds that a client should wait before it retries after a 503 response."""


class LogoutError(Exception):
    """Base class of all Flask-Logout exceptions."""


class ConfigError(LogoutError, RuntimeError):
    """The app is set up or configured incorrectly. The message says how to fix it."""


class InvalidTokenError(LogoutError):
    """The access token is missing or invalid. The status of the response is 401.

    :param description: the cause (RFC 6750 3.1), or ``None`` if there is no token.
    """

    def __init__(self, description: str | None = None) -> None:
        super().__init__(description or "no token")
        self.description = description


class ResponseError(LogoutError, HTTPException):
    """Base class of the exceptions that Flask turns into a JSON response.

    It is an :exc:`~werkzeug.exceptions.HTTPException`, because flask-restx and
    Flask-RESTful respond to any other exception with 500.
    """

    code: int = 400
    title: t.ClassVar[str]

    def __init__(self, message: str = "") -> None:  # noqa: B042
        # HTTPException.__init__() would set the message as its description.
        Exception.__init__(self, message)

    def __str__(self) -> str:
        return Exception.__str__(self)

    @property
    def data(self) -> dict[str, t.Any]:
        """The JSON body. flask-restx and Flask-RESTful use this attribute."""
        return {"code": self.code, "message": self.title, "data": self._details()}

    def get_response(self, *_: t.Any, **__: t.Any) -> Response:
        """Make the response.

        :returns: the documented JSON, with ``Cache-Control: no-store``.
        """
        body = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))
        # JSON strings can contain lone surrogates, which UTF-8 can't encode.
        encoded = body.encode("utf-8", "replace")
        response = Response(encoded, status=self.code, mimetype="application/json")
        response.cache_control.no_store = True
        return response

    def _details(self) -> dict[str, t.Any]:
        return {}


class InvalidRequestError(ResponseError):
    """The refresh token is missing or invalid. The status of the response is 400.

    :param errors: the errors, one per field.
    """

    title = "validation failed"

    def __init__(self, errors: t.Sequence[ErrorItem]) -> None:
        super().__init__(", ".join(f"{e.key}: {e.message}" for e in errors))
        self.errors = list(errors)

    def _details(self) -> dict[str, t.Any]:
        return {"type": "validation_error", "errors": _dump(self.errors)}


class ExternalAPIError(ResponseError):
    """Raise this in an upstream that failed. The status of the response is 400.

    Flask-Logout then revokes nothing.

    :param details: any JSON value that helps the client, which receives it unchanged.
        Don't include tokens.
    :param errors: the errors, one per field.
    :raises TypeError: if ``details`` isn't JSON.
    """

    title = "external api error"

    def __init__(  # noqa: B042
        self, *, details: JsonValue = None, errors: t.Sequence[ErrorItem] = ()
    ) -> None:
        super().__init__("An upstream failed to end the login.")
        self.details = _copy_json(details)
        self.errors = list(errors)

    def _details(self) -> dict[str, t.Any]:
        found = {"type": "external_api_error", "errors": _dump(self.errors)}
        return found if self.details is None else {**found, "details": self.details}


class StoreUnavailableError(ResponseError):
    """The store can't be reached. The status of the response is 503.

    Every route that checks a token raises it. If a call that revokes raises it, nothing
    was revoked, unless it is an :exc:`OutcomeUnknownError`. ``__cause__`` is the exception
    of the database or of Redis.
    """

    code = 503
    title = "service unavailable"

    def get_response(self, *_: t.Any, **__: t.Any) -> Response:
        """Make the response.

        :returns: the documented JSON, with ``Retry-After``.
        """
        response = super().get_response()
        response.headers["Retry-After"] = str(RETRY_AFTER)
        return response


class OutcomeUnknownError(StoreUnavailableError):
    """A revocation may or may not be stored, because the store didn't acknowledge it.

    For example, the connection broke after the statement was sent. The status of the
    response is 503. Revoking again is safe.
    """


def _dump(errors: t.Sequence[ErrorItem]) -> list[dict[str, t.Any]]:
    return [error.model_dump() for error in errors]


def _copy_json(value: JsonValue) -> JsonValue:
    try:
        copy: JsonValue = json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError) as e:
        raise TypeError(_NOT_JSON) from e
    # JSON has no tuples and only string keys, so reject values that it would change.
    if copy != value:
        raise TypeError(_NOT_JSON)
    return copy


_NOT_JSON = (
    "Invalid details. Expected JSON: None, a string, number or boolean, or a list or dict"
    " of these with string keys."
)
