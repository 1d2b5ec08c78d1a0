"""What happens when the app's own transaction has ended."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import Session
from sqlalchemy.orm import SessionTransaction

if t.TYPE_CHECKING:
    from .. import AppSession

_INFO = "flask_logout"


class _Waiting:
    """What waits for the transactions of one session."""

    def __init__(self) -> None:
        self.callbacks: list[tuple[set[SessionTransaction], t.Callable[[], None]]] = []
        self.committed: list[t.Callable[[], None]] = []

    def commit(self, session: Session) -> None:
        if not session.in_nested_transaction():
            self.committed = [callback for _, callback in self.callbacks]

    def roll_back(self, _: Session, ended: SessionTransaction) -> None:
        self.callbacks = [x for x in self.callbacks if ended not in x[0]]

    def end(self, _: Session, ended: SessionTransaction) -> None:
        # Only now can a callback use the session again.
        if ended.parent is None:
            committed, self.committed, self.callbacks = self.committed, [], []
            for callback in committed:
                callback()


def call_after_commit(session: AppSession, callback: t.Callable[[], None]) -> None:
    """Call back once when what the session has done so far is committed.

    Where it is rolled back, a savepoint it lies in included, nothing is called.

    :param session: the app's session, in a transaction.
    :param callback: what to call.
    """
    target = session() if isinstance(session, scoped_session) else session
    if _INFO not in target.info:
        target.info[_INFO] = waiting = _Waiting()
        sa.event.listen(target, "after_commit", waiting.commit)
        sa.event.listen(target, "after_soft_rollback", waiting.roll_back)
        sa.event.listen(target, "after_transaction_end", waiting.end)
    target.info[_INFO].callbacks.append((set(_enclosing(target)), callback))


def _enclosing(session: Session) -> t.Iterator[SessionTransaction]:
    transaction = session.get_nested_transaction() or session.get_transaction()
    while transaction is not None:
        yield transaction
        transaction = transaction.parent
