"""Flask-Migrate detects the table, and then detects no difference."""

from __future__ import annotations

import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import sqlalchemy as sa

from .conftest import new_database

APP = """
from flask import Flask
from flask_jwt_extended import JWTManager
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_logout import LogoutExtension

app = Flask(__name__)
app.config.update(JWT_SECRET_KEY="k" * 32, SQLALCHEMY_DATABASE_URI={url!r})
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


def test_flask_db_migrate_detects_the_table(migrated_url: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.format(url=migrated_url))

    def flask_db(*arguments: str) -> str:
        command = [sys.executable, "-m", "flask", "--app", "app", "db", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    flask_db("init")
    assert "Detected added table 'logout_revocation'" in flask_db("migrate")
    (script,) = tmp_path.glob("migrations/versions/*.py")
    assert "flask_logout" not in script.read_text()
    flask_db("upgrade")
    assert "No changes in schema detected" in flask_db("migrate")
    flask_db("check")
    engine = sa.create_engine(migrated_url)
    indexes = {x["name"] for x in sa.inspect(engine).get_indexes("logout_revocation")}
    assert indexes == {
        "ix_logout_revocation_expires_at",
        "ix_logout_revocation_revoked_at",
        "ix_logout_revocation_subject",
    }
    engine.dispose()
    flask_db("downgrade")
