"""The settings of an app select its store."""

from __future__ import annotations

import typing as t
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_logout import ConfigError
from flask_logout import LogoutExtension
from flask_logout import session_claims

from .conftest import MakeApp
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair


def test_a_separate_database_works(make_app: MakeApp, database_url: str) -> None:
    app = make_app(LOGOUT_STORE_URI=database_url)
    pair, client = make_pair(app), app.test_client()
    assert client.get("/open").status_code == 200
    with app.app_context():
        db = app.extensions["sqlalchemy"]
        assert sa.inspect(db.engine).get_table_names() == []
        app.extensions["logout"].store.inspect().create()
    assert log_out(client, pair).data == LOGGED_OUT
    assert get_status(client, pair) == (401, 401)
    app.extensions["logout"].store.engine.dispose()


def test_a_separate_database_rejects_the_argument_session(
    make_app: MakeApp, tmp_path: Path
) -> None:
    app = make_app(LOGOUT_STORE_URI=f"sqlite:///{tmp_path / 'own.db'}")
    logout, session = LogoutExtension(), app.extensions["sqlalchemy"].session
    with app.app_context(), pytest.raises(ConfigError) as caught:
        logout.revoke_user("ada", session=session)
    assert str(caught.value) == (
        "The argument session requires revocations to be stored in one of the app's own"
        " databases, but LOGOUT_STORE_URI names another database. Remove the argument, or"
        " remove LOGOUT_STORE_URI."
    )


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "nonsense",
            "ftp://secret@host",
            "a b://secret",
            "://secret",
            " redis://secret",
        ),
        *("postgresql://secret@host:port/db", "postgresql://[::1/secret"),
        *("postgresql+nothing://secret@host/db", "REDIS://secret@host"),
    ],
)
def test_an_unknown_url_raises_an_error(uri: str) -> None:
    app = Flask("tests")
    app.config["LOGOUT_STORE_URI"] = uri
    with pytest.raises(ConfigError) as caught:
        LogoutExtension(app)
    assert str(caught.value) == (
        "Invalid LOGOUT_STORE_URI, which isn't shown because it may contain a password."
        " Expected a URL such as redis://localhost:6379/0 or"
        " postgresql+psycopg://user@localhost/database, or None for the app's database."
    )


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (
            "oracle://secret@host/db",
            "Unsupported database: oracle. Expected one of cockroachdb, mariadb, mysql,"
            " postgresql, sqlite. Set LOGOUT_BIND_KEY or LOGOUT_STORE_URI to a supported"
            " database.",
        ),
        (
            "postgresql+asyncpg://secret@host/db",
            "Invalid driver in LOGOUT_STORE_URI: postgresql+asyncpg is for asyncio."
            " Expected a synchronous driver, such as postgresql+psycopg or mysql+pymysql.",
        ),
        (
            "sqlite+pysqlcipher://:secret@/db",
            "The driver for LOGOUT_STORE_URI, sqlite+pysqlcipher, can't be imported: No"
            " module named 'pysqlcipher3'. Install it with pip, or use another driver"
            " for that database.",
        ),
    ],
)
def test_an_unsupported_database_raises_an_error(uri: str, message: str) -> None:
    app = Flask("tests")
    app.config["LOGOUT_STORE_URI"] = uri
    with pytest.raises(ConfigError) as caught:
        LogoutExtension(app)
    assert str(caught.value) == message


@pytest.mark.parametrize(("every", "expected"), [(4, 2), (1, 2), (0, 8)])
def test_a_worker_purges_after_some_revocations(
    make_app: MakeApp, every: int, expected: int
) -> None:
    app = make_app(LOGOUT_PURGE_EVERY=every, LOGOUT_PURGE_MARGIN=0)
    logout = LogoutExtension()
    with app.app_context():
        store = app.extensions["logout"].store
        for i in range(6):
            logout.revoke_token({"jti": str(i), "exp": 1})
        assert len(store.changes(None).keys) == {4: 2, 1: 0, 0: 6}[every]
        pair = make_pair(app)
        log_out(app.test_client(), pair)
        assert len(store.changes(None).keys) == expected


def test_a_failed_automatic_purge_undoes_no_logout(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_PURGE_EVERY=1)
    trigger = (
        "CREATE TRIGGER stay BEFORE DELETE ON logout_revocation"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with app.app_context():
        app.extensions["logout"].store.engine.execute(sa.text(trigger))
        LogoutExtension().revoke_token({"jti": "0", "exp": 1})
    pair, client = make_pair(app), app.test_client()
    assert log_out(client, pair).data == LOGGED_OUT
    assert get_status(client, pair) == (401, 401)


def test_the_timeout_limits_the_wait_for_a_store(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_TIMEOUT=timedelta(seconds=0.1))
    claims: dict[str, t.Any] = session_claims()
    pair, client = make_pair(app, additional_claims=claims), app.test_client()
    with app.app_context():
        db = app.extensions["sqlalchemy"]
        db.session.execute(sa.text("BEGIN IMMEDIATE"))
        assert log_out(client, pair).status_code == 503
        db.session.rollback()
    assert log_out(client, pair).data == LOGGED_OUT


def test_a_timeout_that_is_too_long_for_the_mirror_raises_an_error(
    make_app: MakeApp,
) -> None:
    config = {"LOGOUT_MAX_STALENESS": 5, "LOGOUT_TIMEOUT": 30}
    with pytest.raises(ConfigError) as caught:
        make_app(**config)
    assert str(caught.value) == (
        "Invalid LOGOUT_TIMEOUT: 30 seconds. Expected 10 seconds or less, because"
        " LOGOUT_MAX_STALENESS is set and the in-memory mirror can miss a write that"
        " takes longer. Lower LOGOUT_TIMEOUT or remove LOGOUT_MAX_STALENESS."
    )
    make_app(**config, LOGOUT_STORE_URI="redis://127.0.0.1:1")
    make_app(**{**config, "LOGOUT_TIMEOUT": 10})


def test_a_separate_in_memory_database_raises_an_error(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError) as caught:
        make_app(LOGOUT_STORE_URI="sqlite://")
    assert str(caught.value) == (
        "Invalid LOGOUT_STORE_URI: an in-memory SQLite database belongs to one process,"
        " so no other worker would see its revocations. Expected a file, such as"
        " sqlite:///logout.db, which is in the app's instance folder."
    )


def test_a_folder_that_does_not_exist_is_an_error(
    make_app: MakeApp, tmp_path: Path
) -> None:
    folder = tmp_path / "typo"
    with pytest.raises(ConfigError) as caught:
        make_app(LOGOUT_STORE_URI=f"sqlite:///{folder / 'own.db'}")
    assert str(caught.value) == (
        f"Invalid LOGOUT_STORE_URI: the folder {folder} does not exist. Create it, or"
        " correct the path. A path after sqlite:/// is relative to the app's instance"
        " folder, and one after sqlite://// is absolute."
    )
    assert not folder.exists()
