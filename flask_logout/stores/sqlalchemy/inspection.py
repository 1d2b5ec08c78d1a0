"""Create the table of revocations, count its rows and find mistakes in its schema."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from ...domain.revocation import Kind
from ...domain.revocation import KINDS
from .. import Tally
from .dialects import DIALECTS
from .dialects import has_passed
from .dialects import INSTANT
from .dialects import NOW
from .dialects import to_utc
from .engine import OwnEngine
from .schema import create_table
from .schema import describe_faults
from .topology import list_risks


class SQLAlchemyInspection:
    """The administrative view of a table of revocations."""

    def __init__(self, table: sa.Table, engine: OwnEngine) -> None:
        self.place = f"table {table.name}"
        self._table = table
        self._engine = engine

    def create(self) -> str:
        return create_table(self._table, self._engine)

    def clear(self) -> None:
        self._engine.execute(sa.delete(self._table))

    def count_kinds(self, now: datetime) -> dict[Kind, Tally]:
        column = self._table.c
        expired = sa.func.count(sa.case((self._has_expired(now), 1)))
        statement = sa.select(
            column.kind,
            (sa.func.count() - expired).label("live"),
            expired.label("expired"),
            sa.func.min(column.revoked_at).label("oldest"),
            sa.func.max(column.revoked_at).label("newest"),
        )
        rows, _ = self._engine.execute(statement.group_by(column.kind))
        found = {
            row.kind: Tally(
                row.live, row.expired, to_utc(row.oldest), to_utc(row.newest)
            )
            for row in rows
        }
        return {kind: found.get(kind, Tally()) for kind in KINDS}

    def count_expired(self, now: datetime) -> int:
        statement = sa.select(sa.func.count()).where(self._has_expired(now))
        rows, _ = self._engine.execute(statement)
        return int(rows[0][0])

    def _has_expired(self, now: datetime) -> sa.ColumnElement[bool]:
        dialect = DIALECTS[self._engine.dialect.name]
        return has_passed(self._table.c.expires_at, now, dialect)

    def read_clock(self) -> datetime:
        now = NOW[DIALECTS[self._engine.dialect.name]]
        rows, _ = self._engine.execute(sa.select(sa.type_coerce(now, INSTANT)))
        return to_utc(rows[0][0])

    def read_last_expiry(self) -> datetime | None:
        # This reads one entry of an index.
        last = sa.func.max(self._table.c.expires_at, type_=INSTANT)
        rows, _ = self._engine.execute(sa.select(last))
        return rows[0][0] and to_utc(rows[0][0])

    def list_problems(self) -> list[str]:
        table, engine = self._table, self._engine
        return engine.run(
            lambda x: [
                *describe_faults(table, engine, sa.inspect(x)),
                *list_risks(x),
            ]
        )
