"""Fixtures for real databases and for apps that use them."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_jwt_extended import get_jwt_identity
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy

from flask_logout import LogoutExtension

from .ci import skip_or_fail

# The modules of this package define fixtures that several files share.
pytest_plugins = [
    "pytester",
    "tests.mirrors",
    "tests.node_programs",
    "tests.plugin_suites",
    "tests.proxied_apps",
]

# These are test suites of apps. The tests of the pytest plugin run them.
collect_ignore = ["suites"]

SECRET = "a secret of at least thirty-two bytes"

POSTGRESQL_URL = os.environ.get(
    "TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"
)
MARIADB_URL = os.environ.get(
    "TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test"
)
REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")
# All synchronous drivers that SQLAlchemy lists, except pyodbc.
SERVERS = {
    "postgresql+psycopg": POSTGRESQL_URL,
    "postgresql+psycopg2": POSTGRESQL_URL,
    "postgresql+pg8000": POSTGRESQL_URL,
    "postgresql+psycopg2cffi": POSTGRESQL_URL,
    "mysql+mysqldb": MARIADB_URL,
    "mysql+pymysql": MARIADB_URL,
    "mariadb+mariadbconnector": MARIADB_URL,
    "mysql+mysqlconnector": MARIADB_URL,
    "mysql+cymysql": MARIADB_URL,
}


class MakeApp(t.Protocol):
    """Makes an app with the extension, its table, and three routes."""

    def __call__(self, **config: t.Any) -> Flask: ...


def server_url(driver: str) -> sa.URL:
    """Return the URL of a running server. If there is none, skip, or fail under CI."""
    url = sa.make_url(SERVERS[driver]).set(drivername=driver)
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
    except ImportError as e:
        pytest.skip(f"{e}: pip install -e '.[test,drivers]'")
    levels = engine.dialect.get_isolation_level_values(t.cast(t.Any, None))
    if "AUTOCOMMIT" not in levels:
        pytest.skip(f"{driver} has no autocommit in SQLAlchemy {sa.__version__}")
    try:
        engine.connect().close()
    except sa.exc.DBAPIError as e:
        skip_or_fail(f"no {driver} server answers at {url.host}:{url.port}: {e.orig}")
    return url


@pytest.fixture(
    scope="session", params=["sqlite", "postgresql+psycopg", "mysql+pymysql"]
)
def server(request: pytest.FixtureRequest) -> t.Iterator[sa.URL | None]:
    """A new database on each kind of server, or ``None`` for SQLite."""
    yield from open_server(request.param)


def open_server(driver: str) -> t.Iterator[sa.URL | None]:
    """Create a database on a server, and drop it afterwards."""
    if driver == "sqlite":
        yield None
        return
    with new_database(driver) as url:
        yield url


@pytest.fixture
def database_url(server: sa.URL | None, tmp_path: Path) -> t.Iterator[str]:
    """The URL of an empty database of each kind."""
    if server is None:
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    yield server.render_as_string(hide_password=False)
    engine = sa.create_engine(server, poolclass=sa.NullPool)
    metadata = sa.MetaData()
    metadata.reflect(engine)
    metadata.drop_all(engine)


class new_database:
    """A context manager that creates a new database, and drops it afterwards.

    :param driver: a key of :data:`SERVERS`.
    :param options: the end of the statement that creates it.
    """

    def __init__(self, driver: str, options: str = "") -> None:
        self._options = options
        self._url = server_url(driver)
        self._name = f"flask_logout_{uuid4().hex[:12]}"

    def __enter__(self) -> sa.URL:
        self._run(f"CREATE DATABASE {self._name} {self._options}")
        return self._url.set(database=self._name)

    def __exit__(self, *_: object) -> None:
        suffix = " WITH (FORCE)" if "postgresql" in self._url.drivername else ""
        self._run(f"DROP DATABASE {self._name}{suffix}")

    def _run(self, statement: str) -> None:
        engine = sa.create_engine(
            self._url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            connection.execute(sa.text(statement))


def add_routes(app: Flask) -> None:
    """Add a route for access tokens, one for refresh tokens, and a public one."""

    @app.get("/me")
    @jwt_required()
    def me() -> dict[str, t.Any]:
        return {"identity": get_jwt_identity()}

    @app.post("/refresh")
    @jwt_required(refresh=True)
    def refresh() -> dict[str, t.Any]:
        return {"identity": get_jwt_identity()}

    @app.get("/open")
    def open_to_all() -> dict[str, t.Any]:
        return {}


def dispose(app: Flask) -> None:
    """Close all connections of an app."""
    with app.app_context():
        if "logout" in app.extensions:
            app.extensions["logout"].store.close()
        if "sqlalchemy" in app.extensions:
            for engine in app.extensions["sqlalchemy"].engines.values():
                engine.dispose()


@pytest.fixture
def make_app(tmp_path: Path) -> t.Iterator[MakeApp]:
    """Make apps that use a SQLite file unless the config says otherwise."""
    made: list[Flask] = []

    def make(**config: t.Any) -> Flask:
        app = Flask("tests", instance_path=str(tmp_path))
        # The default timeout could cause 503 responses on a busy machine.
        app.config.update(JWT_SECRET_KEY=SECRET, TESTING=True, LOGOUT_TIMEOUT=5)
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.db'}"
        app.config.update(config)
        db = SQLAlchemy(app)
        JWTManager(app)
        LogoutExtension(app)
        add_routes(app)
        with app.app_context():
            db.create_all()
        made.append(app)
        return app

    yield make
    for app in made:
        dispose(app)
