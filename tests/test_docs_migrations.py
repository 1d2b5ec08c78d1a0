"""The how-to about migrations, as commands in a shell."""

from __future__ import annotations

import shlex
import sqlite3
import typing as t
from contextlib import closing
from pathlib import Path

import pytest

from .conftest import SECRET
from .flask_commands import run_flask
from .flask_run import environment
from .pages import blocks

(APP,) = blocks("howto/migrations.rst", "python")
NEW, EXISTING, SESSIONS, BINDS = (
    [shlex.split(line) for line in block.strip().splitlines()]
    for block in blocks("howto/migrations.rst", "bash")
)

USER = (
    '\nclass User(db.Model):\n    id = db.Column("id", db.Integer, primary_key=True)\n'
)


class Project(t.NamedTuple):
    """A folder with an app in it."""

    folder: Path

    def write(self, code: str) -> None:
        """Write the app."""
        (self.folder / "app.py").write_text(code)

    def run(
        self, *command: str, status: int = 0, env: dict[str, str] | None = None
    ) -> str:
        """Run a command of the page; give what it prints."""
        assert command[0] == "flask"
        url = f"sqlite:///{self.folder / 'app.db'}"
        done = run_flask(
            *command[1:],
            folder=self.folder,
            env={
                **environment(),
                "FLASK_JWT_SECRET_KEY": SECRET,
                "FLASK_SQLALCHEMY_DATABASE_URI": url,
                **(env or {}),
            },
        )
        assert done.status == status, done.output
        return done.output

    def tables(self, name: str = "app.db") -> set[str]:
        """List the tables of a database."""
        with closing(sqlite3.connect(self.folder / name)) as database:
            query = "SELECT name FROM sqlite_master WHERE type = 'table'"
            return {name for (name,) in database.execute(query)}

    def versions(self) -> list[Path]:
        """List the migrations, the newest last."""
        found = (self.folder / "migrations/versions").glob("*.py")
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The app of the page."""
    project = Project(tmp_path)
    project.write(APP)
    return project


def test_an_app_that_has_migrations(project: Project) -> None:
    project.write(APP.replace("LogoutExtension(app)\n", "") + USER)
    for command in NEW:
        project.run(*command)
    assert project.tables() == {"alembic_version", "user"}
    project.write(APP + USER)
    *migrate, check = EXISTING
    for command in migrate:
        project.run(*command)
    assert project.tables() == {"alembic_version", "user", "logout_revocation"}
    script = project.versions()[-1].read_text()
    assert (script.count("op.create_table"), script.count("user")) == (1, 0)
    assert "ok: store\n" in project.run(*check)


def test_sessions_need_another_migration(project: Project) -> None:
    for command in NEW:
        project.run(*command)
    on = {"FLASK_LOGOUT_SESSIONS": "true"}
    words = "Table logout_session does not exist."
    assert words in project.run(*SESSIONS[-1], status=1, env=on)
    *migrate, check = SESSIONS
    for command in migrate:
        project.run(*command, env=on)
    tables = {"alembic_version", "logout_revocation", "logout_session"}
    assert project.tables() == tables
    script = project.versions()[-1].read_text()
    assert script.count("op.create_table") == 1
    assert "ok: store\n" in project.run(*check, env=on)
    said = project.run("flask", "db", "migrate")
    assert "Detected removed table 'logout_session'" in said


def test_a_table_that_exists_is_not_found(project: Project) -> None:
    project.run("flask", "db", "init")
    project.run("flask", "logout", "init")
    assert "No changes in schema detected" in project.run("flask", "db", "migrate")
    assert project.versions() == []
    # The remedy: a database without the table, and a stamp for the one with it.
    empty = f"sqlite:///{project.folder / 'empty.db'}"
    project.run("flask", "db", "migrate", env={"FLASK_SQLALCHEMY_DATABASE_URI": empty})
    assert len(project.versions()) == 1
    project.run("flask", "db", "stamp", "head")
    project.run("flask", "db", "upgrade")
    project.run("flask", "db", "check")


BIND = {
    "FLASK_LOGOUT_BIND_KEY": "auth",
    "FLASK_SQLALCHEMY_BINDS__auth": "sqlite:///auth.db",
}


def test_binds(project: Project) -> None:
    (command,) = BINDS
    project.run(*command, env=BIND)
    for command in NEW[1:]:
        project.run(*command, env=BIND)
    assert "logout_revocation" not in project.tables()
    assert "logout_revocation" in project.tables("instance/auth.db")


def test_binds_without_multidb(project: Project) -> None:
    for command in NEW:
        project.run(*command, env=BIND)
    assert project.versions() == []
    assert "problem: store:" in project.run(
        "flask", "logout", "check", status=1, env=BIND
    )
    said = project.run("flask", "logout", "init", env=BIND)
    assert said.endswith("Created table logout_revocation.\n")
    said = project.run("flask", "logout", "init", env=BIND)
    assert said.endswith("Table logout_revocation already exists.\n")
    assert "logout_revocation" in project.tables("instance/auth.db")


def test_a_database_of_its_own(project: Project) -> None:
    own = {"FLASK_LOGOUT_STORE_URI": "sqlite:///own.db"}
    project.run("flask", "db", "init", env=own)
    said = project.run("flask", "db", "migrate", env=own)
    assert "No changes in schema detected" in said
    project.run("flask", "logout", "init", env=own)
    assert project.tables("instance/own.db") == {"logout_revocation"}


def test_the_check_compares_the_table(project: Project) -> None:
    project.run("flask", "logout", "init")
    with closing(sqlite3.connect(project.folder / "app.db")) as database:
        database.execute("ALTER TABLE logout_revocation DROP COLUMN reason")
    said = project.run("flask", "logout", "check", status=1)
    assert "column reason (VARCHAR(255)) is missing" in said


def test_a_new_app_and_a_new_name(project: Project) -> None:
    for command in NEW:
        project.run(*command)
    assert project.tables() == {"alembic_version", "logout_revocation"}
    renamed = {"FLASK_LOGOUT_TABLE_NAME": "revoked"}
    said = project.run("flask", "db", "migrate", env=renamed)
    assert "Detected added table 'revoked'" in said
    assert "Detected removed table 'logout_revocation'" in said
