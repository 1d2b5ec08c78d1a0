"""Connections of our own beside the app's: short, in autocommit, one round trip each.

The app's session is never touched, so nothing of it can be committed, rolled back or
left idle in a transaction.
"""

from __future__ import annotations

import threading
import time
import typing as t
from contextlib import contextmanager
from datetime import timedelta

import sqlalchemy as sa

from ...exceptions import OutcomeUnknownError
from ...exceptions import StoreUnavailableError
from ..forking import OncePerProcess
from ..forking import ProcessLock
from .compiled import CompiledChange
from .compiled import CompiledQuery
from .compiled import Query
from .connections import connecting
from .connections import GUEST
from .failures import explain
from .failures import is_answer
from .failures import is_from_replica
from .failures import is_known
from .failures import is_passing

T = t.TypeVar("T")

_ATTEMPTS = 3
_IN_MEMORY = (
    "db.session has an open transaction, and an in-memory SQLite database has one"
    " connection, so a rollback would undo the revocation. Commit before you revoke, pass"
    " session=db.session, or use a file"
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
        self._turn = ProcessLock()
        self._engine: sa.Engine | None = None
        self._ready = OncePerProcess(self._set_up)

    @property
    def dialect(self) -> sa.Dialect:
        """The dialect that is spoken."""
        return self.get().dialect

    def get(self) -> sa.Engine:
        """Give the engine of this process; a forked worker has its own connections.

        :returns: an engine in autocommit.
        """
        self._ready()
        return t.cast(sa.Engine, self._engine)

    def connect(self) -> t.ContextManager[sa.Connection]:
        """Lend a connection on which every statement is committed at once.

        :returns: a context manager that gives the connection back, or closes it where
            anything was raised meanwhile.
        """
        engine = self.get()
        with connecting():
            lent = _lend(engine.connect())
            is_guest = GUEST in engine.get_execution_options()
            return _alone(self._turn(), lent) if is_guest else lent

    def schema_of(self, table: sa.Table) -> str | None:
        """Name the schema that the app's ``schema_translate_map`` gives a table.

        :param table: the table.
        :returns: the schema, ``None`` for the default one.
        """
        options = self.get().get_execution_options()
        schemas: t.Mapping[str | None, str] = options.get("schema_translate_map") or {}
        return schemas.get(table.schema, table.schema)

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

        return self.run(run)

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
        if compiled.is_plain():
            try:
                with connecting():
                    connection = engine.raw_connection()
                return compiled.run(connection, parameters)
            except Exception as e:
                if time.monotonic() > deadline or not is_known(e, engine.dialect):
                    raise StoreUnavailableError(explain(e, engine.dialect)) from e
        # What failed is run again the long way, which knows what each error means.
        return self.execute(statement, parameters)[0]

    def change(  # noqa: DOC503  the class of an exception is a parameter of run()
        self, statement: sa.Insert, parameters: t.Mapping[str, t.Any]
    ) -> None:
        """Run one idempotent change, compiled once.

        :param statement: the change, the same object at every call.
        :param parameters: what to bind.
        :raises OutcomeUnknownError: the change was sent, and no answer came.
        :raises StoreUnavailableError: the database did not make the change.
        """
        engine = self.get()
        options = engine.get_execution_options()
        connect = options.get(GUEST)
        if connect and connect().in_transaction:
            raise StoreUnavailableError(_IN_MEMORY)
        if "schema_translate_map" in options:
            self.run(lambda x: x.execute(statement, parameters), OutcomeUnknownError)
        else:
            # SQLAlchemy keeps no compiled INSERT of several rows by itself.
            compiled = self._changes.get(statement) or CompiledChange(statement, engine)
            self._changes[statement] = compiled
            self.run(lambda x: compiled.run(x, parameters), OutcomeUnknownError)
        if connect and connect().in_transaction:
            # Another thread may have begun it before our statement.
            raise OutcomeUnknownError(_IN_MEMORY)

    def run(  # noqa: DOC503  the class of the exception is a parameter
        self,
        work: t.Callable[[sa.Connection], T],
        if_unanswered: type[StoreUnavailableError] = StoreUnavailableError,
    ) -> T:
        """Do some work on a connection, and do it again if that may help.

        :param work: what to do, which may be done again.
        :param if_unanswered: what to raise if the database may have done the work.
        :returns: what the work returned.
        :raises StoreUnavailableError: the database did not answer, or not as it should.
        """
        dialect, deadline, attempts = self.dialect, self._deadline(), _ATTEMPTS
        error_class = StoreUnavailableError
        while True:
            attempts, is_sent = attempts - 1, False
            try:
                with self.connect() as connection:
                    is_sent = True
                    return work(connection)
            except Exception as e:
                is_unanswered = is_sent and not is_answer(e, dialect)
                if is_unanswered:
                    error_class = if_unanswered
                if is_from_replica(e):
                    # A failover: the pool leads to what is a replica now.
                    self.dispose()
                may_help = is_unanswered and is_known(e) or is_passing(e)
                if not attempts or time.monotonic() > deadline or not may_help:
                    raise error_class(explain(e)) from e

    def dispose(self) -> None:
        """Close every connection; the next use opens new ones."""
        if self._engine is not None:
            # A forked process must not close the connections of its parent.
            self._engine.dispose(close=self._ready.is_done)

    def _set_up(self) -> None:
        if self._engine is None:
            self._engine = self._make(self.dispose)
        else:
            self.dispose()

    def _deadline(self) -> float:
        """Until when what failed is tried again: a stall must not be waited for twice."""
        return time.monotonic() + self._timeout.total_seconds() / 2


@contextmanager
def _alone(
    lock: threading.Lock, lent: t.ContextManager[sa.Connection]
) -> t.Iterator[sa.Connection]:
    """Let one thread at a time use the only connection that there is."""
    with lock, lent as connection:
        yield connection


@contextmanager
def _lend(opened: t.ContextManager[sa.Connection]) -> t.Iterator[sa.Connection]:
    with opened as connection:
        try:
            yield connection
        except BaseException:
            # What was interrupted must not be answered to somebody else.
            connection.invalidate()
            raise
