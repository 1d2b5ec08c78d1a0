"""Run statements on connections of our own, in autocommit mode, with retries.

The app's database session isn't involved, so nothing in it can be committed, rolled back
or left idle in a transaction.
"""

from __future__ import annotations

import math
import random
import threading
import time
import typing as t
from contextlib import contextmanager
from datetime import timedelta

import sqlalchemy as sa

from ...exceptions import OutcomeUnknownError
from ...exceptions import StoreUnavailableError
from ..fork_safety import OncePerProcess
from ..fork_safety import ProcessLock
from .compiled import Change
from .compiled import CompiledChange
from .compiled import CompiledQuery
from .compiled import Query
from .connections import connecting
from .connections import GUEST
from .failures import explain
from .failures import is_answer
from .failures import is_conflict
from .failures import is_from_replica
from .failures import is_known
from .failures import is_passing

T = t.TypeVar("T")

_ATTEMPTS = 3
# The longest pause after a conflict with another transaction, in seconds.
_PAUSE = 0.01
_IN_MEMORY = (
    "db.session has an open transaction, and an in-memory SQLite database has only one"
    " connection, so a rollback would undo the revocation. Commit before you revoke, pass"
    " session=db.session, or use a SQLite file"
)


class OwnEngine:
    """Runs statements on an engine that is created when it is first needed.

    :param make: creates the engine. Its argument closes our connections, and is to be
        called when the app closes its own.
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
        self._changes: dict[Change, CompiledChange] = {}
        self._turn = ProcessLock()
        self._engine: sa.Engine | None = None
        self._ready = OncePerProcess(self._set_up)

    @property
    def dialect(self) -> sa.Dialect:
        return self.get().dialect

    def get(self) -> sa.Engine:
        """Return the engine. A forked worker gets connections of its own."""
        self._ready()
        return t.cast(sa.Engine, self._engine)

    def connect(self) -> t.ContextManager[sa.Connection]:
        """Borrow a connection in autocommit mode.

        :returns: a context manager that returns the connection to the pool, or discards
            it if an exception was raised.
        """
        engine = self.get()
        with connecting():
            lent = _lend(engine.connect())
            is_guest = GUEST in engine.get_execution_options()
            return _alone(self._turn(), lent) if is_guest else lent

    def schema_of(self, table: sa.Table) -> str | None:
        """Return the schema of a table, after the app's ``schema_translate_map``.

        :returns: the schema, or ``None`` for the default schema.
        """
        options = self.get().get_execution_options()
        schemas: t.Mapping[str | None, str] = options.get("schema_translate_map") or {}
        return schemas.get(table.schema, table.schema)

    def execute(
        self, statement: sa.Executable, parameters: t.Mapping[str, t.Any] | None = None
    ) -> tuple[t.Sequence[sa.Row[t.Any]], int]:
        """Run one idempotent statement, with retries.

        :returns: the rows, and the number of rows that it changed.
        :raises StoreUnavailableError: the database didn't answer, or returned an error.
        """

        def run(connection: sa.Connection) -> tuple[t.Sequence[sa.Row[t.Any]], int]:
            result = connection.execute(statement, parameters)
            return result.fetchall() if result.returns_rows else (), result.rowcount

        return self.run(run)

    def query(
        self, statement: Query, parameters: t.Mapping[str, t.Any]
    ) -> t.Sequence[t.Sequence[t.Any]]:
        """Run one query as fast as possible, compiled once, on the driver's own cursor.

        :param statement: the query. Pass the same object in every call.
        :raises StoreUnavailableError: the database didn't answer, or returned an error.
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
        # Retry through execute(), which classifies errors.
        return self.execute(statement, parameters)[0]

    def change(self, statement: Change, parameters: t.Mapping[str, t.Any]) -> None:
        """Run one idempotent statement that writes. See :meth:`write` for exceptions."""
        compiled = self.compile(statement)
        self.write(lambda x: compiled.run(x, parameters))

    def compile(self, statement: Change) -> CompiledChange:
        """Compile a statement for :meth:`write`. Pass the same object in every call."""
        found = self._changes.get(statement)
        if found is None:
            found = self._changes[statement] = CompiledChange(statement, self.get())
        return found

    def write(  # noqa: DOC503  the class of an exception is a parameter of run()
        self, work: t.Callable[[sa.Connection], T], repeat_within: float = math.inf
    ) -> T:
        """Call a function that writes with a connection.

        :param work: the function. See :meth:`run` for both parameters.
        :returns: the result of the function.
        :raises OutcomeUnknownError: the database may have done the work, but it didn't
            answer.
        :raises StoreUnavailableError: the database didn't change anything.
        """
        connect = self.get().get_execution_options().get(GUEST)
        if connect and connect().in_transaction:
            raise StoreUnavailableError(_IN_MEMORY)
        result = self.run(work, OutcomeUnknownError, repeat_within)
        if connect and connect().in_transaction:
            # Another thread may have begun a transaction before our statement.
            raise OutcomeUnknownError(_IN_MEMORY)
        return result

    def run(  # noqa: DOC503  the class of the exception is a parameter
        self,
        work: t.Callable[[sa.Connection], T],
        if_unanswered: type[StoreUnavailableError] = StoreUnavailableError,
        repeat_within: float = math.inf,
    ) -> T:
        """Call a function with a connection, and retry it if that can help.

        :param work: a function that is idempotent for ``repeat_within``.
        :param if_unanswered: the exception to raise if the database may have done the
            work but didn't answer.
        :param repeat_within: how long the function may be repeated although the database
            may have done the work, in seconds.
        :returns: the result of the function.
        :raises StoreUnavailableError: the database didn't answer, or returned an error.
        """
        dialect, deadline, attempts = self.dialect, self._deadline(), _ATTEMPTS
        repeat_until = time.monotonic() + repeat_within
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
                    # After a failover, the pool may connect to a server that is now a
                    # replica.
                    self.dispose()
                if is_conflict(e):
                    attempts += 1
                    time.sleep(random.uniform(0, _PAUSE))
                may_help = is_unanswered and is_known(e) or is_passing(e)
                end = min(deadline, repeat_until) if is_unanswered else deadline
                if not attempts or time.monotonic() > end or not may_help:
                    raise error_class(explain(e)) from e

    def dispose(self) -> None:
        """Close every connection. The next use opens new ones."""
        if self._engine is not None:
            # A forked process must not close the connections of its parent.
            self._engine.dispose(close=self._ready.is_done)

    def _set_up(self) -> None:
        if self._engine is None:
            self._engine = self._make(self.dispose)
        else:
            self.dispose()

    def _deadline(self) -> float:
        # No retry after half of the timeout: a stalled server must not be waited for twice.
        return time.monotonic() + self._timeout.total_seconds() / 2


@contextmanager
def _alone(
    lock: threading.Lock, lent: t.ContextManager[sa.Connection]
) -> t.Iterator[sa.Connection]:
    # Only one thread at a time may use the single connection.
    with lock, lent as connection:
        yield connection


@contextmanager
def _lend(opened: t.ContextManager[sa.Connection]) -> t.Iterator[sa.Connection]:
    with opened as connection:
        try:
            yield connection
        except BaseException:
            # Discard it: the next borrower would read the stale reply.
            connection.invalidate()
            raise
