"""Our place in Flask-JWT-Extended's one blocklist slot: taken, shared, and guarded."""

from __future__ import annotations

import inspect
import typing as t

from flask import Flask
from flask_jwt_extended import JWTManager

from .exceptions import ConfigError
from .jwt_extended import blocklist_loader_of
from .jwt_extended import is_default_loader
from .jwt_extended import Loader
from .service import current_app_object
from .service import EXTENSION
from .service import LogoutService


class BlocklistLoader:
    """The loader that asks the store of the current app, and the app's own loader.

    One is shared by all apps of a JWTManager, so it holds nothing about any of them.

    :param previous: the loader that the app had set before; ``None``: it had none.
    """

    def __init__(self, previous: Loader | None) -> None:
        self.previous = previous

    def __call__(self, header: dict[t.Any, t.Any], claims: dict[t.Any, t.Any]) -> bool:
        """Tell Flask-JWT-Extended whether a verified token is to be refused.

        :param header: the header of the token.
        :param claims: the claims of the token.
        :returns: ``True``: refuse it.
        """
        service: LogoutService | None = current_app_object().extensions.get(EXTENSION)
        if service is not None:
            service.make.notice(claims)
            if service.is_revoked(claims):
                return True
        return self.previous is not None and bool(self.previous(header, claims))


def install(app: Flask, jwt: JWTManager) -> None:
    """Take the blocklist slot of an app, and keep the loader that was there.

    :param app: the app.
    :param jwt: its JWTManager.
    :raises ConfigError: the loader that was there is a coroutine function.
    """
    previous = blocklist_loader_of(app)
    if not isinstance(previous, BlocklistLoader):
        _refuse_async(previous)
        kept = None if is_default_loader(previous) else previous
        jwt.token_in_blocklist_loader(BlocklistLoader(kept))


def problem_of(app: Flask) -> str | None:
    """Tell whether something has replaced our loader, which switches revocation off.

    :param app: the app.
    :returns: what is wrong and how to mend it, or ``None``.
    """
    loader = blocklist_loader_of(app)
    if isinstance(loader, BlocklistLoader):
        return None
    return (
        "revocation is switched off: a JWTManager or a token_in_blocklist_loader that"
        " was set after LogoutExtension has taken the place of its loader. Create the"
        " JWTManager and set its loaders first, LogoutExtension last; your own loader is"
        " then asked too."
    )


def check_slot(app: Flask) -> None:
    """Refuse to go on where something has replaced our loader.

    :param app: the app.
    :raises ConfigError: revocation is switched off; the message names the remedy.
    """
    problem = problem_of(app)
    if problem is not None:
        raise ConfigError(problem)


def _refuse_async(loader: t.Any) -> None:
    for function in (loader, getattr(loader, "__call__", None)):  # noqa: B004
        if inspect.iscoroutinefunction(function):
            raise ConfigError(
                "the token_in_blocklist_loader of the app is an async def."
                " Flask-JWT-Extended does not await it, so its coroutine would count"
                " as true and refuse every token. Make it a plain def."
            )
