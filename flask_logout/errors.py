"""The exceptions, and the handlers that turn failures into the documented JSON."""

from __future__ import annotations

import re
import typing as t

from flask import Blueprint
from flask import Flask
from flask import Response
from flask_jwt_extended.exceptions import JWTExtendedException
from flask_jwt_extended.exceptions import NoAuthorizationError
from jwt import PyJWTError
from pydantic import JsonValue
from pydantic import TypeAdapter
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import RequestEntityTooLarge

from .schemas import ContentTooLarge
from .schemas import Envelope
from .schemas import ErrorItem
from .schemas import ExternalAPIErrorData
from .schemas import ExternalAPIFailed
from .schemas import InvalidToken
from .schemas import ServiceUnavailable
from .schemas import ValidationErrorData
from .schemas import ValidationFailed

RETRY_AFTER = 5
"""When a client may ask again a store that did not answer, in seconds."""

# What RFC 6750 3 keeps out of an error_description.
_NOT_DESCRIPTIVE = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
_DESCRIPTION_SIZE = 200

_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)


class LogoutError(Exception):
    """The root of all that this package raises on purpose."""


class ConfigError(LogoutError, RuntimeError):
    """A setting or the set-up of an app is wrong; the message names the remedy."""


class InvalidTokenError(LogoutError):
    """The access token does not let its bearer in: answered with a 401.

    :param description: the cause in words, ``None`` where no token came at all
        (RFC 6750 3.1).
    """

    def __init__(self, description: str | None = None) -> None:
        super().__init__(description or "no token")
        self.description = description


class AnsweredError(LogoutError, HTTPException):
    """The base class of exceptions that have a response, which Flask sends.

    They are :exc:`~werkzeug.exceptions.HTTPException`, because flask-restx and
    Flask-RESTful turn any other exception into a 500.
    """

    code = 400

    def __init__(self, message: str = "") -> None:  # noqa: B042
        # HTTPException would take the message for its description.
        Exception.__init__(self, message)

    def __str__(self) -> str:
        return Exception.__str__(self)

    @property
    def envelope(self) -> Envelope:
        """The body of the response."""
        raise NotImplementedError

    @property
    def data(self) -> dict[str, t.Any]:
        """The body, for flask-restx and Flask-RESTful, which write it themselves."""
        return self.envelope.model_dump(mode="json", exclude_none=True)

    def get_response(self, *_: t.Any, **__: t.Any) -> Response:
        """Make the documented response.

        :returns: the envelope.
        """
        return answer(self.envelope)


class InvalidRequestError(AnsweredError):
    """The refresh token is missing or not acceptable, so the response is a 400.

    :param errors: what is wrong, one item per field.
    """

    def __init__(self, errors: t.Sequence[ErrorItem]) -> None:
        super().__init__(", ".join(f"{e.key}: {e.message}" for e in errors))
        self.errors = list(errors)

    @property
    def envelope(self) -> ValidationFailed:
        """The body of the response."""
        return ValidationFailed(data=ValidationErrorData(errors=self.errors))


class ExternalAPIError(AnsweredError):
    """Raise it in an upstream that failed, so that the response is a 400.

    Flask-Logout then revokes nothing.

    :param details: any JSON that helps the client; no token, because it is sent as it is.
    :param errors: what is wrong, one item per field.
    :raises TypeError: ``details`` is not JSON.
    """

    def __init__(  # noqa: B042
        self, *, details: JsonValue = None, errors: t.Sequence[ErrorItem] = ()
    ) -> None:
        super().__init__("an upstream failed to end the login")
        try:
            self.details = _JSON.validate_python(details)
        except ValidationError as e:
            raise TypeError("details must be JSON: dict, list, str, …") from e
        self.errors = list(errors)

    @property
    def envelope(self) -> ExternalAPIFailed:
        """The body of the response."""
        data = ExternalAPIErrorData(errors=self.errors, details=self.details)
        return ExternalAPIFailed(data=data)


class StoreUnavailableError(AnsweredError):
    """The store did not answer, so the response is a 503, on every protected route.

    What the engine said is in ``__cause__``.
    """

    code = 503

    @property
    def envelope(self) -> ServiceUnavailable:
        """The body of the response."""
        return ServiceUnavailable()

    def get_response(self, *_: t.Any, **__: t.Any) -> Response:
        """Make the documented response.

        :returns: the envelope, with ``Retry-After``.
        """
        response = super().get_response()
        response.headers["Retry-After"] = str(RETRY_AFTER)
        return response


class OutcomeUnknownError(StoreUnavailableError):
    """The store did not acknowledge a revocation, which it may have stored or not.

    For example, the connection broke after the statement was sent. The response is a
    503, as for every :exc:`StoreUnavailableError`. Revoking again is safe.
    """


_ANSWERED = (InvalidRequestError, ExternalAPIError, StoreUnavailableError)


def answer(envelope: Envelope) -> Response:
    """Make the response of a documented answer.

    :param envelope: the answer.
    :returns: its JSON, which no cache may keep (ASVS 5.0 14.3.2).
    """
    response = Response(
        envelope.to_json(), status=envelope.code, mimetype="application/json"
    )
    response.cache_control.no_store = True
    return response


def answer_invalid_token(error: InvalidTokenError) -> Response:
    """Answer a token that lets nobody in (RFC 6750 3).

    :param error: why.
    :returns: a 401 with the cause in ``WWW-Authenticate``.
    """
    response = answer(InvalidToken())
    challenge = "Bearer"
    if error.description is not None:
        words = error.description.replace('"', "'")[:_DESCRIPTION_SIZE]
        words = _NOT_DESCRIPTIVE.sub("?", words)
        challenge += ' error="invalid_token", error_description="%s"' % words
    response.headers["WWW-Authenticate"] = challenge
    return response


def answer_http_error(error: HTTPException) -> Response:
    """Answer an error of HTTP itself, a 404 or a 405, in the envelope.

    :param error: the error.
    :returns: its status and headers, and the envelope.
    """
    code, message = error.code or 500, error.name.lower()
    response = answer(Envelope(code=code, message=message))
    for name, value in error.get_headers():
        response.headers.setdefault(name, value)
    return response


def describe(error: Exception) -> str | None:
    """Say in words why a token was refused.

    :param error: what the decoding raised.
    :returns: the words of the library that refused it, a general remark where others
        might repeat the token, or ``None`` where no token came.
    """
    if isinstance(error, NoAuthorizationError):
        return None
    if isinstance(error, (JWTExtendedException, PyJWTError)):
        return str(error)
    return "The token cannot be decoded"


def register_on_blueprint(blueprint: Blueprint) -> None:
    """Answer every failure on the blueprint's own routes in the envelope.

    :param blueprint: the blueprint.
    """
    for error in _ANSWERED:
        blueprint.register_error_handler(error, _answer)
    # The concrete class: the app's handler for 413 would beat a general one.
    blueprint.register_error_handler(RequestEntityTooLarge, _answer_too_large)


def register_on_app(app: Flask, *, jwt_errors: bool) -> None:
    """Answer our own exceptions on every route, and JWT failures if asked to.

    :param app: the app.
    :param jwt_errors: whether JWT failures are answered in the envelope too.
    """
    # Concrete classes: they win over every handler of the app for HTTPException or 503.
    for error in _ANSWERED:
        app.register_error_handler(error, _answer)
    if not jwt_errors:
        return
    # The JWTManager has registered each class by itself: replace each.
    roots = (JWTExtendedException, PyJWTError)
    theirs = [x for x in app.error_handler_spec[None][None] if issubclass(x, roots)]
    for root in (*roots, *theirs):
        app.register_error_handler(root, _answer_jwt_error)


def _answer_jwt_error(error: Exception) -> Response:
    return answer_invalid_token(InvalidTokenError(describe(error)))


def _answer(error: AnsweredError) -> Response:
    return error.get_response()


def _answer_too_large(_: RequestEntityTooLarge) -> Response:
    return answer(ContentTooLarge())
