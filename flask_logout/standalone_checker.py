"""Checks tokens in services that accept the same tokens as an app, but don't use Flask."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePath

from .domain.claims import Claims
from .domain.claims import lookup_of
from .domain.revocation import covers
from .exceptions import ConfigError
from .stores.factory import open_store

_TABLE_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]{0,39}")
_LONGEST = timedelta(days=365_000)


@dataclass(frozen=True)
class _Options:
    store_uri: str
    table_name: str
    timeout: timedelta
    max_staleness: timedelta
    redis_wait: int = 0
    commit_app_session: bool = False


class Checker:
    """Checks whether tokens are revoked, in a service without Flask.

    It reads the store of an app that uses :class:`LogoutExtension`. Create it once per
    process, for example in a module. This opens no connection. Threads can share it, and
    a process that is forked later opens connections of its own.

    :param store_uri: where the app stores its revocations: its
        :confval:`LOGOUT_STORE_URI` or, without that, the SQLAlchemy URL of its database.
        The path of a SQLite file has to be absolute.
    :param table_name: :confval:`LOGOUT_TABLE_NAME` of the app.
    :param timeout: how long a check waits for the store, as a ``timedelta`` or in
        seconds.
    :param max_staleness: the longest time before this process notices a revocation, as
        :confval:`LOGOUT_MAX_STALENESS`. With 0, every check queries the store.
    :param identity_claim: ``JWT_IDENTITY_CLAIM`` of the app.
    :raises ConfigError: if an argument is invalid.
    """

    def __init__(
        self,
        store_uri: str,
        *,
        table_name: str = "logout_revocation",
        timeout: timedelta | float = 2,
        max_staleness: timedelta | float = 0,
        identity_claim: str = "sub",
    ) -> None:
        _check_file(store_uri)
        if not _TABLE_NAME.fullmatch(table_name):
            raise ConfigError(
                f"Invalid table_name of Checker: {table_name!r}. Expected 1 to 40 ASCII"
                " letters, digits and underscores, the first of them not a digit."
            )
        hour = timedelta(hours=1)
        options = _Options(
            store_uri,
            table_name,
            _read("timeout", timeout, timedelta(microseconds=1), hour),
            _read("max_staleness", max_staleness, timedelta(0), _LONGEST),
        )
        self._store = open_store(options, find_database=_no_database, folder="")
        self._identity_claim = identity_claim

    def is_revoked(self, claims: Claims) -> bool:
        """Check whether a token is revoked, with at most one round trip to the store.

        Verify the token first: its signature, its ``exp``, and that its claim ``type`` is
        ``access``. Refresh tokens that have been exchanged are not detected, so don't
        accept refresh tokens.

        :param claims: the claims of a verified token.
        :returns: ``True`` if the token must be rejected.
        :raises StoreUnavailableError: if the store can't be reached. Reject the token.
        """
        keys, subject = lookup_of(claims, self._identity_claim)
        found = self._store.find(keys, subject=subject)
        return any(covers(revocation, claims) for revocation in found)

    def close(self) -> None:
        """Close all connections. The next check opens new ones."""
        self._store.close()


def _no_database() -> t.NoReturn:
    raise NotImplementedError  # the store always has a URL


def _check_file(uri: str) -> None:
    """Reject a relative path, because an app looks for it in its instance folder."""
    if not isinstance(uri, str) or not uri:
        raise ConfigError(
            f"Invalid store_uri of Checker: a value of type {type(uri).__name__}. Expected"
            " the URL of a Redis server or of a database."
        )
    scheme, _, path = uri.partition(":///")
    is_file = scheme.partition("+")[0] == "sqlite" and not path.startswith("file:")
    if is_file and not PurePath(path.partition("?")[0]).is_absolute():
        raise ConfigError(
            f"Invalid store_uri of Checker: {uri!r}. Expected an absolute path of a SQLite"
            " file, such as sqlite:////var/lib/app/app.db, because the app looks for a"
            " relative path in its instance folder."
        )


def _read(
    name: str, value: timedelta | float, least: timedelta, most: timedelta
) -> timedelta:
    try:
        found = value if isinstance(value, timedelta) else timedelta(seconds=value)
    except (TypeError, ValueError, OverflowError):
        found = timedelta.min
    if isinstance(value, bool) or not least <= found <= most:
        first = "more than 0" if least else "0 or more"
        raise ConfigError(
            f"Invalid {name} of Checker: {value!r}. Expected a timedelta or a number of"
            f" seconds, {first} and at most {most.total_seconds():.0f}."
        )
    return found
