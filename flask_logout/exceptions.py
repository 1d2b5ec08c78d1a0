"""The exceptions of this package. Each that has a response knows its documented JSON."""

from __future__ import annotations

import json
import typing as t

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

if t.TYPE_CHECKING:
    from pydantic import JsonValue

    from .schemas import ErrorItem

RETRY_AFTER = 5
"""How many seconds a client should wait before it retries after a 503."""


class LogoutError(Exception):
    """Base class of all Flask-Logout exceptions."""


class ConfigError(LogoutError, RuntimeError):
    """A setting or the setup of the app is wrong. The message says how to fix it."""


class InvalidTokenError(LogoutError):
    """The access token is missing or not acceptable, so the response is a 401.

    :param description: the cause, or ``None`` if the request has no token
        (RFC 6750 3.1).
    """

    def __init__(self, description: str | None = None) -> None:
        super().__init__(description or "no token")
        self.description = description


class AnsweredError(LogoutError, HTTPException):
    """Base class of exceptions that have a response, which Flask sends.

    They are :exc:`~werkzeug.exceptions.HTTPException`, because flask-restx and
    Flask-RESTful turn any other exception into a 500.
    """

    code: int = 400
    title: t.ClassVar[str]

    def __init__(self, message: str = "") -> None:  # noqa: B042
        # HTTPException would use the message as its description.
        Exception.__init__(self, message)

    def __str__(self) -> str:
        return Exception.__str__(self)

    @property
    def data(self) -> dict[str, t.Any]:
        """The JSON body. flask-restx and Flask-RESTful read it under this name."""
        return {"code": self.code, "message": self.title, "data": self._details()}

    def get_response(self, *_: t.Any, **__: t.Any) -> Response:
        """Make the documented response.

        :returns: JSON that caches don't store.
        """
        body = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))
        # A lone surrogate is valid in JSON but has no UTF-8 encoding.
        encoded = body.encode("utf-8", "replace")
        response = Response(encoded, status=self.code, mimetype="application/json")
        response.cache_control.no_store = True
        return response

    def _details(self) -> dict[str, t.Any]:
        return {}


class InvalidRequestError(AnsweredError):
    """The refresh token is missing or not acceptable, so the response is a 400.

    :param errors: what is wrong, one item per field.
    """

    title = "validation failed"

    def __init__(self, errors: t.Sequence[ErrorItem]) -> None:
        super().__init__(", ".join(f"{e.key}: {e.message}" for e in errors))
        self.errors = list(errors)

    def _details(self) -> dict[str, t.Any]:
        return {"type": "validation_error", "errors": _dump(self.errors)}


class ExternalAPIError(AnsweredError):
    """Raise this in an upstream that failed, so that the response is a 400.

    Flask-Logout then revokes nothing.

    :param details: any JSON that helps the client. Don't include tokens, because the
        client receives it unchanged.
    :param errors: what is wrong, one item per field.
    :raises TypeError: ``details`` is not JSON.
    """

    title = "external api error"

    def __init__(  # noqa: B042
        self, *, details: JsonValue = None, errors: t.Sequence[ErrorItem] = ()
    ) -> None:
        super().__init__("an upstream failed to end the login")
        self.details = _copy_json(details)
        self.errors = list(errors)

    def _details(self) -> dict[str, t.Any]:
        found = {"type": "external_api_error", "errors": _dump(self.errors)}
        return found if self.details is None else {**found, "details": self.details}


class StoreUnavailableError(AnsweredError):
    """The store did not answer, so the response is a 503, on every protected route.

    The error of the database or of Redis is in ``__cause__``.
    """

    code = 503
    title = "service unavailable"

    def get_response(self, *_: t.Any, **__: t.Any) -> Response:
        """Make the documented response.

        :returns: JSON that caches don't store, with ``Retry-After``.
        """
        response = super().get_response()
        response.headers["Retry-After"] = str(RETRY_AFTER)
        return response


class OutcomeUnknownError(StoreUnavailableError):
    """The store did not acknowledge a revocation, so it may be stored or not.

    For example, the connection broke after the statement was sent. The response is a
    503, as for every :exc:`StoreUnavailableError`. Revoking again is safe.
    """


def _dump(errors: t.Sequence[ErrorItem]) -> list[dict[str, t.Any]]:
    return [error.model_dump() for error in errors]


def _copy_json(value: JsonValue) -> JsonValue:
    try:
        copy: JsonValue = json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError) as e:
        raise TypeError(_NOT_JSON) from e
    # json turns tuples into lists, and numbers that are keys into strings.
    if copy != value:
        raise TypeError(_NOT_JSON)
    return copy


_NOT_JSON = "details must be JSON: dict, list, str, …"
