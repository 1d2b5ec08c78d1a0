"""No logout is acknowledged if a disk is full or read-only."""

from __future__ import annotations

import resource
import typing as t
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_logout import LogoutExtension

from .conftest import dispose
from .conftest import MakeApp
from .ledger import Ledger
from .processes import in_processes
from .processes import may_fork
from .proxied_apps import config_for
from .proxied_apps import sqlite_url
from .tokens import get_status
from .tokens import make_pair
from .tokens import Pair

pytestmark = pytest.mark.infrastructure


@pytest.fixture
def on_sqlite(make_app: MakeApp, tmp_path: Path) -> Flask:
    """An app with a SQLite file."""
    return make_app(**config_for(sqlite_url(tmp_path)))


def test_a_read_only_file_leads_to_a_503_for_logouts(
    on_sqlite: Flask, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(on_sqlite)
    assert ledger.log_out(on_sqlite.test_client(), make_pair(on_sqlite)) == 200
    path = sa.make_url(on_sqlite.config["SQLALCHEMY_DATABASE_URI"]).database
    url = sa.make_url(f"sqlite:///file:{path}?mode=ro&uri=true")
    app = make_app(**config_for(url))
    valid, client = make_pair(app), app.test_client()
    assert Ledger(app).log_out(client, valid) == 503
    assert "attempt to write a readonly database" in caplog.text
    assert get_status(client, valid) == (200, 200)
    ledger.app = app
    ledger.settle()


def test_no_logout_is_acknowledged_if_the_database_is_full(
    on_sqlite: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(on_sqlite)
    with on_sqlite.app_context():
        engine = on_sqlite.extensions["sqlalchemy"].engine
    pages = 12

    @sa.event.listens_for(engine, "connect")
    def limit(connection: t.Any, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    rejected = fill_up(on_sqlite, ledger)
    assert "database or disk is full" in caplog.text
    client = on_sqlite.test_client()
    assert get_status(client, rejected) == (200, 200)
    ledger.settle()
    # Raise the limit.
    pages = 1000
    dispose(on_sqlite)
    assert ledger.log_out(client, rejected) == 200
    ledger.settle()


def fill_up(app: Flask, ledger: Ledger) -> Pair:
    """Log pairs out until one logout fails, and return that pair."""
    client = app.test_client()
    for _ in range(1000):
        pair = make_pair(app)
        if ledger.log_out(client, pair) == 503:
            return pair
    pytest.fail("the disk is larger than the test")


@may_fork
def test_no_logout_is_acknowledged_if_the_disk_is_full(on_sqlite: Flask) -> None:
    ledger = Ledger(on_sqlite)

    def fill(limit: int) -> None:
        # SQLite gets the same error if a file reaches this limit as if the disk is full.
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        rejected = fill_up(on_sqlite, ledger)
        assert get_status(on_sqlite.test_client(), rejected) == (200, 200)
        ledger.settle()

    assert in_processes(fill, [60_000]) == [0]
    with on_sqlite.app_context():
        assert LogoutExtension().purge() == 0
    client, pair = on_sqlite.test_client(), make_pair(on_sqlite)
    assert ledger.log_out(client, pair) == 200
    ledger.settle()
