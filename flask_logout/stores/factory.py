"""Create the store that the settings of an app select."""

from __future__ import annotations

import typing as t
from datetime import timedelta

from ..exceptions import ConfigError
from . import LONGEST_WRITE
from . import Store

if t.TYPE_CHECKING:
    from .sqlalchemy import AppDatabase

_REDIS = ("redis", "rediss", "unix")


class StoreSettings(t.Protocol):
    """The settings that select a store. Those of an app have these attributes."""

    @property
    def store_uri(self) -> str | None: ...

    @property
    def table_name(self) -> str: ...

    @property
    def timeout(self) -> timedelta: ...

    @property
    def max_staleness(self) -> timedelta: ...

    @property
    def redis_wait(self) -> int: ...

    @property
    def commit_app_session(self) -> bool: ...


def open_store(
    settings: StoreSettings,
    *,
    find_database: t.Callable[[], AppDatabase],
    folder: str,
    wrap: t.Callable[[Store], Store] | None = None,
) -> Store:
    """Create the store that the settings of an app select, without connecting to it.

    Only the libraries that this store needs are imported.

    :param find_database: returns the app's own database.
    :param folder: relative paths of SQLite files start here.
    :param wrap: wraps the store below the mirror, if it has to be measured.
    :returns: the store, inside an in-memory mirror if that is enabled.
    :raises ConfigError: a setting is invalid or not supported.
    """
    uri = settings.store_uri
    is_redis = (uri or "").partition(":")[0].partition("+")[0] in _REDIS
    _check(settings, is_redis)
    store: Store
    if is_redis:
        from .redis import RedisStore

        store = RedisStore(
            t.cast(str, uri),
            timeout=settings.timeout,
            table_name=settings.table_name,
            replicas=settings.redis_wait,
        )
    else:
        from .sqlalchemy import open_app_database
        from .sqlalchemy import open_own_database

        name, timeout = settings.table_name, settings.timeout
        if uri is None:
            database = find_database()
            store = open_app_database(database, table_name=name, timeout=timeout)
        else:
            store = open_own_database(
                uri, folder=folder, table_name=name, timeout=timeout
            )
    if wrap is not None:
        store = wrap(store)
    if not settings.max_staleness:
        return store
    from .mirror import Mirror

    return Mirror(store, max_staleness=settings.max_staleness)


def _check(settings: StoreSettings, is_redis: bool) -> None:
    """Check the settings that depend on the store or on each other."""
    if settings.redis_wait and not is_redis:
        raise ConfigError(
            f"Invalid LOGOUT_REDIS_WAIT: {settings.redis_wait}. It needs a Redis URL in"
            " LOGOUT_STORE_URI. Set that, or remove LOGOUT_REDIS_WAIT."
        )
    if settings.commit_app_session and settings.store_uri is not None:
        raise ConfigError(
            "Invalid LOGOUT_COMMIT_APP_SESSION: True. It requires revocations to be stored"
            " in one of the app's own databases, but LOGOUT_STORE_URI names another"
            " store. Remove one of the two settings."
        )
    if settings.max_staleness and not is_redis:
        _check_timeout(settings.timeout)


def _check_timeout(timeout: timedelta) -> None:
    if timeout > LONGEST_WRITE:
        raise ConfigError(
            f"Invalid LOGOUT_TIMEOUT: {timeout.total_seconds():g} seconds. Expected"
            f" {LONGEST_WRITE.total_seconds():g} seconds or less, because"
            " LOGOUT_MAX_STALENESS is set and the in-memory mirror can miss a write that"
            " takes longer. Lower LOGOUT_TIMEOUT or remove LOGOUT_MAX_STALENESS."
        )
