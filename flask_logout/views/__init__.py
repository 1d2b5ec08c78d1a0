"""The HTTP endpoints, one module for each, and the error responses that they share."""

from __future__ import annotations

import typing as t
from functools import partial

from flask import Blueprint
from flask import current_app
from flask import Flask
from flask import request
from flask import Response
from flask_jwt_extended.exceptions import CSRFError
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.exceptions import NotFound

from ..exceptions import InvalidTokenError
from . import cookies
from .errors import make_http_error_response
from .errors import make_invalid_token_response
from .errors import register_on_blueprint
from .logout import logout


def make_blueprint(url_prefix: str) -> Blueprint:
    """Make the blueprint with ``POST /logout``.

    :param url_prefix: ``LOGOUT_URL_PREFIX``.
    :returns: a blueprint named ``logout``.
    """
    blueprint = Blueprint("logout", __name__, url_prefix=url_prefix)
    blueprint.add_url_rule("/logout", view_func=logout, methods=["POST"])
    register_on_blueprint(blueprint)
    blueprint.register_error_handler(InvalidTokenError, _reject)
    return blueprint


def register_prefix_errors(app: Flask, url_prefix: str) -> None:
    """Respond to a 404 or 405 error under the prefix with the documented JSON.

    :param app: the app. Its own error handlers still handle all other paths.
    :param url_prefix: ``LOGOUT_URL_PREFIX``.
    """
    for error in (NotFound, MethodNotAllowed):
        previous = app.error_handler_spec[None][error.code].get(error)
        handler = partial(_handle_prefix_error, url_prefix or "/logout", previous)
        app.register_error_handler(error, handler)


def _reject(error: InvalidTokenError) -> Response:
    response = make_invalid_token_response(error)
    # A page of another site must not be able to unset the cookies of the user.
    if isinstance(error.__cause__, CSRFError):
        return response
    return cookies.unset_unusable(response)


def _handle_prefix_error(
    path: str, previous: t.Any, error: NotFound | MethodNotAllowed
) -> t.Any:
    if request.path == path or request.path.startswith(f"{path}/"):
        return make_http_error_response(error)
    if previous is None:
        general = current_app.error_handler_spec[None][None]
        found = (general.get(x) for x in type(error).__mro__)
        previous = next(filter(None, found), None)
    return error if previous is None else current_app.ensure_sync(previous)(error)
