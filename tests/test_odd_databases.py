"""Databases with limited character sets or types, in memory, or in other schemas."""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from datetime import datetime
from datetime import timezone
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_logout import LogoutExtension
from flask_logout import session_claims

from .conftest import add_routes
from .conftest import dispose
from .conftest import MakeApp
from .conftest import new_database
from .conftest import SECRET
from .conftest import server_url
from .session_apps import add_session_routes
from .session_apps import log_in
from .threads import run_at_once
from .tokens import bearer
from .tokens import claims_of
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

SUBJECT = "Ünal 山田 \N{PILE OF POO}"
UTC = timezone.utc
logout = LogoutExtension()


@pytest.fixture(params=["latin1", "utf8mb3", "utf8mb4", "LATIN1", "UTF8"])
def charset_url(request: pytest.FixtureRequest) -> t.Iterator[sa.URL]:
    """The URL of a MariaDB or PostgreSQL database with a character set."""
    is_mariadb = request.param.islower()
    driver = "mysql+pymysql" if is_mariadb else "postgresql+psycopg"
    url, name = server_url(driver), f"flask_logout_{uuid4().hex[:12]}"
    option = f"CHARACTER SET {request.param}"
    if not is_mariadb:
        option = f"ENCODING '{request.param}' TEMPLATE template0 LOCALE 'C'"
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} {option}"))
        yield url.set(database=name)
        force = "" if is_mariadb else " WITH (FORCE)"
        connection.execute(sa.text(f"DROP DATABASE {name}{force}"))


def make_app_at(make_app: MakeApp, url: sa.URL, **config: t.Any) -> Flask:
    """Make an app with a database."""
    shown = url.render_as_string(hide_password=False)
    return make_app(SQLALCHEMY_DATABASE_URI=shown, **config)


def test_a_subject_with_any_characters_can_be_logged_out(
    make_app: MakeApp, charset_url: sa.URL
) -> None:
    app = make_app_at(make_app, charset_url)
    db: SQLAlchemy = app.extensions["sqlalchemy"]
    client, pair = app.test_client(), make_pair(app, SUBJECT)
    assert log_out(client, pair).data == LOGGED_OUT
    assert get_status(client, pair) == (401, 401)
    for session in (None, db.session):
        pair = make_pair(app, SUBJECT, additional_claims=session_claims())
        with app.app_context():
            logout.revoke_user(SUBJECT, session=session, reason="山", actor="\u2603")
            db.session.commit()
        assert get_status(client, pair) == (401, 401)
    with app.app_context():
        rows = db.session.execute(
            sa.text("SELECT subject, reason FROM logout_revocation")
        )
        texts = {text for row in rows for text in row}
    holds_all = charset_url.database and texts >= {SUBJECT, "山"}
    assert holds_all or texts >= {SUBJECT.encode("ascii", "backslashreplace").decode()}
    dispose(app)


def test_a_column_that_truncates_fractions_covers_the_whole_second(
    make_app: MakeApp,
) -> None:
    with new_database("mysql+pymysql") as url:
        app = make_app_at(make_app, url)
        engine = app.extensions["logout"].store.engine
        change = "ALTER TABLE logout_revocation MODIFY cutoff DATETIME NULL"
        with app.app_context():
            engine.execute(sa.text(change))
        with time_machine.travel(datetime(2030, 1, 1, 0, 0, 9, 500_000), tick=False):
            pair = make_pair(app, additional_claims=session_claims())
        with app.app_context():
            at = "2030-01-01 00:00:09"
            logout.revoke_user("ada")
            engine.execute(sa.text(f"UPDATE logout_revocation SET cutoff = '{at}'"))
            assert logout.is_revoked(_claims(app, pair.access))
        dispose(app)


def _claims(app: Flask, token: str) -> dict[str, t.Any]:
    from flask_jwt_extended import decode_token

    with time_machine.travel(datetime(2030, 1, 1, 0, 0, 10), tick=False):
        return t.cast("dict[str, t.Any]", decode_token(token))


TRUNCATED = {
    "mysql+pymysql": "MODIFY cutoff DATETIME NULL",
    "postgresql+psycopg": "ALTER cutoff TYPE timestamptz(0)",
}


@pytest.mark.parametrize("driver", TRUNCATED)
def test_a_refresh_is_rejected_if_a_column_has_truncated_the_cutoff(
    make_app: MakeApp, driver: str
) -> None:
    with new_database(driver) as url:
        app = make_app_at(make_app, url, LOGOUT_ENDPOINTS=["refresh"])
        add_session_routes(app)
        client = app.test_client()
        pair = log_in(client)
        login_at = datetime.fromtimestamp(claims_of(pair.access)["login_at"], UTC)
        engine = app.extensions["logout"].store.engine
        with app.app_context():
            engine.execute(
                sa.text(f"ALTER TABLE logout_revocation {TRUNCATED[driver]}")
            )
            logout.revoke_user("ada")
            engine.execute(
                sa.text("UPDATE logout_revocation SET cutoff = :cutoff"),
                {"cutoff": login_at.replace(microsecond=0)},
            )
        assert get_status(client, pair)[0] == 401
        response = client.post("/auth/refresh", headers=bearer(pair.refresh))
        assert response.status_code == 401
        dispose(app)


def test_concurrent_logouts_work_with_an_in_memory_database(
    make_app: MakeApp,
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI="sqlite://", LOGOUT_TIMEOUT=20)
    pairs = [make_pair(app, f"user {i}") for i in range(40)]

    def work(mine: t.Sequence[t.Any]) -> None:
        client = app.test_client()
        for pair in mine:
            answer = log_out(client, pair).status_code
            outcomes.append((answer, *get_status(client, pair)))

    outcomes: list[tuple[int, int, int]] = []
    run_at_once([partial(work, pairs[i::8]) for i in range(8)])
    assert len(outcomes) == 40
    # A 503 is allowed if the store can't tell.
    assert {status for outcome in outcomes for status in outcome} <= {200, 401, 503}
    assert [x for x in outcomes if x[0] == 200 and 200 in x[1:]] == []


def test_a_relative_path_starts_in_the_instance_folder(
    make_app: MakeApp, tmp_path: Path
) -> None:
    app = make_app(LOGOUT_STORE_URI="sqlite:///folder/revocations.db")
    with app.app_context():
        app.extensions["logout"].store.inspect().create()
    pair = make_pair(app)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "shop.py").write_text(
        "from flask import Flask\n"
        "from flask_logout import LogoutExtension\n"
        f"app = Flask('shop', instance_path={str(tmp_path)!r})\n"
        f"app.config['JWT_SECRET_KEY'] = {SECRET!r}\n"
        "app.config['LOGOUT_STORE_URI'] = 'sqlite:///folder/revocations.db'\n"
        "LogoutExtension(app)\n"
    )
    command = [
        sys.executable,
        "-m",
        "flask",
        "--app",
        "shop.py",
        "logout",
        "user",
        "ada",
    ]
    path = os.pathsep.join(x for x in sys.path if x)
    subprocess.run(
        command, cwd=elsewhere, check=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert get_status(app.test_client(), pair) == (401, 401)
    assert (tmp_path / "folder" / "revocations.db").exists()
    app.extensions["logout"].store.engine.dispose()


@pytest.mark.parametrize("driver", ["sqlite", "postgresql+psycopg", "mysql+pymysql"])
def test_init_respects_a_schema_translate_map(
    make_app: MakeApp, tmp_path: Path, driver: str
) -> None:
    if driver == "sqlite":
        assert_init_creates_all(f"sqlite:///{tmp_path / 'app.db'}", tmp_path)
        return
    with new_database(driver) as url:
        shown = url.render_as_string(hide_password=False)
        assert_init_creates_all(shown, tmp_path)


def assert_init_creates_all(url: str, tmp_path: Path) -> None:
    """Run ``flask logout init`` for an app whose tables are in another schema."""
    name = f"tenant_{uuid4().hex[:8]}"
    app = Flask("tests", instance_path=str(tmp_path))
    options = {"execution_options": {"schema_translate_map": {None: name}}}
    app.config.update(
        JWT_SECRET_KEY=SECRET,
        SQLALCHEMY_DATABASE_URI=url,
        SQLALCHEMY_ENGINE_OPTIONS=options,
    )
    db = SQLAlchemy(app)
    with app.app_context():
        engine = db.engine
    is_sqlite = engine.dialect.name == "sqlite"
    if is_sqlite:
        attach = f"ATTACH '{tmp_path / 'tenant.db'}' AS {name}"
        sa.event.listen(engine, "connect", lambda x, _: x.execute(attach))
    else:
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema(name))
    LogoutExtension(app)
    add_routes(app)
    for said in ("Created table", "Table logout_revocation already exists"):
        result = app.test_cli_runner().invoke(args=["logout", "init"])
        assert (result.exit_code, said in result.output) == (0, True), result.output
    indexes = sa.inspect(engine).get_indexes("logout_revocation", schema=name)
    assert len(indexes) == 3
    result = app.test_cli_runner().invoke(args=["logout", "check"])
    assert "ok: store\n" in result.output
    pair = make_pair(app)
    assert log_out(app.test_client(), pair).data == LOGGED_OUT
    assert get_status(app.test_client(), pair) == (401, 401)
    dispose(app)
    if engine.dialect.name == "mysql":
        with engine.begin() as connection:
            connection.execute(sa.schema.DropSchema(name))
    engine.dispose()
