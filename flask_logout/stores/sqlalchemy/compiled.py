"""Statements that are compiled once, because every request runs them."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

from .connections import GUEST
from .tracing import RELAY
from .tracing import Relay

Query = t.Union["sa.Select[t.Any]", "sa.CompoundSelect[t.Any]"]
Change = t.Union[sa.Insert, sa.Update]

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
            cursor = cursor_of(connection)
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


class Changed(t.NamedTuple):
    """What a statement that writes has returned."""

    number: int
    """The number of rows that it changed."""

    last_id: int | None
    """The last inserted id, on MySQL and MariaDB."""

    rows: t.Sequence[t.Sequence[t.Any]]
    """The rows of its RETURNING clause."""


class CompiledChange:
    """A statement that writes, compiled once, which runs on the driver's own cursor."""

    def __init__(self, statement: Change, engine: sa.Engine) -> None:
        dialect = engine.dialect
        options = engine.get_execution_options()
        self._relay: Relay = options[RELAY]
        self._is_special = bool(options.keys() & {"schema_translate_map", GUEST})
        # MySQL Connector/Python finds out that a connection is closed only when it creates
        # a cursor, as SQLAlchemy does for each statement.
        self._needs_cursor = dialect.driver == "mysqlconnector"
        self._statement = statement
        compiled = statement.compile(dialect=dialect)
        self._sql = str(compiled)
        self._names = compiled.positiontup if compiled.positional else None
        params = compiled.params.items()
        self._constants = {name: value for name, value in params if value is not None}
        self._processors = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect)
            for bind, name in compiled.bind_names.items()
        }

    def run(
        self, connection: sa.Connection, parameters: t.Mapping[str, t.Any]
    ) -> Changed:
        """Run the statement.

        :raises sqlalchemy.exc.SQLAlchemyError: the database didn't answer, or returned an
            error.
        """
        if self._is_special:
            return self._observe(
                connection, lambda: connection.execute(self._statement, parameters)
            )
        given = {**self._constants, **parameters}
        bound = {
            name: given[name] if process is None else process(given[name])
            for name, process in self._processors.items()
        }
        names = self._names
        ordered = bound if names is None else tuple(bound[name] for name in names)
        if self._needs_cursor or self._relay.is_needed():
            return self._observe(
                connection, lambda: connection.exec_driver_sql(self._sql, ordered)
            )
        cursor = cursor_of(connection.connection)
        try:
            cursor.execute(self._sql, ordered)
            return _read(cursor, cursor.fetchall() if cursor.description else ())
        except connection.dialect.loaded_dbapi.Error as e:
            is_lost = connection.dialect.is_disconnect(
                e, connection.connection.dbapi_connection, cursor
            )
            raise sa.exc.DBAPIError(
                self._sql, None, e, connection_invalidated=is_lost
            ) from e

    def _observe(
        self, connection: sa.Connection, execute: t.Callable[[], sa.CursorResult[t.Any]]
    ) -> Changed:
        # With some drivers, SQLAlchemy forgets these as soon as it closes the cursor.
        seen: list[Changed] = []

        def note(*event: t.Any) -> None:
            seen.append(_read(event[1]))

        sa.event.listen(connection, "after_cursor_execute", note)
        result = execute()
        rows = result.fetchall() if result.returns_rows else ()
        return seen[-1]._replace(rows=rows)


def cursor_of(connection: sa.PoolProxiedConnection) -> t.Any:
    """Return the cursor of a connection, which every fast statement reuses.

    MySQL Connector/Python pings the server whenever a cursor is created.
    """
    cursor = connection.info.get(_CURSOR)
    if cursor is None:
        cursor = connection.info[_CURSOR] = connection.cursor()
    return cursor


def _read(cursor: t.Any, rows: t.Sequence[t.Sequence[t.Any]] = ()) -> Changed:
    return Changed(cursor.rowcount, getattr(cursor, "lastrowid", None), rows)
