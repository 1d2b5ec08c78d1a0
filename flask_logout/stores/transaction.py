"""Callbacks around the commit of a transaction that the app controls."""

from __future__ import annotations

import typing as t
from contextlib import ExitStack
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field

import sqlalchemy as sa
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import Session
from sqlalchemy.orm import SessionTransaction

from ..exceptions import StoreUnavailableError

if t.TYPE_CHECKING:
    from . import AppSession

Callback = t.Callable[[], None]

_KEY = "flask_logout"


def around_commit(
    session: AppSession,
    connection: sa.Connection,
    *,
    is_external: bool,
    before: Callback,
    after: Callback,
) -> None:
    """Call back right before and right after the commit of the preceding write.

    Neither is called if the transaction is rolled back, or a savepoint of the session
    that contains the write. If the session is bound to a connection on which the app began
    a transaction itself, ``after`` waits for the end of that transaction: it is called when
    the connection is used again or returned to its pool. Savepoints that the app creates
    on the connection itself go unnoticed.

    :param session: the app's database session, in a transaction.
    :param connection: the connection of the session that the write used.
    :param is_external: whether the session is bound to this connection.
    :param before: is called before each commit of the session, except for savepoints. If
        it raises, so does the commit.
    :param after: is called after the commit. If it raises, so does the commit, unless the
        session is bound to a connection.
    """
    target = session() if isinstance(session, scoped_session) else session
    write = _Write(frozenset(_enclosing(target)), connection, before, after)
    _follower_of(target).writes.append(write)
    if is_external:
        write.outer = _outer_of(connection)
        write.outer.writes.append(write)


@dataclass(eq=False)
class _Write:
    enclosing: frozenset[SessionTransaction]
    connection: sa.Connection
    before: Callback
    after: Callback
    outer: _Outer | None = None

    def undo(self) -> None:
        if self.outer is not None:
            self.outer.writes.remove(self)

    def end(self, is_committed: bool) -> None:
        if self.outer is None:
            if is_committed:
                self.after()
        elif not (self.connection.closed or self.connection.in_transaction()):
            _finish(self.connection.info)


class _Follower:
    """Tracks the pending writes of one session."""

    def __init__(self) -> None:
        self.writes: list[_Write] = []
        self._is_committed = self._is_rolled_back = False

    def before_commit(self, session: Session) -> None:
        if not session.in_nested_transaction():
            for write in self.writes:
                write.before()

    def after_commit(self, session: Session) -> None:
        self._is_committed = not session.in_nested_transaction()

    def after_rollback(self, session: Session) -> None:
        self._is_rolled_back = not session.in_nested_transaction()

    def after_transaction_end(self, _: Session, ended: SessionTransaction) -> None:
        if ended.parent is not None:
            return
        if self._is_rolled_back:
            self._undo(ended)
        writes, self.writes = self.writes, []
        is_committed = self._is_committed
        self._is_committed = self._is_rolled_back = False
        # All callbacks run, even if one of them raises.
        with ExitStack() as stack:
            for write in reversed(writes):
                stack.callback(write.end, is_committed)

    def after_soft_rollback(self, _: Session, ended: SessionTransaction) -> None:
        self._undo(ended)

    def _undo(self, ended: SessionTransaction) -> None:
        undone = [x for x in self.writes if ended in x.enclosing]
        self.writes = [x for x in self.writes if x not in undone]
        for write in undone:
            write.undo()


_EVENTS = (
    "before_commit",
    "after_commit",
    "after_rollback",
    "after_transaction_end",
    "after_soft_rollback",
)


def _follower_of(session: Session) -> _Follower:
    if _KEY not in session.info:
        session.info[_KEY] = follower = _Follower()
        for event in _EVENTS:
            sa.event.listen(session, event, getattr(follower, event))
    return t.cast(_Follower, session.info[_KEY])


def _enclosing(session: Session) -> t.Iterator[SessionTransaction]:
    transaction = session.get_nested_transaction() or session.get_transaction()
    while transaction is not None:
        yield transaction
        transaction = transaction.parent


@dataclass
class _Outer:
    """Tracks the pending writes in a transaction that the app began on a connection."""

    writes: list[_Write] = field(default_factory=list)
    is_committing: bool = False


def _outer_of(connection: sa.Connection) -> _Outer:
    pool = connection.engine.pool
    for target, event, listener in (
        (connection, "commit", _note_commit),
        (connection, "rollback", _discard),
        (connection, "begin", _begin),
        (pool, "checkin", _check_in),
    ):
        if not sa.event.contains(target, event, listener):
            sa.event.listen(target, event, listener)
    return t.cast(_Outer, connection.info.setdefault(_KEY, _Outer()))


# SQLAlchemy has an event before a commit on a connection, but none after it. A commit that
# fails is followed by a rollback.
def _note_commit(connection: sa.Connection) -> None:
    if _KEY in connection.info:
        connection.info[_KEY].is_committing = True


def _discard(connection: sa.Connection) -> None:
    connection.info.pop(_KEY, None)


def _begin(connection: sa.Connection) -> None:
    with suppress(StoreUnavailableError):
        _finish(connection.info)


def _check_in(_: object, record: t.Any) -> None:
    # An error here would prevent the connection from returning to the pool.
    with suppress(StoreUnavailableError):
        _finish(record.info)


def _finish(info: dict[t.Any, t.Any]) -> None:
    outer: _Outer | None = info.pop(_KEY, None)
    if outer is not None and outer.is_committing:
        with ExitStack() as stack:
            for write in reversed(outer.writes):
                stack.callback(write.after)
