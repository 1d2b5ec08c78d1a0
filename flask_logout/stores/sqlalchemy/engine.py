"""Connections of our own beside the app's: short, in autocommit, one round trip each.

The app's session is never touched, so nothing of it can be committed, rolled back or
left idle in a transaction.
"""

from __future__ import annotations

import os
import re
import time
import typing as t
from contextlib import contextmanager
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import SQLAlchemyError

from ...errors import StoreUnavailableError
from ...forking import ProcessLock
from .compiled import CompiledChange
from .compiled import CompiledQuery
from .compiled import Query
from .connecting import COMMITS
from .connecting import connecting

T = t.TypeVar("T")

_ATTEMPTS = 3
# Serialization failure, deadlock (SQLSTATE); deadlock (MySQL, MariaDB).
_TRANSIENT = frozenset({"40001", "40P01", 1213})
# A replica answers: PostgreSQL (SQLSTATE); MySQL and MariaDB.
_READ_ONLY = frozenset({"25006", 1290, 1792, 1836})
# No such table: PostgreSQL, MySQL and MariaDB, SQLite.
_NO_TABLE = re.compile(
    "relation .* does not exist|Table .* doesn't exist|no such table"
)


class OwnEngine:
    """An engine that is made when it is first needed, and its ways to run a statement.

    :param make: makes the engine; it is given what closes our connections, for where
        the app closes its own.
    :param timeout: how long to wait for the database.
    """

    def __init__(
        self,
        make: t.Callable[[t.Callable[[], None]], sa.Engine],
        timeout: timedelta,
    ) -> None:
        self._make = make
        self._timeout = timeout
        self._queries: dict[Query, CompiledQuery] = {}
        self._changes: dict[sa.Insert, CompiledChange] = {}
        self._lock = ProcessLock()
        self._engine: sa.Engine | None = None
        self._pid = os.getpid()

    @property
    def dialect(self) -> sa.Dialect:
        """The dialect that is spoken."""
        return self.get().dialect

    def get(self) -> sa.Engine:
        """Give the engine of this process; a forked worker has its own connections.

        :returns: an engine in autocommit.
        """
        if self._engine is None or self._pid != os.getpid():
            self._renew()
        return t.cast(sa.Engine, self._engine)

    def connect(self) -> t.ContextManager[sa.Connection]:
        """Lend a connection on which every statement is committed at once.

        :returns: a context manager that gives the connection back, or closes it where
            anything was raised meanwhile.
        """
        engine = self.get()
        with connecting():
            is_guest = COMMITS in engine.get_execution_options()
            return _lend(engine.begin() if is_guest else engine.connect())

    def execute(
        self, statement: sa.Executable, parameters: t.Mapping[str, t.Any] | None = None
    ) -> tuple[t.Sequence[sa.Row[t.Any]], int]:
        """Run one statement that may be run again.

        :param statement: what to run: a query, or a change that is idempotent.
        :param parameters: what to bind.
        :returns: the rows it gave and the count of rows it changed.
        :raises StoreUnavailableError: the database did not answer, or not as it should.
        """

        def run(connection: sa.Connection) -> tuple[t.Sequence[sa.Row[t.Any]], int]:
            result = connection.execute(statement, parameters)
            return result.fetchall() if result.returns_rows else (), result.rowcount

        return self._try(run)

    def query(
        self, statement: Query, parameters: t.Mapping[str, t.Any]
    ) -> t.Sequence[t.Sequence[t.Any]]:
        """Run one query at the least cost: compiled once, on the driver's own cursor.

        :param statement: the query, the same object at every call.
        :param parameters: what to bind.
        :returns: the rows it gave.
        :raises StoreUnavailableError: the database did not answer, or not as it should.
        """
        engine, deadline = self.get(), self._deadline()
        compiled = self._queries.get(statement)
        if compiled is None:
            compiled = self._queries[statement] = CompiledQuery(statement, engine)
        if compiled.is_plain:
            try:
                with connecting():
                    connection = engine.raw_connection()
                return compiled.run(connection, parameters)
            except (SQLAlchemyError, engine.dialect.loaded_dbapi.Error, OSError) as e:
                if time.monotonic() > deadline:
                    raise StoreUnavailableError(explain(e)) from e
        # What failed is run again the long way, which knows what each error means.
        return self.execute(statement, parameters)[0]

    def change(self, statement: sa.Insert, parameters: t.Mapping[str, t.Any]) -> None:
        """Run one idempotent change, compiled once.

        :param statement: the change, the same object at every call.
        :param parameters: what to bind.
        :raises StoreUnavailableError: the database did not answer, or not as it should.
        """
        engine = self.get()
        if "schema_translate_map" in engine.get_execution_options():
            self.execute(statement, parameters)
        else:
            # SQLAlchemy keeps no compiled INSERT of several rows by itself.
            compiled = self._changes.get(statement) or CompiledChange(statement, engine)
            self._changes[statement] = compiled
            self._try(lambda connection: compiled.run(connection, parameters))

    def dispose(self) -> None:
        """Close every connection; the next use opens new ones."""
        if self._engine is not None:
            # Those of the process that this one was forked from are not ours to close.
            self._engine.dispose(close=self._pid == os.getpid())

    def _renew(self) -> None:
        with self._lock():
            self._engine = self._engine or self._make(self.dispose)
            if self._pid != os.getpid():
                self.dispose()
                self._pid = os.getpid()

    def _try(self, run: t.Callable[[sa.Connection], T]) -> T:
        deadline, attempts = self._deadline(), _ATTEMPTS
        while True:
            attempts -= 1
            try:
                with self.connect() as connection:
                    return run(connection)
            except (SQLAlchemyError, OSError) as e:
                if not _codes_of(e).isdisjoint(_READ_ONLY):
                    # A failover: what is in the pool leads to what is a replica now.
                    self.dispose()
                is_late = time.monotonic() > deadline
                if not attempts or is_late or not _is_passing(e):
                    raise StoreUnavailableError(explain(e)) from e

    def _deadline(self) -> float:
        """Until when what failed is tried again: a stall must not be waited for twice."""
        return time.monotonic() + self._timeout.total_seconds() / 2


@contextmanager
def _lend(opened: t.ContextManager[sa.Connection]) -> t.Iterator[sa.Connection]:
    with opened as connection:
        try:
            yield connection
        except BaseException:
            # What was interrupted must not be answered to somebody else.
            connection.invalidate()
            raise


def _is_passing(error: Exception) -> bool:
    """A dead connection from the pool, a deadlock, a failover: to be tried once more."""
    is_dead = isinstance(error, DBAPIError) and error.connection_invalidated
    return is_dead or not _codes_of(error).isdisjoint(_TRANSIENT | _READ_ONLY)


def _codes_of(error: Exception) -> set[object]:
    """The codes by which a driver says what is wrong."""
    cause: t.Any = getattr(error, "orig", None)
    codes = {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None)}
    return codes.union(getattr(cause, "args", ())[:1])


def explain(error: Exception) -> str:
    """Say in one line what a database said.

    :param error: what SQLAlchemy or the driver raised.
    :returns: the kind of error and its first line, without the statement.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    first_line = (str(cause).splitlines() or [""])[0]
    said = f"{type(cause).__name__}: {first_line}"
    if _NO_TABLE.search(said):
        said += " — create the table: run `flask logout init`, or your migrations"
    return said
