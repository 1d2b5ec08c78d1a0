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

from ..config.value_types import Endpoint
from ..exceptions import InvalidTokenError
from . import cookies
from .errors import make_http_error_response
from .errors import make_invalid_token_response
from .errors import register_on_blueprint

View = t.Callable[..., Response]


class Route(t.NamedTuple):
    """A route of an endpoint."""

    rule: str
    """The URL rule, after ``LOGOUT_URL_PREFIX``."""

    load: t.Callable[[], View]
    """Imports the view, so that the module of a disabled endpoint is not imported."""

    methods: tuple[str, ...]


def make_blueprint(url_prefix: str, endpoints: t.Collection[Endpoint]) -> Blueprint:
    """Make the blueprint with the routes of the enabled endpoints.

    :param url_prefix: ``LOGOUT_URL_PREFIX``.
    :param endpoints: ``LOGOUT_ENDPOINTS``.
    :returns: a blueprint named ``logout``.
    """
    blueprint = Blueprint("logout", __name__, url_prefix=url_prefix)
    for route in _list_routes(endpoints):
        blueprint.add_url_rule(
            route.rule, view_func=route.load(), methods=route.methods
        )
    register_on_blueprint(blueprint)
    blueprint.register_error_handler(InvalidTokenError, _reject)
    return blueprint


def register_prefix_errors(
    app: Flask, url_prefix: str, endpoints: t.Collection[Endpoint]
) -> None:
    """Respond to a 404 or 405 error under the prefix with the documented JSON.

    :param app: the app. Its own error handlers still handle all other paths.
    :param url_prefix: ``LOGOUT_URL_PREFIX``. If it is empty, this applies to the first
        segment of each enabled endpoint's path.
    :param endpoints: ``LOGOUT_ENDPOINTS``.
    """
    roots = {f"/{route.rule.split('/')[1]}" for route in _list_routes(endpoints)}
    paths = {url_prefix} if url_prefix else roots
    for error in (NotFound, MethodNotAllowed):
        previous = app.error_handler_spec[None][error.code].get(error)
        handler = partial(_handle_prefix_error, paths, previous)
        app.register_error_handler(error, handler)


def _load_logout() -> View:
    from .logout import logout

    return logout


def _load_logout_all() -> View:
    from .logout_all import logout_all

    return logout_all


def _load_refresh() -> View:
    from .refresh import refresh

    return refresh


def _load_list() -> View:
    from .sessions import list_sessions

    return list_sessions


def _load_end() -> View:
    from .sessions import end_session

    return end_session


def _load_revoke() -> View:
    from .revoke import revoke

    return revoke


def _load_introspect() -> View:
    from .introspect import introspect

    return introspect


def _load_backchannel_logout() -> View:
    from .backchannel_logout import backchannel_logout

    return backchannel_logout


_ROUTES: dict[Endpoint, list[Route]] = {
    "logout": [Route("/logout", _load_logout, ("POST",))],
    "logout_all": [Route("/logout/all", _load_logout_all, ("POST",))],
    "refresh": [Route("/refresh", _load_refresh, ("POST",))],
    "sessions": [
        Route("/sessions", _load_list, ("GET",)),
        Route("/sessions/<sid>", _load_end, ("DELETE",)),
    ],
    "revoke": [Route("/revoke", _load_revoke, ("POST",))],
    "introspect": [Route("/introspect", _load_introspect, ("POST",))],
    "backchannel_logout": [
        Route("/backchannel-logout", _load_backchannel_logout, ("POST",))
    ],
}


def _list_routes(endpoints: t.Collection[Endpoint]) -> list[Route]:
    return [x for name, routes in _ROUTES.items() if name in endpoints for x in routes]


def _reject(error: InvalidTokenError) -> Response:
    response = make_invalid_token_response(error)
    # A page of another site must not be able to unset the cookies of the user.
    if isinstance(error.__cause__, CSRFError):
        return response
    return cookies.unset_unusable(response)


def _handle_prefix_error(
    paths: t.Collection[str], previous: t.Any, error: NotFound | MethodNotAllowed
) -> t.Any:
    if any(request.path == x or request.path.startswith(f"{x}/") for x in paths):
        return make_http_error_response(error)
    if previous is None:
        general = current_app.error_handler_spec[None][None]
        found = (general.get(x) for x in type(error).__mro__)
        previous = next(filter(None, found), None)
    return error if previous is None else current_app.ensure_sync(previous)(error)
