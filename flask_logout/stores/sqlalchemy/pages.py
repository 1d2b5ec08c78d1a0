"""Read the keys in the table page by page for an in-memory mirror, without a gap.

First a scan reads all keys, then rows are read in the order of ``revoked_at``.
"""

from __future__ import annotations

import logging
import typing as t
from dataclasses import dataclass
from dataclasses import replace
from datetime import datetime
from functools import cached_property

import sqlalchemy as sa

from .. import Page
from ..monotonic import read_uptime
from .dialects import DIALECTS
from .dialects import INSTANT
from .dialects import KEY
from .dialects import statement_now
from .dialects import to_utc
from .engine import OwnEngine
from .server_clock import OVERLAP
from .server_clock import Reading

PAGE_SIZE = 2_500
"""The largest number of keys on a page."""

logger = logging.getLogger("flask_logout")

Rows = t.Sequence[t.Sequence[t.Any]]


@dataclass(frozen=True)
class Cursor:
    """The progress of a reader."""

    reading: Reading
    """The last reading of the database's clock."""

    changed_at: datetime
    """The next page of changes starts at this ``revoked_at``."""

    key: bytes = b""
    """Among the rows with exactly that ``revoked_at``, it starts after this key."""

    scanned: bytes | None = None
    """The last key of the scan, or ``None`` once the scan is complete."""

    run_began_at: datetime | None = None
    """The database's time on the first page of this run of changes."""


class Pages:
    """Reads the table page by page."""

    def __init__(self, table: sa.Table, engine: OwnEngine) -> None:
        self._table = table
        self._engine = engine

    def read(self, cursor: Cursor | None) -> Page:
        """Read the page that follows a cursor, or the first page."""
        if cursor is None:
            return self._start(self._read(self._now)[1])
        is_scan = cursor.scanned is not None
        return self._scan(cursor) if is_scan else self._read_changes(cursor)

    def _start(self, reading: Reading) -> Page:
        # The clock is read before the first key, so no row can be missed between them.
        page = self._scan(Cursor(reading, reading.now - OVERLAP, scanned=b""))
        total = len(page.keys)
        if total == PAGE_SIZE:
            # Digests are evenly distributed, so the last key shows which share was read.
            total = total * 2**128 // int.from_bytes(page.keys[-1], "big")
        return replace(page, total=total)

    def _scan(self, cursor: Cursor) -> Page:
        bound = {"last": cursor.scanned, "size": PAGE_SIZE}
        keys = [bytes(key) for (key,) in self._engine.query(self._next_keys, bound)]
        scanned = keys[-1] if len(keys) == PAGE_SIZE else None
        return Page(keys, replace(cursor, scanned=scanned), has_more=True)

    def _read_changes(self, cursor: Cursor) -> Page:
        bound = {"since": cursor.changed_at, "last": cursor.key, "size": PAGE_SIZE}
        rows, reading = self._read(self._next_changes, bound)
        if reading.is_behind(cursor.reading):
            # Rows that were written in between may have an earlier revoked_at.
            logger.warning(
                "The database's clock has gone back from %s to %s. The in-memory mirror"
                " starts over.",
                cursor.reading.now,
                reading.now,
            )
            return self._start(reading)
        keys = [key for _, key in rows]
        began_at = cursor.run_began_at or reading.now
        if len(rows) == PAGE_SIZE:
            return Page(keys, Cursor(reading, *max(rows), run_began_at=began_at), True)
        # The next run reads the overlap again, because rows in it may not be visible yet.
        return Page(keys, Cursor(reading, began_at - OVERLAP), False)

    def _read(
        self, statement: sa.Executable, bound: t.Mapping[str, t.Any] | None = None
    ) -> tuple[list[tuple[datetime, bytes]], Reading]:
        """Read changes and, in the same statement, the clock before them."""
        began_at = read_uptime()
        rows: Rows = self._engine.execute(statement, bound)[0]
        ended_at = read_uptime()
        (now,) = (to_utc(at) for at, key in rows if key is None)
        changes = [(to_utc(at), bytes(key)) for at, key in rows if key is not None]
        return changes, Reading(now, began_at, ended_at)

    # Statements are cached, because each object is compiled only once.
    @cached_property
    def _next_keys(self) -> sa.Select[t.Any]:
        key = self._table.c.key
        beyond = sa.select(key).where(key > sa.bindparam("last", type_=KEY))
        return beyond.order_by(key).limit(sa.bindparam("size", type_=sa.Integer))

    @cached_property
    def _next_changes(self) -> sa.CompoundSelect[t.Any]:
        at, key = self._table.c.revoked_at, self._table.c.key
        since = sa.bindparam("since", type_=INSTANT)
        is_beyond = sa.or_(at > since, key > sa.bindparam("last", type_=KEY))
        page = sa.select(at, key).where(at >= since, is_beyond).order_by(at, key)
        size = sa.bindparam("size", type_=sa.Integer)
        return sa.union_all(sa.select(page.limit(size).subquery()), self._now)

    @cached_property
    def _now(self) -> sa.Select[t.Any]:
        now = statement_now(DIALECTS[self._engine.dialect.name])
        columns: list[t.Any] = [
            sa.type_coerce(now, INSTANT),
            sa.type_coerce(sa.null(), KEY),
        ]
        return sa.select(*columns)
