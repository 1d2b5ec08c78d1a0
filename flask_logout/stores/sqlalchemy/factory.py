"""Open a store in one of the app's databases, or in a database of its own."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import NoSuchModuleError

from ...exceptions import ConfigError
from .connections import engine_for
from .connections import engine_of
from .dialects import DIALECTS
from .engine import OwnEngine
from .store import SQLAlchemyStore
from .tables import make_table

if t.TYPE_CHECKING:
    from sqlalchemy.orm import scoped_session


@dataclass(frozen=True)
class AppDatabase:
    """One of the app's own databases."""

    engine: sa.Engine
    """The app's engine."""

    metadata: sa.MetaData
    """The metadata of the tables in this database."""

    session: scoped_session[t.Any]
    """The app's database session."""

    is_embedded: bool
    """Whether it is the SQLite file of an app that has configured no database."""


def open_app_database(
    database: AppDatabase, *, table_name: str, timeout: timedelta
) -> SQLAlchemyStore:
    """Open a store in one of the app's databases.

    :raises ConfigError: the database or its driver is not supported.
    """
    _check_dialect(database.engine.dialect)
    engine = OwnEngine(engine_for(database.engine, timeout), timeout)
    table = make_table(database.metadata, table_name)
    store = SQLAlchemyStore(
        table,
        engine,
        app_session=database.session,
        is_embedded=database.is_embedded,
    )
    if database.is_embedded:
        store.inspect().create()
        # WAL mode persists. Readers no longer block on writers.
        engine.execute(sa.text("PRAGMA journal_mode = WAL"))
        # Forked workers must not inherit an open connection.
        engine.dispose()
    return store


def open_own_database(
    uri: str, *, folder: str, table_name: str, timeout: timedelta
) -> SQLAlchemyStore:
    """Open a store in a database of its own.

    :param uri: ``LOGOUT_STORE_URI``, a SQLAlchemy URL.
    :param folder: relative paths of SQLite files start here.
    :raises ConfigError: the URL is invalid, or the database or its driver is not
        supported.
    """
    try:
        url = sa.make_url(uri)
        dialect = url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise ConfigError(
            "Invalid LOGOUT_STORE_URI, which isn't shown because it may contain a"
            " password. Expected a URL such as redis://localhost:6379/0 or"
            " postgresql+psycopg://user@localhost/database, or None for the app's"
            " database."
        ) from None
    _check_dialect(dialect)
    _check_driver(dialect)
    url = _in_folder(folder, url)
    engine = OwnEngine(lambda _: engine_of(url, timeout), timeout)
    return SQLAlchemyStore(make_table(sa.MetaData(), table_name), engine)


def _in_folder(folder: str, url: sa.URL) -> sa.URL:
    # As in Flask-SQLAlchemy, paths don't depend on the working directory.
    file = url.database or ":memory:"
    if url.get_backend_name() != "sqlite" or file.startswith("file:"):
        return url
    if file.startswith(":memory:"):
        raise ConfigError(
            "Invalid LOGOUT_STORE_URI: an in-memory SQLite database belongs to one"
            " process, so no other worker would see its revocations. Expected a file,"
            " such as sqlite:///logout.db, which is in the app's instance folder."
        )
    path = Path(folder) / file
    if not Path(file).is_absolute():
        path.parent.mkdir(parents=True, exist_ok=True)
    elif not path.parent.is_dir():
        # Creating it could hide a typing error, and the revocations with it.
        raise ConfigError(
            f"Invalid LOGOUT_STORE_URI: the folder {path.parent} does not exist. Create"
            " it, or correct the path. A path after sqlite:/// is relative to the app's"
            " instance folder, and one after sqlite://// is absolute."
        )
    return url.set(database=str(path))


def _check_dialect(dialect: sa.Dialect | type[sa.Dialect]) -> None:
    if dialect.name not in DIALECTS:
        raise ConfigError(
            f"Unsupported database: {dialect.name}. Expected one of"
            f" {', '.join(sorted(DIALECTS))}. Set LOGOUT_BIND_KEY or LOGOUT_STORE_URI to"
            " a supported database."
        )
    if dialect.driver == "pyodbc":
        raise ConfigError(
            "Unsupported database driver: pyodbc, because it truncates fractions of a"
            " second. Use mysqlclient or PyMySQL: replace mysql+pyodbc:// in the URL with"
            " mysql:// or mysql+pymysql://."
        )


def _check_driver(dialect: type[sa.Dialect]) -> None:
    name = f"{dialect.name}+{dialect.driver}"
    if dialect.is_async:
        raise ConfigError(
            f"Invalid driver in LOGOUT_STORE_URI: {name} is for asyncio. Expected a"
            " synchronous driver, such as postgresql+psycopg or mysql+pymysql."
        )
    try:
        dialect.import_dbapi()
    except ImportError as e:
        raise ConfigError(
            f"The driver for LOGOUT_STORE_URI, {name}, can't be imported: {e}. Install"
            " it with pip, or use another driver for that database."
        ) from e
