"""Flask-Migrate detects the tables, and then detects no difference."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import sqlalchemy as sa

from .conftest import new_database
from .flask_commands import run_flask
from .flask_run import environment

APP = """
from flask import Flask
from flask_jwt_extended import JWTManager
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_logout import LogoutExtension

app = Flask(__name__)
app.config.update(JWT_SECRET_KEY="k" * 32, SQLALCHEMY_DATABASE_URI={url!r})
app.config.from_prefixed_env()
db = SQLAlchemy(app)
JWTManager(app)
LogoutExtension(app)
Migrate(app, db)
"""


@pytest.fixture(params=["sqlite", "postgresql+psycopg", "mysql+pymysql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> t.Iterator[str]:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'app.db'}"
        return
    with new_database(request.param) as url:
        yield url.render_as_string(hide_password=False)


INDEXES = {
    "logout_revocation": {"expires_at", "revoked_at", "subject"},
    "logout_session": {"kept_until", "subject_key"},
}


class Database(t.NamedTuple):
    """An empty database, and the folder of an app that uses it."""

    url: str
    folder: Path

    def run(self, *arguments: str, sessions: bool) -> str:
        """Run a command of Flask-Migrate, and return what it prints."""
        done = run_flask(
            *("--app", "app", "db", *arguments),
            folder=self.folder,
            env={**environment(), "FLASK_LOGOUT_SESSIONS": str(sessions).lower()},
        )
        assert done.status == 0, done.output
        return done.output

    def indexes(self) -> dict[str, set[str]]:
        """Return the indexes of each table, without the prefix of their names."""
        engine = sa.create_engine(self.url)
        inspector = sa.inspect(engine)
        found = {
            table: {
                str(x["name"]).removeprefix(f"ix_{table}_")
                for x in inspector.get_indexes(table)
            }
            for table in inspector.get_table_names()
            if table != "alembic_version"
        }
        engine.dispose()
        return found


@pytest.fixture
def database(migrated_url: str, tmp_path: Path) -> Database:
    """The database and the folder of an app that has just run ``flask db init``."""
    (tmp_path / "app.py").write_text(APP.format(url=migrated_url))
    database = Database(migrated_url, tmp_path)
    database.run("init", sessions=False)
    return database


@pytest.mark.parametrize("sessions", [False, True])
def test_flask_db_migrate_detects_the_tables(
    database: Database, sessions: bool
) -> None:
    expected = dict(list(INDEXES.items())[: 1 + sessions])
    said = database.run("migrate", sessions=sessions)
    detected = {x for x in INDEXES if f"Detected added table '{x}'" in said}
    assert detected == expected.keys()
    (script,) = database.folder.glob("migrations/versions/*.py")
    assert "flask_logout" not in script.read_text()
    database.run("upgrade", sessions=sessions)
    assert database.indexes() == expected
    said = database.run("migrate", sessions=sessions)
    assert "No changes in schema detected" in said
    database.run("check", sessions=sessions)
    database.run("downgrade", sessions=sessions)
    assert database.indexes() == {}


def test_an_app_can_enable_sessions_later(database: Database) -> None:
    for command in ("migrate", "upgrade"):
        database.run(command, sessions=False)
    said = database.run("migrate", sessions=True)
    assert "Detected added table 'logout_session'" in said
    assert "logout_revocation" not in said
    database.run("upgrade", sessions=True)
    assert database.indexes() == INDEXES
    said = database.run("migrate", sessions=True)
    assert "No changes in schema detected" in said
