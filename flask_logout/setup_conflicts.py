"""Detect conflicts with the app's own blueprints, commands, routes, and frameworks."""

from __future__ import annotations

import re
import typing as t
from functools import partial

from flask import Flask
from flask import request_started
from flask_jwt_extended.exceptions import RevokedTokenError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

from . import blocklist
from .exceptions import ConfigError
from .service import EXTENSION
from .service import LogoutService

# What a route of the app calls instead of one of ours.
_CALLS = {
    "logout.logout": "logout.log_out()",
    "logout.logout_all": "logout.log_out_everywhere()",
    "logout.refresh": "logout.refresh_session()",
    "logout.list_sessions": "logout.sessions_of()",
}

# The name of a placeholder in a rule, which may follow the name of its converter.
_PLACEHOLDER = re.compile(r"\w+>")


def watch(app: Flask) -> None:
    """Check the app when it handles its first request, because it is complete by then."""
    request_started.connect(_check_first_request, app)


def check_free(app: Flask) -> None:
    """Check that the names of the extension are not in use yet.

    :raises ConfigError: the app has a blueprint or a command of the same name.
    """
    if "logout" in app.blueprints:
        raise ConfigError(
            "This app already has a blueprint named 'logout', and Flask-Logout needs"
            " that name. Rename your blueprint."
        )
    if "logout" in app.cli.commands:
        raise ConfigError(_COMMAND_TAKEN)


def problem_of_route(app: Flask) -> str | None:
    """Return an error message if another route of the app has the URL of an endpoint."""
    for rule, method in _list_own(app):
        rival = _find_rival(app, rule, method)
        if rival is not None:
            call = _CALLS.get(rule.endpoint, "the methods of LogoutExtension")
            return (
                f"Two routes handle {method} {rule.rule}: that of Flask-Logout, and the"
                f" endpoint {rival!r} of this app. Flask calls only one of them. Remove"
                " your route or change LOGOUT_URL_PREFIX. To keep your route, remove the"
                f" name of the other one from LOGOUT_ENDPOINTS and call {call} in yours."
            )
    return None


def problem_of_loaders(app: Flask) -> str | None:
    """Return an error message if an endpoint needs a loader that the app hasn't set."""
    service: LogoutService = app.extensions[EXTENSION]
    if "introspect" in service.settings.endpoints and service.loaders.client is None:
        return NO_CLIENT_LOADER
    if service.loaders.backchannel is not None or not service.settings.backchannel:
        return None
    claim = app.config["JWT_IDENTITY_CLAIM"]
    if claim != "sub":
        return (
            "Identity providers name users by the claim sub, but JWT_IDENTITY_CLAIM is"
            f" {claim!r}. Register a function with @logout.backchannel_loader, which"
            " returns the sid or the identity in the tokens of this app."
        )
    accepted = app.config["JWT_DECODE_ISSUER"]
    if accepted is None:
        return None
    known = {accepted} if isinstance(accepted, str) else {*accepted}
    others = sorted(service.settings.backchannel.keys() - known)
    if not others:
        return None
    return (
        f"This app accepts no tokens of the issuer {others[0]}, so a logout at that"
        " provider would end no login. Register a function with"
        " @logout.backchannel_loader, which returns the sid or the identity in the tokens"
        " of this app, or add the issuer to JWT_DECODE_ISSUER."
    )


def problem_of_errors(app: Flask) -> str | None:
    """Return an error message if a framework hides the 401 for a revoked token."""
    if app.config["PROPAGATE_EXCEPTIONS"]:
        return None
    names = {_name_framework(x) for x in _list_apis(app) if not _handles_revoked(x)}
    if not names:
        return None
    return (
        f"With {' and '.join(sorted(names))}, the response to a revoked token, or to any"
        " other invalid one, is a 500 instead of a 401. Set PROPAGATE_EXCEPTIONS to True,"
        " so that the error handlers of Flask-JWT-Extended are called."
    )


NO_CLIENT_LOADER = (
    "The endpoint introspect needs a function that authenticates its clients. Register one"
    " with @logout.client_loader, or remove introspect from LOGOUT_ENDPOINTS."
)
"""The error message if introspect is enabled and nobody could use it."""

_COMMAND_TAKEN = (
    "This app already has a command named 'logout', and Flask-Logout needs that name."
    " Rename your command."
)


def _check_first_request(app: Flask, **_: t.Any) -> None:
    problem = (
        blocklist.problem_of(app)
        or problem_of_route(app)
        or problem_of_loaders(app)
        or _problem_of_commands(app)
    )
    if problem is not None:
        raise ConfigError(problem)
    # Later requests don't repeat the check. Each logout still checks the loader.
    request_started.disconnect(_check_first_request, app)


def _problem_of_commands(app: Flask) -> str | None:
    command = app.cli.commands.get("logout")
    module = getattr(getattr(command, "callback", None), "__module__", None)
    return None if module == f"{__package__}.cli.commands" else _COMMAND_TAKEN


def _list_own(app: Flask) -> t.Iterator[tuple[Rule, str]]:
    """Yield each route of the extension with each of its methods."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("logout."):
            # Flask adds HEAD and OPTIONS.
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method


def _find_rival(app: Flask, rule: Rule, method: str) -> str | None:
    adapter = app.url_map.bind(
        rule.host or "", subdomain=None if app.url_map.host_matching else rule.subdomain
    )
    try:
        found, _ = adapter.match(rule.rule, method, return_rule=True)
    except HTTPException:  # a redirect
        return "(redirect)"
    rivals = [found, *app.url_map.iter_rules()]
    return next((x.endpoint for x in rivals if _is_rival(x, rule, method, found)), None)


def _is_rival(other: Rule, rule: Rule, method: str, found: Rule) -> bool:
    """Whether Flask calls a route instead of ours, or would call it without ours."""
    if other is rule or other.endpoint == "static":
        return False
    return other is found or (
        _describe_url(other) == _describe_url(rule)
        and (other.methods is None or method in other.methods)
    )


def _describe_url(rule: Rule) -> tuple[str | None, ...]:
    return _PLACEHOLDER.sub(">", rule.rule), rule.host, rule.subdomain


def _list_apis(app: Flask) -> t.Iterator[t.Any]:
    # Each Api of flask-restx and Flask-RESTful wraps the app's handler in a partial.
    handler: t.Any = app.handle_user_exception
    while isinstance(handler, partial):
        yield getattr(handler.func, "__self__", None)
        handler = handler.args[0]


def _handles_revoked(api: t.Any) -> bool:
    """Whether the app has registered a response to revoked tokens with an API."""
    handled = getattr(api, "error_handlers", {})
    is_handled = any(issubclass(RevokedTokenError, x) for x in handled)
    return is_handled or RevokedTokenError.__name__ in getattr(api, "errors", {})


def _name_framework(api: t.Any) -> str:
    return type(api).__module__.partition(".")[0].replace("_", "-")
