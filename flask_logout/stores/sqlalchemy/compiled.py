"""Statements that are compiled once, because every request runs them."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

from .connections import GUEST
from .tracing import RELAY
from .tracing import Relay

Query = t.Union["sa.Select[t.Any]", "sa.CompoundSelect[t.Any]"]

_CURSOR = "logout_cursor"

# PostgreSQL literals of types that need no escaping.
_LITERALS: dict[type, t.Callable[[t.Any], str]] = {
    bytes: lambda value: f"'\\x{value.hex()}'::bytea",
    int: str,
}


class CompiledQuery:
    """A query that is compiled once and runs on the driver's own cursor."""

    def __init__(self, statement: Query, engine: sa.Engine) -> None:
        options = engine.get_execution_options()
        self._relay: Relay = options[RELAY]
        self._is_special = options.keys() & {"schema_translate_map", GUEST}
        compiled = statement.compile(dialect=engine.dialect)
        self._sql = str(compiled)
        self._names = compiled.positiontup if compiled.positional else None
        params = compiled.params.items()
        self._constants = {name: value for name, value in params if value is not None}
        self._processors = [
            column.type.dialect_impl(engine.dialect).result_processor(
                engine.dialect, None
            )
            for column in statement.selected_columns
        ]
        self._is_native = not any(self._processors)
        # With parameters, pg8000 needs three round trips for a statement.
        self._is_inlined = engine.dialect.driver == "pg8000"

    def is_plain(self) -> bool:
        """Whether :meth:`run` may bypass SQLAlchemy."""
        return not self._is_special and not self._relay.is_needed()

    def run(
        self, connection: sa.PoolProxiedConnection, parameters: t.Mapping[str, t.Any]
    ) -> t.Sequence[t.Sequence[t.Any]]:
        """Run the query on a connection of the pool, and return the connection."""
        names = self._names
        if self._constants:
            parameters = {**self._constants, **parameters}
        bound = parameters if names is None else [parameters[name] for name in names]
        sql = self._sql
        if self._is_inlined and all(type(value) in _LITERALS for value in bound):
            sql, bound = _inline(sql, bound), []
        rows: t.Sequence[t.Sequence[t.Any]] | None = None
        try:
            # Reuse one cursor per connection, because MySQL Connector/Python pings the
            # server whenever a cursor is created.
            cursor = connection.info.get(_CURSOR)
            if cursor is None:
                cursor = connection.info[_CURSOR] = connection.cursor()
            cursor.execute(sql, bound)
            rows = cursor.fetchall()
        finally:
            # Discard it: the next borrower would read the stale reply.
            connection.invalidate() if rows is None else connection.close()
        return rows if self._is_native else [self._read(row) for row in rows]

    def _read(self, row: t.Sequence[t.Any]) -> list[t.Any]:
        return [
            value if process is None else process(value)
            for value, process in zip(row, self._processors, strict=True)
        ]


def _inline(sql: str, values: t.Iterable[t.Any]) -> str:
    return sql % tuple(_LITERALS[type(value)](value) for value in values)


class CompiledChange:
    """An INSERT that is compiled once and runs as the driver's own SQL."""

    def __init__(self, statement: sa.Insert, engine: sa.Engine) -> None:
        dialect = engine.dialect
        compiled = statement.compile(dialect=dialect)
        self._sql = str(compiled)
        names = compiled.positiontup if compiled.positional else None
        self._names = names
        self._processors = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect)
            for name, bind in compiled.binds.items()
        }

    def run(self, connection: sa.Connection, parameters: t.Mapping[str, t.Any]) -> None:
        bound = {
            name: value if process is None else process(value)
            for name, value in parameters.items()
            for process in [self._processors[name]]
        }
        names = self._names
        ordered = bound if names is None else tuple(bound[name] for name in names)
        connection.exec_driver_sql(self._sql, ordered)
