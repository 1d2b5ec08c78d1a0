"""Create engines that connect as the app's engine does, but with a timeout."""

from __future__ import annotations

import threading
import typing as t
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool
from sqlalchemy.pool import StaticPool

from .drivers import limit_waits
from .galera import wait_for_cluster
from .tracing import Relay

# Whether this thread is opening one of our connections.
_ours = threading.local()

# Set AUTOCOMMIT here, because setting it at each checkout costs a round trip.
_OPTIONS: dict[str, t.Any] = {
    "isolation_level": "AUTOCOMMIT",
    "hide_parameters": True,
}

# SQLite's default for wal_autocheckpoint, in pages.
_SQLITE_CHECKPOINT = 1000

GUEST = "logout_guest"
"""An execution option of engines that use a connection of the app. The value is a function
that returns that connection."""


class connecting:
    """A context in which this thread opens our own connections, not the app's."""

    def __enter__(self) -> None:
        _ours.is_set = True

    def __exit__(self, *_: object) -> None:
        _ours.is_set = False


def engine_for(
    app_engine: sa.Engine, timeout: timedelta
) -> t.Callable[[t.Callable[[], None]], sa.Engine]:
    """Choose how to create an engine for one of the app's databases.

    :param timeout: how long to wait for the server.
    :returns: a function that creates the engine. Its argument closes the connections of
        that engine, and is called when the app disposes of its own engine.
    """

    def make(dispose: t.Callable[[], None]) -> sa.Engine:
        sa.event.listen(app_engine, "engine_disposed", lambda _: dispose())
        if isinstance(app_engine.pool, StaticPool):
            return engine_within(app_engine)
        return engine_beside(app_engine, timeout)

    return make


def engine_beside(app_engine: sa.Engine, timeout: timedelta) -> sa.Engine:
    """Create an engine in autocommit mode that connects as the app's engine does.

    It uses the pool class and settings of the app's engine, its ``connect_args``, its
    ``creator``, and the listeners of its pool and of ``do_connect``. Therefore TLS and
    credentials are the same.

    :param timeout: how long to wait for the server.
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
    """Create an engine in autocommit mode for a database that isn't one of the app's.

    :param timeout: how long to wait for the server.
    """
    engine = sa.create_engine(url, **_OPTIONS)
    _bound_connecting(engine, timeout)
    _prepare(engine, timeout)
    wait_for_cluster(engine)
    Relay(engine, engine)
    return engine


def engine_within(app_engine: sa.Engine) -> sa.Engine:
    """Create an engine on the only connection of an in-memory SQLite database.

    The engine never begins or ends a transaction, because only the app may do so on its
    connection. Outside of a transaction, each statement is committed immediately.
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
    # The module sqlite3 begins a transaction before a statement that starts with one of
    # these words. Another thread of the app could roll it back before we commit it.
    if sql.startswith(("INSERT", "UPDATE", "DELETE")):
        sql = f"WITH one AS (SELECT 1) {sql}"
    cursor.execute(sql, parameters)
    return True


def _leave_alone(_connection: t.Any) -> None:
    pass


def _prepare(engine: sa.Engine, timeout: timedelta) -> None:
    # In autocommit mode there is nothing to roll back, so save the round trip.
    dialect: t.Any = engine.dialect
    dialect.do_rollback = _leave_alone
    _bound_waiting(engine, timeout)
    _checkpoint_rarely(engine)


def _bound_connecting(engine: sa.Engine, timeout: timedelta) -> None:
    driver, seconds = engine.dialect.driver, timeout.total_seconds()

    # Our pool connects through the app's engine, so this listens there as well. The
    # thread-local flag exempts the app's own connections.
    @sa.event.listens_for(engine, "do_connect")
    def limit(*event: t.Any) -> None:
        if getattr(_ours, "is_set", False):
            limit_waits(driver, seconds, event[3])


def _bound_waiting(engine: sa.Engine, timeout: timedelta) -> None:
    seconds = timeout.total_seconds()
    if isinstance(engine.pool, QueuePool):
        engine.pool._timeout = seconds
    if engine.dialect.driver == "pysqlite":
        sa.event.listen(engine, "connect", lambda x, _: _bound_sqlite(x, seconds))


def _bound_sqlite(connection: t.Any, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")


def _checkpoint_rarely(engine: sa.Engine) -> None:
    # By default, each batch of a purge would trigger a checkpoint.
    if engine.dialect.driver == "pysqlite":
        sa.event.listen(engine, "connect", lambda x, _: _checkpoint_sqlite(x))


def _checkpoint_sqlite(connection: t.Any) -> None:
    pages = connection.execute("PRAGMA wal_autocheckpoint").fetchone()
    # Respect a value that the app has set.
    if pages == (_SQLITE_CHECKPOINT,):
        connection.execute(f"PRAGMA wal_autocheckpoint = {4 * _SQLITE_CHECKPOINT}")
