"""Create the table of sessions, count its rows and find mistakes in its schema."""

from __future__ import annotations

import typing as t
from datetime import datetime

import sqlalchemy as sa

from ..sessions import SessionTally
from .dialects import DIALECTS
from .dialects import has_passed
from .engine import OwnEngine
from .schema import create_table
from .schema import describe_faults


class SQLAlchemySessionInspection:
    """The administrative view of a table of sessions."""

    def __init__(self, table: sa.Table, engine: OwnEngine) -> None:
        self._table = table
        self._engine = engine

    def create(self) -> str:
        return create_table(self._table, self._engine)

    def clear(self) -> None:
        self._engine.execute(sa.delete(self._table))

    def count(self, now: datetime) -> SessionTally:
        dialect = DIALECTS[self._engine.dialect.name]
        expired = has_passed(self._table.c.expires_at, now, dialect)
        counted = sa.func.count(sa.case((expired, 1)))
        statement = sa.select(sa.func.count(), counted).select_from(self._table)
        rows, _ = self._engine.execute(statement)
        total, expired_ones = t.cast("tuple[int, int]", rows[0])
        return SessionTally(total - expired_ones, expired_ones)

    def list_problems(self) -> list[str]:
        return self._engine.run(
            lambda x: describe_faults(self._table, self._engine, sa.inspect(x))
        )
