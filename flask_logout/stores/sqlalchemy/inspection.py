"""Create the table of revocations, count its rows and find mistakes in its schema."""

from __future__ import annotations

import re
import typing as t
from datetime import datetime

import sqlalchemy as sa

from ...revocation import Kind
from ...revocation import KINDS
from .. import Tally
from .dialects import DIALECTS
from .dialects import has_passed
from .dialects import INSTANT
from .dialects import NOW
from .dialects import to_utc
from .engine import OwnEngine
from .topology import list_risks

# The attributes of a reflected text type on MySQL.
_COLLATION = re.compile(r" (CHARACTER SET|COLLATE) .*")


class SQLAlchemyInspection:
    """The administrative view of a table of revocations."""

    def __init__(self, table: sa.Table, engine: OwnEngine) -> None:
        self.place = f"table {table.name}"
        self._table = table
        self._engine = engine

    def create(self) -> str:
        table = self._table
        is_missing = not self._engine.run(
            lambda x: sa.inspect(x).has_table(table.name, schema=self._schema)
        )
        self._engine.execute(sa.schema.CreateTable(self._table, if_not_exists=True))
        is_mysql = DIALECTS[self._engine.dialect.name] == "mysql"
        for index in self._missing_indexes():
            # MySQL doesn't support IF NOT EXISTS for indexes.
            create = sa.schema.CreateIndex(index, if_not_exists=not is_mysql)
            self._engine.execute(create)
        name = self._table.name
        return (
            f"Created table {name}." if is_missing else f"Table {name} already exists."
        )

    @property
    def _schema(self) -> str | None:
        return self._engine.schema_of(self._table)

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
        return self._engine.run(
            lambda x: [*self._describe_faults(sa.inspect(x)), *list_risks(x)]
        )

    def _describe_faults(self, inspector: sa.Inspector) -> t.Iterator[str]:
        # Indexes may have other names, and the app may add columns and indexes.
        table, name = self._table, self._table.name
        if not inspector.has_table(name, schema=self._schema):
            yield (
                f"Table {name} does not exist. Run your migrations or `flask logout init`."
            )
            return
        faults = [
            *_column_faults(table, self._schema, inspector),
            *_index_faults(table, self._schema, inspector),
        ]
        if faults:
            yield (
                f"Table {name} has the wrong schema: {', '.join(faults)}. Create a"
                " migration that corrects it, or drop the table after every token has"
                " expired and run `flask logout init`."
            )

    def _missing_indexes(self) -> list[sa.Index]:
        table = self._table
        there = self._engine.run(
            lambda x: sa.inspect(x).get_indexes(table.name, schema=self._schema)
        )
        names = {index["name"] for index in there}
        missing = [index for index in table.indexes if index.name not in names]
        return sorted(missing, key=lambda index: str(index.name))


def _column_faults(
    table: sa.Table, schema: str | None, inspector: sa.Inspector
) -> t.Iterator[str]:
    dialect = inspector.dialect
    found = {
        x["name"]: _spell(x["type"], x["nullable"], dialect)
        for x in inspector.get_columns(table.name, schema=schema)
    }
    for column in table.columns:
        right = _spell(column.type, bool(column.nullable), dialect)
        if column.name not in found:
            yield f"column {column.name} ({right}) is missing"
        elif found[column.name] != right:
            yield f"column {column.name} has {found[column.name]} instead of {right}"


def _index_faults(
    table: sa.Table, schema: str | None, inspector: sa.Inspector
) -> t.Iterator[str]:
    key = inspector.get_pk_constraint(table.name, schema=schema)
    if key["constrained_columns"] != table.primary_key.columns.keys():
        yield "the primary key is not the column key"
    indexes = inspector.get_indexes(table.name, schema=schema)
    # Only the first column matters, because statements search for a single column.
    served = {x["column_names"][0] for x in indexes}
    for name in sorted(x.columns.keys()[0] for x in table.indexes):
        if name not in served:
            yield f"the index on column {name} is missing"


def _spell(
    kind: sa.types.TypeEngine[t.Any], nullable: bool, dialect: sa.Dialect
) -> str:
    if isinstance(kind, sa.types.NullType):
        return "an unknown type"
    spelled = _COLLATION.sub("", kind.compile(dialect=dialect))
    return spelled if nullable else f"{spelled} NOT NULL"
