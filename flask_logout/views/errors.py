"""Turns exceptions into JSON responses, by error handlers of the blueprint and the app."""

from __future__ import annotations

import re

from flask import Blueprint
from flask import Flask
from flask import Response
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt import PyJWTError
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response as WerkzeugResponse

from ..exceptions import ExternalAPIError
from ..exceptions import InvalidRequestError
from ..exceptions import InvalidTokenError
from ..exceptions import ResponseError
from ..exceptions import StoreUnavailableError
from ..schemas import ContentTooLarge
from ..schemas import Envelope
from ..schemas import InvalidToken
from ..tokens import describe

# The characters that RFC 6750, section 3, excludes from an error_description.
_NOT_DESCRIPTIVE = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
_DESCRIPTION_SIZE = 200

_WITH_RESPONSE = (InvalidRequestError, ExternalAPIError, StoreUnavailableError)


def make_json_response(envelope: Envelope) -> Response:
    """Make a JSON response, which caches must not store (ASVS 5.0 14.3.2)."""
    response = Response(
        envelope.to_json(), status=envelope.code, mimetype="application/json"
    )
    response.cache_control.no_store = True
    return response


def make_invalid_token_response(error: InvalidTokenError) -> Response:
    """Make the 401 response, with the cause in ``WWW-Authenticate`` (RFC 6750 3)."""
    response = make_json_response(InvalidToken())
    challenge = "Bearer"
    if error.description is not None:
        words = error.description.replace('"', "'")[:_DESCRIPTION_SIZE]
        words = _NOT_DESCRIPTIVE.sub("?", words)
        challenge += ' error="invalid_token", error_description="%s"' % words
    response.headers["WWW-Authenticate"] = challenge
    return response


def make_http_error_response(error: HTTPException) -> Response:
    """Make a response with the status and headers of an error, and documented JSON."""
    code, message = error.code or 500, error.name.lower()
    response = make_json_response(Envelope(code=code, message=message))
    for name, value in error.get_headers():
        response.headers.setdefault(name, value)
    return response


def register_on_blueprint(blueprint: Blueprint) -> None:
    """Register handlers for the exceptions of the blueprint's routes."""
    for error in _WITH_RESPONSE:
        blueprint.register_error_handler(error, _get_response)
    # The app's handler for 413 would win over a handler for a base class.
    blueprint.register_error_handler(RequestEntityTooLarge, _handle_too_large)


def register_on_app(app: Flask, *, jwt_errors: bool) -> None:
    """Register handlers for the extension's exceptions on every route.

    :param app: the app.
    :param jwt_errors: whether to handle JWT errors as well, ``LOGOUT_APP_WIDE_ERRORS``.
    """
    # Concrete classes win over the app's own handlers for HTTPException or 503.
    for error in _WITH_RESPONSE:
        app.register_error_handler(error, _get_response)
    if not jwt_errors:
        return
    # The JWTManager has registered a handler for each class, so replace them all.
    roots = (JWTExtendedException, PyJWTError)
    theirs = [x for x in app.error_handler_spec[None][None] if issubclass(x, roots)]
    for root in (*roots, *theirs):
        app.register_error_handler(root, _handle_jwt_error)


def _handle_jwt_error(error: Exception) -> Response:
    return make_invalid_token_response(InvalidTokenError(describe(error)))


def _get_response(error: ResponseError) -> WerkzeugResponse:
    return error.get_response()


def _handle_too_large(_: RequestEntityTooLarge) -> Response:
    return make_json_response(ContentTooLarge())
