"""Create a table, and find mistakes in its schema."""

from __future__ import annotations

import re
import typing as t

import sqlalchemy as sa

from .dialects import DIALECTS
from .engine import OwnEngine

# The attributes of a reflected text type on MySQL, and the display width of an integer.
_ATTRIBUTES = re.compile(r" (CHARACTER SET|COLLATE) .*|(?<=BIGINT)\(\d+\)")


def create_table(table: sa.Table, engine: OwnEngine) -> str:
    """Create a table and its indexes if they are missing.

    :returns: a sentence that says what was done.
    """
    schema = engine.schema_of(table)
    is_missing = not engine.run(
        lambda x: sa.inspect(x).has_table(table.name, schema=schema)
    )
    engine.execute(sa.schema.CreateTable(table, if_not_exists=True))
    is_mysql = DIALECTS[engine.dialect.name] == "mysql"
    for index in _missing_indexes(table, engine):
        # MySQL doesn't support IF NOT EXISTS for indexes.
        engine.execute(sa.schema.CreateIndex(index, if_not_exists=not is_mysql))
    return (
        f"Created table {table.name}."
        if is_missing
        else f"Table {table.name} already exists."
    )


def describe_faults(
    table: sa.Table, engine: OwnEngine, inspector: sa.Inspector
) -> list[str]:
    """Compare a table of the database with its definition.

    The app may add columns and indexes, and its indexes may have other names.

    :returns: a line that says what to do, or none.
    """
    name, schema = table.name, engine.schema_of(table)
    if not inspector.has_table(name, schema=schema):
        return [
            f"Table {name} does not exist. Run your migrations or `flask logout init`."
        ]
    faults = [
        *_column_faults(table, schema, inspector),
        *_index_faults(table, schema, inspector),
    ]
    if not faults:
        return []
    return [
        f"Table {name} has the wrong schema: {', '.join(faults)}. Create a migration"
        " that corrects it, or drop the table after every token has expired and run"
        " `flask logout init`."
    ]


def _missing_indexes(table: sa.Table, engine: OwnEngine) -> list[sa.Index]:
    schema = engine.schema_of(table)
    there = engine.run(lambda x: sa.inspect(x).get_indexes(table.name, schema=schema))
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
    spelled = _ATTRIBUTES.sub("", kind.compile(dialect=dialect))
    return spelled if nullable else f"{spelled} NOT NULL"
