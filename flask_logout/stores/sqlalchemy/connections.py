"""How our own connections are made: as the app's are, and waiting only so long."""

from __future__ import annotations

import threading
import typing as t
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool
from sqlalchemy.pool import StaticPool

from .drivers import limit_waits
from .galera import wait_for_cluster
from .listeners import Relay

# Whether the connection that is being made in this thread is one of ours.
_ours = threading.local()

# AUTOCOMMIT from the start, because setting it at each check-out is a round trip.
_OPTIONS: dict[str, t.Any] = {
    "isolation_level": "AUTOCOMMIT",
    "hide_parameters": True,
}

# After so many pages SQLite copies its write-ahead log into the file, unless told else.
_SQLITE_CHECKPOINT = 1000

GUEST = "logout_guest"
"""The execution option of an engine on a connection of the app's: what gives that."""


class connecting:
    """A block in which the connections that are made are ours."""

    def __enter__(self) -> None:
        _ours.is_set = True

    def __exit__(self, *_: object) -> None:
        _ours.is_set = False


def engine_for(
    app_engine: sa.Engine, timeout: timedelta
) -> t.Callable[[t.Callable[[], None]], sa.Engine]:
    """Say how to make an engine on a database of the app's.

    :param app_engine: the app's engine.
    :param timeout: how long to wait for the server.
    :returns: what makes the engine, given what closes its connections: that is called
        when the app disposes of its own engine.
    """

    def make(dispose: t.Callable[[], None]) -> sa.Engine:
        sa.event.listen(app_engine, "engine_disposed", lambda _: dispose())
        if isinstance(app_engine.pool, StaticPool):
            return engine_within(app_engine)
        return engine_beside(app_engine, timeout)

    return make


def engine_beside(app_engine: sa.Engine, timeout: timedelta) -> sa.Engine:
    """Make an engine that connects as the app's does.

    It takes the app's pool class and settings, its ``connect_args``, its ``creator`` and
    the listeners of its pool and of ``do_connect``, hence its TLS and its credentials.

    :param app_engine: the app's engine.
    :param timeout: how long to wait for the server.
    :returns: an engine in autocommit.
    """
    engine = sa.create_engine(
        app_engine.url,
        pool=app_engine.pool.recreate(),
        echo=app_engine.echo,
        **_OPTIONS,
    )
    _bound_connecting(app_engine, timeout)
    _prepare(engine, timeout)
    wait_for_cluster(engine)
    options = {**app_engine.get_execution_options()}
    options.pop("isolation_level", None)
    engine.update_execution_options(**options)
    Relay(engine, app_engine)
    return engine


def engine_of(url: sa.URL, timeout: timedelta) -> sa.Engine:
    """Make an engine on a database that is not one of the app's.

    :param url: where it is.
    :param timeout: how long to wait for the server.
    :returns: an engine in autocommit.
    """
    engine = sa.create_engine(url, **_OPTIONS)
    _bound_connecting(engine, timeout)
    _prepare(engine, timeout)
    wait_for_cluster(engine)
    Relay(engine, engine)
    return engine


def engine_within(app_engine: sa.Engine) -> sa.Engine:
    """Make an engine on the only connection of an in-memory SQLite database.

    A transaction on that connection is the app's to end. Outside of one, each statement
    is committed at once.

    :param app_engine: the app's engine.
    :returns: an engine that never begins or ends a transaction.
    """

    def connect() -> t.Any:
        return t.cast(StaticPool, app_engine.pool).connection.get_connection()

    engine = sa.create_engine(
        app_engine.url, creator=connect, poolclass=sa.NullPool, hide_parameters=True
    )
    dialect: t.Any = engine.dialect
    dialect.do_rollback = dialect.do_close = dialect.do_terminate = _leave_alone
    sa.event.listen(engine, "do_execute", _execute_alone)
    engine.update_execution_options(**{GUEST: connect})
    Relay(engine, app_engine)
    return engine


def _execute_alone(
    cursor: t.Any, sql: str, parameters: t.Any, _context: object
) -> bool:
    # sqlite3 begins a transaction before a statement that starts with one of these words.
    # Another thread of the app could roll it back before we commit it.
    if sql.startswith(("INSERT", "DELETE")):
        sql = f"WITH one AS (SELECT 1) {sql}"
    cursor.execute(sql, parameters)
    return True


def _leave_alone(_connection: t.Any) -> None:
    """Do nothing to a connection that is not ours."""


def _prepare(engine: sa.Engine, timeout: timedelta) -> None:
    # In autocommit there is nothing to roll back, so spare the round trip.
    dialect: t.Any = engine.dialect
    dialect.do_rollback = _leave_alone
    _bound_waiting(engine, timeout)
    _checkpoint_rarely(engine)


def _bound_connecting(engine: sa.Engine, timeout: timedelta) -> None:
    """Limit the waits of each connection that is ours."""
    driver, seconds = engine.dialect.driver, timeout.total_seconds()

    # On the app's engine too, through which our connections are made. Its own
    # connections, which are not made in such a block, stay as they are.
    @sa.event.listens_for(engine, "do_connect")
    def limit(*event: t.Any) -> None:
        if getattr(_ours, "is_set", False):
            limit_waits(driver, seconds, event[3])


def _bound_waiting(engine: sa.Engine, timeout: timedelta) -> None:
    """Limit the wait for a connection of the pool, and for a lock of SQLite."""
    seconds = timeout.total_seconds()
    if isinstance(engine.pool, QueuePool):
        engine.pool._timeout = seconds
    if engine.dialect.driver == "pysqlite":
        sa.event.listen(engine, "connect", lambda x, _: _bound_sqlite(x, seconds))


def _bound_sqlite(connection: t.Any, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")


def _checkpoint_rarely(engine: sa.Engine) -> None:
    """Copy SQLite's write-ahead log into the file less often than at a purge's batches."""
    if engine.dialect.driver == "pysqlite":
        sa.event.listen(engine, "connect", lambda x, _: _checkpoint_sqlite(x))


def _checkpoint_sqlite(connection: t.Any) -> None:
    pages = connection.execute("PRAGMA wal_autocheckpoint").fetchone()
    # What the app has set stays as it is.
    if pages == (_SQLITE_CHECKPOINT,):
        connection.execute(f"PRAGMA wal_autocheckpoint = {4 * _SQLITE_CHECKPOINT}")
