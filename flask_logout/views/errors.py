"""Exceptions to JSON responses: the error handlers of the blueprint and of the app."""

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

from ..exceptions import AnsweredError
from ..exceptions import ExternalAPIError
from ..exceptions import InvalidRequestError
from ..exceptions import InvalidTokenError
from ..exceptions import StoreUnavailableError
from ..schemas import ContentTooLarge
from ..schemas import Envelope
from ..schemas import InvalidToken
from ..tokens import describe

# RFC 6750, section 3, excludes these characters from an error_description.
_NOT_DESCRIPTIVE = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
_DESCRIPTION_SIZE = 200

_ANSWERED = (InvalidRequestError, ExternalAPIError, StoreUnavailableError)


def answer(envelope: Envelope) -> Response:
    """Make the response for an envelope.

    :param envelope: the body.
    :returns: its JSON, which caches don't store (ASVS 5.0 14.3.2).
    """
    response = Response(
        envelope.to_json(), status=envelope.code, mimetype="application/json"
    )
    response.cache_control.no_store = True
    return response


def answer_invalid_token(error: InvalidTokenError) -> Response:
    """Make the response for a rejected access token (RFC 6750 3).

    :param error: the error.
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
    """Make the response for a 404 or a 405.

    :param error: the error.
    :returns: its status and headers, with the documented JSON.
    """
    code, message = error.code or 500, error.name.lower()
    response = answer(Envelope(code=code, message=message))
    for name, value in error.get_headers():
        response.headers.setdefault(name, value)
    return response


def register_on_blueprint(blueprint: Blueprint) -> None:
    """Answer every failure on the blueprint's own routes with the documented JSON.

    :param blueprint: the blueprint.
    """
    for error in _ANSWERED:
        blueprint.register_error_handler(error, _answer)
    # The app's handler for 413 would win over a handler for a base class.
    blueprint.register_error_handler(RequestEntityTooLarge, _answer_too_large)


def register_on_app(app: Flask, *, jwt_errors: bool) -> None:
    """Answer the extension's exceptions on every route, and JWT errors if asked to.

    :param app: the app.
    :param jwt_errors: whether to answer JWT errors as well.
    """
    # Concrete classes win over every handler of the app for HTTPException or 503.
    for error in _ANSWERED:
        app.register_error_handler(error, _answer)
    if not jwt_errors:
        return
    # The JWTManager has registered a handler for each class, so replace each.
    roots = (JWTExtendedException, PyJWTError)
    theirs = [x for x in app.error_handler_spec[None][None] if issubclass(x, roots)]
    for root in (*roots, *theirs):
        app.register_error_handler(root, _answer_jwt_error)


def _answer_jwt_error(error: Exception) -> Response:
    return answer_invalid_token(InvalidTokenError(describe(error)))


def _answer(error: AnsweredError) -> WerkzeugResponse:
    return error.get_response()


def _answer_too_large(_: RequestEntityTooLarge) -> Response:
    return answer(ContentTooLarge())
