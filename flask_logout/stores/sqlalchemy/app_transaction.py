"""Write revocations in a transaction that the app controls."""

from __future__ import annotations

import os
import typing as t
from contextlib import contextmanager
from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from ...domain.revocation import Revocation
from ...exceptions import ConfigError
from ...exceptions import LogoutError
from ...exceptions import OutcomeUnknownError
from ...exceptions import StoreUnavailableError
from ..transaction import around_commit
from .dialects import DIALECTS
from .engine import OwnEngine
from .failures import explain

if t.TYPE_CHECKING:
    from .. import AppSession

    Upsert = t.Callable[
        [t.Sequence[Revocation]], tuple[sa.Insert, t.Mapping[str, t.Any]]
    ]

# The schema in which checks find the table, if only the connection determines it.
_SCHEMA_OF = {
    "postgresql": sa.text(
        "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = to_regclass(quote_ident(:name))"
    ),
    "mysql": sa.text("SELECT database() FROM (SELECT :name) AS named"),
}

BLOCKED = (
    "%s. This request has an open transaction on the same SQLite file in db.session, and"
    " SQLite allows only one writer at a time. Commit it before you revoke, pass"
    " session=db.session, or set LOGOUT_COMMIT_APP_SESSION for the logout endpoint"
)
"""The message of an error if :func:`may_block` returns ``True``."""


class JoinedTable:
    """Writes to the table on the connection of the app's database session.

    The session may have another ``search_path`` or ``schema_translate_map``, so the
    statement names the schema in which checks find the table.
    """

    def __init__(
        self, session: AppSession, table: sa.Table, engine: OwnEngine, upsert: Upsert
    ) -> None:
        if not isinstance(session, (Session, scoped_session)):
            raise TypeError(
                f"Invalid session of type {type(session).__name__}. Expected a"
                " SQLAlchemy session such as db.session."
            )
        self._session, self._upsert = session, upsert
        clause = sa.insert(table)
        # Don't use session.execute(), because it flushes the app's objects.
        with _translated():
            self._bind = session.get_bind(clause=clause)
            _check_database(self._bind.engine, engine.get(), table.name)
            self._connection = session.connection(bind_arguments={"clause": clause})
        self.is_certain = _place(self._bind.engine) == _place(engine.get())
        self._schemas = _find_schemas(table, engine)

    def add(self, revocations: t.Sequence[Revocation]) -> None:
        statement, parameters = self._upsert(revocations)
        options = {"schema_translate_map": self._schemas}
        with _translated():
            self._connection.execute(statement, parameters, execution_options=options)

    def around_commit(
        self, *, before: t.Callable[[], None], after: t.Callable[[], None]
    ) -> None:
        around_commit(
            self._session,
            self._connection,
            is_external=self._connection is self._bind,
            before=before,
            after=after,
        )


def may_block(session: scoped_session[t.Any], table: sa.Table) -> bool:
    """Whether the session of this request has an open transaction on our SQLite file."""
    # Outside of an app context there is no current session.
    with suppress(RuntimeError, SQLAlchemyError):
        if session.registry.has() and session().in_transaction():
            clause = sa.insert(table)
            connection = session.connection(bind_arguments={"clause": clause})
            driver_connection: t.Any = connection.connection.dbapi_connection
            is_file = connection.dialect.name == "sqlite" and not isinstance(
                connection.engine.pool, StaticPool
            )
            return is_file and bool(driver_connection.in_transaction)
    return False


def explain_commit(error: Exception) -> StoreUnavailableError:
    """Convert an exception that the commit of the app's session raised."""
    is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
    kind = OutcomeUnknownError if is_lost else StoreUnavailableError
    return kind(f"db.session can't be committed: {explain(error)}")


@contextmanager
def _translated() -> t.Iterator[None]:
    try:
        yield
    except UnboundExecutionError as e:
        raise ConfigError(
            "Invalid argument session: it has no engine for the table of revocations."
            " Pass db.session, or a session that is bound to an engine."
        ) from e
    except (InvalidRequestError, LogoutError):
        # The app must roll back, or has closed the session. The database isn't at fault.
        raise
    except Exception as e:
        raise StoreUnavailableError(explain(e)) from e


def _check_database(theirs: sa.Engine, ours: sa.Engine, table: str) -> None:
    kinds = [DIALECTS.get(x.dialect.name) for x in (theirs, ours)]
    names = [_database(x) for x in (theirs, ours)]
    if kinds[0] == kinds[1] and (None in names or names[0] == names[1]):
        return
    raise ConfigError(
        f"Invalid argument session: it is connected to the {theirs.dialect.name} database"
        f" {theirs.url.database!r}, but the table {table} is in the"
        f" {ours.dialect.name} database {ours.url.database!r}. Pass a session of that"
        " database, or remove the argument."
    )


def _database(engine: sa.Engine) -> str | None:
    """Return the name of an engine's database, or ``None`` if the URL has none."""
    name = engine.url.database
    if engine.dialect.name != "sqlite":
        return name
    if name in (None, "", ":memory:"):
        return ":memory:"
    return None if str(name).startswith("file:") else os.path.realpath(str(name))


def _place(engine: sa.Engine) -> tuple[object, ...]:
    url = engine.url
    return url.host, url.port, url.query.get("host"), _database(engine) or url.database


def _find_schemas(
    table: sa.Table, engine: OwnEngine
) -> t.Mapping[str | None, str | None] | None:
    """Return the ``schema_translate_map`` that directs writes to the table of the checks."""
    options = engine.get().get_execution_options()
    schemas: dict[str | None, str | None] = {**options.get("schema_translate_map", {})}
    query = _SCHEMA_OF.get(DIALECTS[engine.dialect.name])
    if query is not None and table.schema is None and None not in schemas:
        rows, _ = engine.execute(query, {"name": table.name})
        for row in rows:
            schemas[None] = row[0]
    return schemas or None
