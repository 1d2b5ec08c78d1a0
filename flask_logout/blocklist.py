"""Installs the ``token_in_blocklist_loader`` that rejects revoked tokens.

Flask-JWT-Extended calls only the loader that was registered last. So our loader calls the
one that the app registered earlier, and a later one is an error.
"""

from __future__ import annotations

import inspect
import typing as t

from flask import Flask
from flask import g
from flask_jwt_extended import JWTManager

from .domain.claims import Claims
from .exceptions import ConfigError
from .jwt_extended import blocklist_loader_of
from .jwt_extended import is_default_loader
from .jwt_extended import Loader
from .purging import current_app_object
from .service import EXTENSION
from .service import get_service
from .service import LogoutService
from .stores.monotonic import read_uptime


class BlocklistLoader:
    """Checks the store of the current app, then calls the app's own loader.

    All apps of a ``JWTManager`` share one, so it has no state of an app.

    :param previous: the app's own loader, or ``None``.
    """

    def __init__(self, previous: Loader | None) -> None:
        self.previous = previous

    def __call__(self, header: dict[t.Any, t.Any], claims: dict[t.Any, t.Any]) -> bool:
        """Check whether a verified token is revoked.

        :param header: the header of the token.
        :param claims: the claims of the token.
        :returns: ``True`` if Flask-JWT-Extended must reject it.
        """
        service: LogoutService | None = current_app_object().extensions.get(EXTENSION)
        if service is not None:
            service.make.notice(claims)
            if service.is_revoked(claims):
                return True
            if service.sessions is not None and claims.get("type") == "refresh":
                g.logout_checked_at = read_uptime()
                if service.sessions.is_stale(claims):
                    return True
        return self.is_blocked_by_app(header, claims)

    def is_blocked_by_app(
        self, header: dict[t.Any, t.Any], claims: dict[t.Any, t.Any]
    ) -> bool:
        """Call the app's own loader.

        :param header: the header of the token.
        :param claims: the claims of the token.
        :returns: its answer, or ``False`` if there is none.
        """
        return self.previous is not None and bool(self.previous(header, claims))


def install(app: Flask, jwt: JWTManager) -> None:
    """Register our loader, which also calls the app's own loader.

    :param app: the app.
    :param jwt: the ``JWTManager`` of the app.
    :raises ConfigError: if the app's own loader is a coroutine function.
    """
    previous = blocklist_loader_of(app)
    if not isinstance(previous, BlocklistLoader):
        _reject_async(previous)
        own = None if is_default_loader(previous) else previous
        jwt.token_in_blocklist_loader(BlocklistLoader(own))


def is_blocked_by_app(header: dict[t.Any, t.Any], claims: Claims) -> bool:
    """Call the app's own loader for a token that the caller is about to check.

    :param header: the header of the token.
    :param claims: the claims of the token.
    :returns: ``True`` if that loader rejects the token.
    """
    get_service().make.notice(claims)
    loader = t.cast(BlocklistLoader, blocklist_loader_of(current_app_object()))
    return loader.is_blocked_by_app(header, dict(claims))


def problem_of(app: Flask) -> str | None:
    """Check whether our loader was replaced, so that nothing is rejected.

    :param app: the app.
    :returns: the problem and how to fix it, or ``None``.
    """
    loader = blocklist_loader_of(app)
    if isinstance(loader, BlocklistLoader):
        return None
    return (
        "Revocation is disabled, because a JWTManager or a token_in_blocklist_loader"
        " that was set after LogoutExtension replaced its loader. Create the JWTManager"
        " and set its loaders before LogoutExtension. Your own loader is then called as"
        " well."
    )


def check_loader(app: Flask) -> None:
    """Check that our loader is still installed.

    :param app: the app.
    :raises ConfigError: if it was replaced. The message says how to fix it.
    """
    problem = problem_of(app)
    if problem is not None:
        raise ConfigError(problem)


def _reject_async(loader: t.Any) -> None:
    for function in (loader, getattr(loader, "__call__", None)):  # noqa: B004
        if inspect.iscoroutinefunction(function):
            raise ConfigError(
                "The app's token_in_blocklist_loader is a coroutine function."
                " Flask-JWT-Extended doesn't await it, so it would reject every token."
                " Define it with def instead of async def."
            )
