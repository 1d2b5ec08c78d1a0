"""How our own connections are made: as the app's are, and waiting only so long."""

from __future__ import annotations

import threading
import time
import typing as t
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool
from sqlalchemy.pool import StaticPool

# Whether the connection that is being made in this thread is one of ours.
_ours = threading.local()

# AUTOCOMMIT from the start instead of at each check-out, and no rollback on return:
# each would be a round trip of its own.
_OPTIONS: dict[str, t.Any] = {
    "isolation_level": "AUTOCOMMIT",
    "skip_autocommit_rollback": True,
    "hide_parameters": True,
}

# After so many pages SQLite copies its write-ahead log into the file, unless told else.
_SQLITE_CHECKPOINT = 1000

COMMITS = "logout_commits"
"""The execution option of an engine that is not in autocommit."""


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
    _bound_waiting(engine, timeout)
    _checkpoint_rarely(engine)
    options = {**app_engine.get_execution_options()}
    options.pop("isolation_level", None)
    engine.update_execution_options(**options)
    return engine


def engine_of(url: sa.URL, timeout: timedelta) -> sa.Engine:
    """Make an engine on a database that is not one of the app's.

    :param url: where it is.
    :param timeout: how long to wait for the server.
    :returns: an engine in autocommit.
    """
    engine = sa.create_engine(url, **_OPTIONS)
    _bound_connecting(engine, timeout)
    _bound_waiting(engine, timeout)
    _checkpoint_rarely(engine)
    return engine


def engine_within(app_engine: sa.Engine) -> sa.Engine:
    """Make an engine on the only connection of an in-memory SQLite database.

    A transaction that the app has open on that connection is the app's to end, and what
    we write meanwhile ends with it. Else each statement is committed at once.

    :param app_engine: the app's engine.
    :returns: an engine on which ``begin()`` commits.
    """
    busy: dict[str, t.Any] = {}

    def connect() -> t.Any:
        return t.cast(StaticPool, app_engine.pool).connection.get_connection()

    def begin(connection: t.Any) -> None:
        busy["connection"] = connection if connection.in_transaction else None

    def commit(connection: t.Any) -> None:
        if connection is not busy["connection"]:
            connection.commit()

    engine = sa.create_engine(
        app_engine.url, creator=connect, poolclass=sa.NullPool, hide_parameters=True
    )
    dialect: t.Any = engine.dialect
    dialect.do_begin, dialect.do_commit = begin, commit
    dialect.do_rollback = dialect.do_close = dialect.do_terminate = _leave_alone
    engine.update_execution_options(**{COMMITS: True})
    return engine


def _leave_alone(_connection: t.Any) -> None:
    """Do nothing to a connection that is not ours."""


def _bound_connecting(engine: sa.Engine, timeout: timedelta) -> None:
    """Bound what the driver bounds when it is told so before it connects."""
    seconds = timeout.total_seconds()
    whole = max(2, round(seconds))  # libpq takes no less
    known: dict[str, dict[str, object]] = {
        "psycopg": {"connect_timeout": whole},
        "psycopg2": {
            "connect_timeout": whole,
            "tcp_user_timeout": round(seconds * 1000),
        },
        "pymysql": {
            "connect_timeout": seconds,
            "read_timeout": seconds,
            "write_timeout": seconds,
        },
    }
    arguments = known.get(engine.dialect.driver, {})

    # On the app's engine too, whose way to connect is ours: its own connections, which
    # are not made in such a block, stay as they are.
    @sa.event.listens_for(engine, "do_connect")
    def bound(*event: t.Any) -> None:
        if getattr(_ours, "is_set", False):
            for name, value in arguments.items():
                event[3].setdefault(name, value)


def _bound_waiting(engine: sa.Engine, timeout: timedelta) -> None:
    """Bound what can be bound on a connection, and the wait for one in the pool."""
    if isinstance(engine.pool, QueuePool):
        engine.pool._timeout = timeout.total_seconds()
    bound = {"pysqlite": _bound_sqlite, "psycopg": _bound_psycopg}
    function = bound.get(engine.dialect.driver)
    if function is not None:
        seconds = timeout.total_seconds()
        sa.event.listen(engine, "connect", lambda x, _: function(x, seconds))


def _bound_sqlite(connection: t.Any, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")


def _bound_psycopg(connection: t.Any, seconds: float) -> None:
    """Let psycopg give up on a server that has taken a query and says nothing."""
    from psycopg import OperationalError
    from psycopg.pq import TransactionStatus

    wait = connection.wait

    def bounded(generator: t.Any) -> t.Generator[t.Any, t.Any, t.Any]:
        deadline = time.monotonic() + seconds
        try:
            state = next(generator)
            while True:
                ready = yield state
                # Even while bytes trickle in: the answer is late.
                if time.monotonic() > deadline:
                    raise OperationalError(f"no answer within {seconds:g} seconds")
                state = generator.send(ready)
        except StopIteration as e:
            return e.value

    def wait_or_close(generator: t.Any, **options: t.Any) -> t.Any:
        try:
            return wait(bounded(generator), **options)
        except BaseException:
            # What may still come is the answer to nobody's question. psycopg itself keeps
            # even a connection whose socket it has found broken.
            if connection.info.transaction_status == TransactionStatus.ACTIVE:
                connection.close()
            raise

    connection.wait = wait_or_close


def _checkpoint_rarely(engine: sa.Engine) -> None:
    """Copy SQLite's write-ahead log into the file less often than at a purge's batches."""
    if engine.dialect.driver == "pysqlite":
        sa.event.listen(engine, "connect", lambda x, _: _checkpoint_sqlite(x))


def _checkpoint_sqlite(connection: t.Any) -> None:
    pages = connection.execute("PRAGMA wal_autocheckpoint").fetchone()
    # What the app has set stays as it is.
    if pages == (_SQLITE_CHECKPOINT,):
        connection.execute(f"PRAGMA wal_autocheckpoint = {4 * _SQLITE_CHECKPOINT}")
