"""The table read page by page, for a copy in memory: first all of it, then the news."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from functools import cached_property

import sqlalchemy as sa

from .. import Page
from .engine import OwnEngine
from .types import DIALECTS
from .types import KEY
from .types import NOW
from .types import to_utc

PAGE_SIZE = 2_500
"""How many keys a page has at most."""

OVERLAP = timedelta(seconds=10)
"""How long a statement of ours may take from the clock to the commit. What is older in
the news has been read before."""

_EPOCH = datetime(1970, 1, 2, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Cursor:
    """Where in the table a reader is."""

    seen: datetime
    """Up to when all was read, by the database's clock, but for what came late."""

    scanned: bytes | None
    """The last key of the page before. ``None``: all were read, news follow."""


class Pages:
    """Reads a table page by page.

    :param table: the table.
    :param engine: where it is.
    """

    def __init__(self, table: sa.Table, engine: OwnEngine) -> None:
        self._table = table
        self._engine = engine

    def read(self, cursor: Cursor | None) -> Page:
        """Read the page of :meth:`.Store.changes`.

        :param cursor: the cursor of the page before; ``None``: the first page.
        :returns: the page.
        :raises StoreUnavailableError: the database did not answer.
        """
        if cursor is None:
            return self._start()
        is_read = cursor.scanned is None
        return self._read_news(cursor) if is_read else self._scan(cursor)

    def _start(self) -> Page:
        # Before the first key is read, so that nothing falls between the two.
        newest = sa.select(sa.func.max(self._table.c.revoked_at))
        ((latest,),) = self._read(newest)
        seen = to_utc(latest) if latest else _EPOCH
        page = self._scan(Cursor(seen, b""))
        total = len(page.keys)
        if total == PAGE_SIZE:
            # Digests are spread evenly: how far a page reaches tells how many there are.
            total = total * 2**128 // int.from_bytes(page.keys[-1], "big")
        return replace(page, total=total)

    # The same object for every page, so that it is compiled once.
    @cached_property
    def _next_keys(self) -> sa.Select[t.Any]:
        key = self._table.c.key
        beyond = sa.select(key).where(key > sa.bindparam("last", type_=KEY))
        return beyond.order_by(key).limit(sa.bindparam("size", type_=sa.Integer))

    def _scan(self, cursor: Cursor) -> Page:
        bound = {"last": cursor.scanned, "size": PAGE_SIZE}
        rows = self._engine.query(self._next_keys, bound)
        keys = _keys_of(rows)
        scanned = keys[-1] if len(keys) == PAGE_SIZE else None
        return Page(keys, Cursor(cursor.seen, scanned), has_more=True)

    def _read_news(self, cursor: Cursor) -> Page:
        revoked_at = self._table.c.revoked_at
        select = sa.select(self._table.c.key, revoked_at)
        dialect = DIALECTS[self._engine.dialect.name]
        if dialect == "sqlite":
            # It has one writer at a time, so none commits behind the latest.
            rows = self._read(select.where(revoked_at >= cursor.seen))
            seen = max([cursor.seen, *(to_utc(row[1]) for row in rows)])
            return Page(_keys_of(rows), Cursor(seen, None), False)
        news = select.where(revoked_at >= cursor.seen - OVERLAP)
        clock: t.Any = sa.select(sa.null(), NOW[dialect])
        rows = self._read(sa.union_all(news, clock))
        (now,) = (row[1] for row in rows if row[0] is None)
        keys = _keys_of(row for row in rows if row[0] is not None)
        return Page(keys, Cursor(to_utc(now), None), False)

    def _read(self, statement: sa.Executable) -> t.Sequence[t.Sequence[t.Any]]:
        return self._engine.execute(statement)[0]


def _keys_of(rows: t.Iterable[t.Sequence[t.Any]]) -> list[bytes]:
    return [bytes(row[0]) for row in rows]
