"""Which store an app gets, by its settings."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import NoSuchModuleError

from .config import Settings
from .errors import ConfigError
from .stores import Store
from .stores.sqlalchemy import make_table
from .stores.sqlalchemy import SQLAlchemyStore
from .stores.sqlalchemy.clock import LONGEST_WRITE
from .stores.sqlalchemy.connecting import engine_for
from .stores.sqlalchemy.connecting import engine_of
from .stores.sqlalchemy.engine import OwnEngine
from .stores.sqlalchemy.types import DIALECTS

EMBEDDED_URI = "sqlite:///logout.db"
"""The database of an app that has none: a file in its instance folder."""

_REDIS = ("redis", "rediss", "unix")


def open_store(app: Flask, settings: Settings) -> Store:
    """Open the store that the settings of an app ask for; nothing is connected yet.

    :param app: the app.
    :param settings: its settings.
    :returns: the store, with the in-memory mirror if that is enabled.
    :raises ConfigError: a setting names what is not there, or is not supported.
    """
    store = _open(app, settings)
    if settings.max_staleness:
        from .mirror import Mirror

        if isinstance(store, SQLAlchemyStore):
            _check_timeout(settings.timeout)
        store = Mirror(store, max_staleness=settings.max_staleness)
    return store


def _check_timeout(timeout: timedelta) -> None:
    if timeout > LONGEST_WRITE:
        raise ConfigError(
            f"Invalid LOGOUT_TIMEOUT: {timeout.total_seconds():g} seconds. Expected"
            f" {LONGEST_WRITE.total_seconds():g} seconds or less, because"
            " LOGOUT_MAX_STALENESS is set and the in-memory mirror can miss a write that"
            " takes longer. Lower LOGOUT_TIMEOUT or remove LOGOUT_MAX_STALENESS."
        )


def _open(app: Flask, settings: Settings) -> Store:
    uri = settings.store_uri
    is_redis = (uri or "").partition(":")[0].partition("+")[0] in _REDIS
    if settings.redis_wait and not is_redis:
        raise ConfigError(
            f"Invalid LOGOUT_REDIS_WAIT: {settings.redis_wait}. It needs a Redis URL in"
            " LOGOUT_STORE_URI. Set that, or remove LOGOUT_REDIS_WAIT."
        )
    if uri is None:
        return _open_database_of(app, settings)
    if settings.commit_app_session:
        raise ConfigError(
            "Invalid LOGOUT_COMMIT_APP_SESSION: True. It needs the revocations in one of"
            " the app's own databases, but LOGOUT_STORE_URI names another store. Remove"
            " one of the two settings."
        )
    if is_redis:
        from .stores.redis import RedisStore

        return RedisStore(
            uri,
            timeout=settings.timeout,
            table_name=settings.table_name,
            replicas=settings.redis_wait,
        )
    return _open_own_database(app, uri, settings)


def _open_database_of(app: Flask, settings: Settings) -> SQLAlchemyStore:
    is_embedded = _ensure_database(app)
    db: SQLAlchemy = app.extensions["sqlalchemy"]
    bind_key = settings.bind_key
    with app.app_context():
        if bind_key not in db.engines:
            raise ConfigError(
                f"Invalid LOGOUT_BIND_KEY: {bind_key!r}. Expected a key of"
                " SQLALCHEMY_BINDS, or None for the default database."
            )
        app_engine = db.engines[bind_key]
    _check_dialect(app_engine.dialect)
    engine = OwnEngine(engine_for(app_engine, settings.timeout), settings.timeout)
    table = make_table(db.metadatas[bind_key], settings.table_name)
    store = SQLAlchemyStore(table, engine, app_session=db.session)
    if is_embedded:
        store.inspect().create()
        # For ever: who reads the file no longer waits for who writes it.
        engine.execute(sa.text("PRAGMA journal_mode = WAL"))
        # Nothing open may be carried into forked workers.
        engine.dispose()
    return store


def _open_own_database(app: Flask, uri: str, settings: Settings) -> SQLAlchemyStore:
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
    url = _in_instance_folder(app, url)
    engine = OwnEngine(lambda _: engine_of(url, settings.timeout), settings.timeout)
    return SQLAlchemyStore(make_table(sa.MetaData(), settings.table_name), engine)


def _in_instance_folder(app: Flask, url: sa.URL) -> sa.URL:
    """Find a file where Flask-SQLAlchemy would, whatever the working directory is."""
    file = url.database or ":memory:"
    if url.get_backend_name() != "sqlite" or file.startswith((":memory:", "file:")):
        return url
    path = Path(app.instance_path) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    return url.set(database=str(path))


def _check_dialect(dialect: sa.Dialect | type[sa.Dialect]) -> None:
    if dialect.name not in DIALECTS:
        raise ConfigError(
            f"Unsupported database: {dialect.name}. Expected one of"
            f" {', '.join(sorted(DIALECTS))}. Set LOGOUT_BIND_KEY or LOGOUT_STORE_URI to"
            " a database of that kind."
        )
    if dialect.driver == "pyodbc":
        raise ConfigError(
            "Unsupported database driver: pyodbc, which cuts off fractions of a second."
            " Use mysqlclient or PyMySQL: replace mysql+pyodbc:// in the URL by mysql://"
            " or mysql+pymysql://."
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
            " it, or name another one, such as postgresql+psycopg or mysql+pymysql."
        ) from e


def _ensure_database(app: Flask) -> bool:
    """Create the SQLAlchemy of an app that has none; tell whether it is embedded."""
    if "sqlalchemy" in app.extensions:
        return False
    for key in ("SQLALCHEMY_DATABASE_URI", "SQLALCHEMY_BINDS"):
        if app.config.get(key):
            raise ConfigError(
                f"{key} is set, but this app has no SQLAlchemy object yet. Create it"
                " first: call db.init_app(app) or SQLAlchemy(app) before"
                " LogoutExtension."
            )
    app.config["SQLALCHEMY_DATABASE_URI"] = EMBEDDED_URI
    SQLAlchemy(app)
    return True
