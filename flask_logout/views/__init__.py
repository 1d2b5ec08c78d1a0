"""The HTTP endpoints: one module per endpoint, and the errors that they share."""

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
from .errors import answer_http_error
from .errors import answer_invalid_token
from .errors import register_on_blueprint
from .logout import logout


def make_blueprint(url_prefix: str) -> Blueprint:
    """Make the blueprint that has ``POST /logout``.

    :param url_prefix: what stands before ``/logout``, ``LOGOUT_URL_PREFIX``.
    :returns: a blueprint named ``logout``.
    """
    blueprint = Blueprint("logout", __name__, url_prefix=url_prefix)
    blueprint.add_url_rule("/logout", view_func=logout, methods=["POST"])
    register_on_blueprint(blueprint)
    blueprint.register_error_handler(InvalidTokenError, _refuse)
    return blueprint


def answer_strays(app: Flask, url_prefix: str) -> None:
    """Answer a wrong method or path under the prefix in the envelope, too.

    :param app: the app, whose own handlers keep all other paths.
    :param url_prefix: ``LOGOUT_URL_PREFIX``.
    """
    for error in (NotFound, MethodNotAllowed):
        previous = app.error_handler_spec[None][error.code].get(error)
        handler = partial(_answer_stray, url_prefix or "/logout", previous)
        app.register_error_handler(error, handler)


def _refuse(error: InvalidTokenError) -> Response:
    response = answer_invalid_token(error)
    # A foreign page must not be able to make the caller's browser forget its cookies.
    if isinstance(error.__cause__, CSRFError):
        return response
    return cookies.unset_useless(response)


def _answer_stray(
    path: str, previous: t.Any, error: NotFound | MethodNotAllowed
) -> t.Any:
    if request.path == path or request.path.startswith(f"{path}/"):
        return answer_http_error(error)
    if previous is None:
        general = current_app.error_handler_spec[None][None]
        found = (general.get(x) for x in type(error).__mro__)
        previous = next(filter(None, found), None)
    return error if previous is None else current_app.ensure_sync(previous)(error)
