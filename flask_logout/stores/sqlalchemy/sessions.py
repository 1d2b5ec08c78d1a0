"""The store of sessions in a table beside the revocations."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timedelta
from functools import lru_cache
from functools import partial

import sqlalchemy as sa

from ...domain.revocation import Revocation
from ...domain.rotation import Policy
from ...domain.rotation import Record
from ...domain.rotation import REJECTED
from ...domain.rotation import rotate
from ...domain.rotation import Rotation
from ...domain.rotation import Session
from ...exceptions import StoreUnavailableError
from .. import LONGEST_WRITE
from ..monotonic import read_uptime
from ..sessions import Position
from .compiled import Change
from .compiled import Changed
from .dialects import DIALECTS
from .dialects import require_returning
from .dialects import to_utc
from .engine import OwnEngine
from .escaping import Texts
from .failures import is_answer
from .purging import delete_passed
from .session_statements import bind_values
from .session_statements import make_end
from .session_statements import make_find_session
from .session_statements import make_insert_once
from .session_statements import make_list
from .session_statements import make_rotate
from .session_statements import OUTCOMES
from .session_table import make_session_table
from .session_table import name_session_table
from .session_table import SESSION_TEXTS
from .statements import bind_keys
from .store import SQLAlchemyStore

if t.TYPE_CHECKING:
    from .session_inspection import SQLAlchemySessionInspection

# The number of times that a swap is attempted while other swaps interfere.
_ATTEMPTS = 5

# The columns that the compare-and-swap sets, and those that it compares with revocations.
_SWAPPED = ("parent", "expires_at", "kept_until")
_COMPARED = ("key", "any_issuer_key")
# A column may have truncated the fraction of a cutoff.
_LOST_FRACTION = timedelta(seconds=1)


class SQLAlchemySessions:
    """Stores sessions in the database that has the revocations.

    :param revocations: the store of revocations.
    :param policy: how the app rotates refresh tokens.
    :raises ConfigError: the app has another table of that name.
    """

    def __init__(self, revocations: SQLAlchemyStore, policy: Policy) -> None:
        self._revocations = revocations
        self._engine: OwnEngine = revocations.engine
        self._policy = policy
        name = name_session_table(revocations.table.name)
        self.table = make_session_table(revocations.table.metadata, name)
        self._texts = Texts(self.table, self._engine, SESSION_TEXTS)
        require_returning(self._engine.dialect)
        self._dialect = DIALECTS[self._engine.dialect.name]
        # MySQL and MariaDB lock what a statement reads before it writes, so a check in the
        # same statement would block logouts.
        self._needs_two = self._dialect == "mysql"
        # Each object is built once, because SQLAlchemy caches what it compiles from it.
        table, dialect = self.table, self._dialect
        now = {"last_seen_at"}
        self._start = make_insert_once(table, now, dialect)
        self._adopt = make_insert_once(table, now | {"rotated_at"}, dialect)
        self._rotate = lru_cache(maxsize=16)(
            partial(make_rotate, table, revocations.table, policy, dialect)
        )
        self._find = make_find_session(table, policy, dialect)
        self._end = make_end(table, revocations.table, dialect)
        self._once = make_insert_once(revocations.table, {"revoked_at"}, dialect)
        self._list = lru_cache(maxsize=64)(partial(make_list, table, revocations.table))

    def start(self, session: Session) -> None:
        self._insert(session, self._start)

    def rotate(self, session: Session, *, is_second: bool = False) -> Rotation:
        presented = _presented_by(session)
        # If the statement has just changed nothing, read the record first.
        is_swap_due = not is_second or self._needs_two
        for _ in range(_ATTEMPTS):
            swapped = self._swap(session) if is_swap_due else None
            if swapped is not None:
                return swapped
            is_swap_due = True
            record = self.find(session.key, subject=session.subject)
            found = rotate(record, session.subject_key, presented, self._policy)
            if found.outcome in REJECTED:
                return found
            if record is None and self._insert(session, self._adopt):
                return found
            # Another refresh has changed the record since the swap.
        raise StoreUnavailableError("other refreshes keep changing this session")

    def rotate_unrevoked(
        self, session: Session, keys: t.Collection[bytes]
    ) -> Rotation | None:
        return None if self._needs_two else self._swap(session, keys)

    def find(self, key: bytes, *, subject: str | None) -> Record | None:
        rows = self._engine.query(self._find, {"session_key": key})
        if not rows:
            return None
        subject_key, generation, parent, is_young = rows[0]
        return Record(bytes(subject_key), generation, parent, bool(is_young))

    def list_active(
        self,
        subject_key: bytes,
        covering: t.Sequence[bytes],
        now: datetime,
        *,
        subject: str | None,
        after: Position | None = None,
        limit: int,
    ) -> list[Session]:
        bound = bind_keys(covering)
        bound |= {"owner": subject_key, "now": now, "page_size": limit}
        if after is not None:
            bound |= {"created_at": after.created_at, "session_key": after.key}
        query = self._list(len(covering), after is None)
        rows, _ = self._engine.execute(query, bound)
        return [_to_session(row) for row in rows]

    def end(self, revocation: Revocation, subject_key: bytes) -> bool:
        condition = {"session_key": revocation.key, "owner": subject_key}
        return self._write_revocation(self._end, revocation, condition)

    def revoke_once(self, revocation: Revocation) -> bool:
        return self._write_revocation(self._once, revocation, {})

    def purge(self, now: datetime, *, batch: int) -> int:
        column = self.table.c.kept_until
        return delete_passed(self.table, column, now, batch, self._engine)

    def inspect(self) -> SQLAlchemySessionInspection:
        from .session_inspection import SQLAlchemySessionInspection

        return SQLAlchemySessionInspection(self.table, self._engine)

    def _insert(self, session: Session, statement: sa.Insert) -> bool:
        """Insert a session, and return whether it is new."""
        (fitted,) = self._texts.fit([session])
        bound = bind_values({**vars(fitted), "rotated_at": None})
        return self._count(self._change(statement, bound)) == 1

    def _swap(
        self, session: Session, keys: t.Collection[bytes] = ()
    ) -> Rotation | None:
        """Run the compare-and-swap, and return ``None`` if it changed nothing.

        :param keys: the keys under which there must be no revocation of the session.
        """
        presented = _presented_by(session)
        names = (*_SWAPPED, *_COMPARED) if keys else _SWAPPED
        bound = bind_values({name: getattr(session, name) for name in names})
        bound |= {"session_key": session.key, "owner": session.subject_key}
        if keys:
            bound |= {
                **bind_keys(keys),
                "began_at": session.created_at - _LOST_FRACTION,
            }
        done = self._change(self._rotate(len(keys)), bound)
        if self._dialect == "mysql":
            generation, outcome = divmod(done.last_id or 0, len(OUTCOMES))
            return Rotation(OUTCOMES[outcome], generation) if outcome else None
        if not done.rows:
            return None
        ((generation, is_new),) = done.rows
        if not is_new:
            return Rotation("repeated", generation)
        is_next = generation == presented + 1
        return Rotation("rotated" if is_next else "replaced", generation)

    def _change(self, statement: Change, bound: dict[str, t.Any]) -> Changed:
        compiled = self._engine.compile(statement)
        # After the grace period, a repetition would look like a reused token.
        return self._engine.write(
            lambda x: compiled.run(x, bound), self._policy.grace.total_seconds()
        )

    def _write_revocation(
        self, statement: sa.Insert, revocation: Revocation, condition: dict[str, t.Any]
    ) -> bool:
        """Write a revocation, and return whether a row was written."""
        (fitted,) = self._revocations.texts.fit([revocation])
        bound = condition | bind_values(vars(fitted))
        compiled = self._engine.compile(statement)
        is_lost = False

        def work(connection: sa.Connection) -> int:
            nonlocal is_lost
            try:
                return self._count(compiled.run(connection, bound))
            except Exception as e:
                is_lost = is_lost or not is_answer(e, connection.dialect)
                raise

        began_at = read_uptime()
        is_written = self._engine.write(work) > 0
        # If the row has been written although the answer was lost, the retry of an INSERT
        # without a condition writes nothing.
        is_written = is_written or is_lost and not condition
        if is_written and read_uptime() - began_at > LONGEST_WRITE.total_seconds():
            # In-memory mirrors can miss a write that takes this long.
            self._revocations.add([revocation])
        return is_written

    def _count(self, changed: Changed) -> int:
        # The other databases return a row for each one that they have written.
        return changed.number if self._dialect == "mysql" else len(changed.rows)


def _presented_by(session: Session) -> int:
    return t.cast(int, session.parent)


def _to_session(row: sa.Row[t.Any]) -> Session:
    values = dict(row._mapping)
    del values["rotated_at"]
    for name in ("created_at", "last_seen_at", "expires_at", "kept_until"):
        values[name] = values[name] and to_utc(values[name])
    for name in ("key", "any_issuer_key", "subject_key"):
        values[name] = bytes(values[name])
    return Session(**values)
