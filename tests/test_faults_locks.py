"""Locks and exhausted pools delay no response beyond the timeout."""

from __future__ import annotations

import multiprocessing
import sqlite3
import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextlib import contextmanager
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_logout import Revocation

from .conftest import dispose
from .conftest import MakeApp
from .ledger import Ledger
from .processes import in_processes
from .processes import may_fork
from .proxied_apps import at_most
from .proxied_apps import config_for
from .proxied_apps import connect
from .proxied_apps import PATIENCE
from .proxied_apps import Reached
from .proxied_apps import Served
from .proxied_apps import sqlite_url
from .proxied_apps import TIMEOUT
from .tokens import get_status
from .tokens import make_pair

pytestmark = pytest.mark.infrastructure


def test_a_locked_table_leads_to_a_503_within_the_timeout(
    reached: Reached, hasty: Flask
) -> None:
    app, _ = reached
    ledger, client = Ledger(app), app.test_client()
    valid, revoked = make_pair(app), make_pair(app)
    assert ledger.log_out(client, revoked) == 200
    with locked_table(hasty):
        for pair in (valid, revoked):
            with at_most(TIMEOUT):
                assert ledger.visit(hasty.test_client(), pair) == 503
        with at_most(TIMEOUT):
            assert ledger.log_out(hasty.test_client(), valid) == 503
    assert get_status(client, valid) == (200, 200)
    assert ledger.log_out(client, valid) == 200
    ledger.settle()


@contextmanager
def locked_table(app: Flask) -> t.Iterator[None]:
    """Lock the table for all other connections."""
    url = sa.make_url(app.config["SQLALCHEMY_DATABASE_URI"])
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    table = app.extensions["logout"].settings.table_name
    is_mysql = engine.dialect.name == "mysql"
    with engine.connect() as connection:
        mode = "WRITE" if is_mysql else "IN ACCESS EXCLUSIVE MODE"
        keyword = "TABLES" if is_mysql else "TABLE"
        connection.execute(sa.text(f"LOCK {keyword} {table} {mode}"))
        yield


def test_a_locked_file_leads_to_a_503_within_the_timeout(
    make_app: MakeApp, tmp_path: Path
) -> None:
    url = sqlite_url(tmp_path)
    app = make_app(**config_for(url))
    ledger, client = Ledger(app), app.test_client()
    hasty = make_app(**config_for(url, timeout=TIMEOUT)).test_client()
    valid, revoked = make_pair(app), make_pair(app)
    assert ledger.log_out(client, revoked) == 200
    with closing(sqlite3.connect(tmp_path / "file.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        for pair in (valid, revoked):
            with at_most(TIMEOUT):
                assert ledger.visit(hasty, pair) == 503
        with at_most(TIMEOUT):
            assert ledger.log_out(hasty, valid) == 503
    assert get_status(client, valid) == (200, 200)
    assert ledger.log_out(client, valid) == 200
    ledger.settle()


def copy_revocation(app: Flask, count: int) -> None:
    """Copy the only revocation of a SQLite file under random keys."""
    table = app.extensions["logout"].settings.table_name
    db: SQLAlchemy = app.extensions["sqlalchemy"]
    (key, *others) = (x["name"] for x in sa.inspect(db.engine).get_columns(table))
    columns = ", ".join(others)
    with db.engine.begin() as connection:
        connection.execute(
            sa.text(
                "WITH RECURSIVE copies(copy) AS"
                " (VALUES(1) UNION ALL SELECT copy + 1 FROM copies WHERE copy < :count)"
                f" INSERT INTO {table} ({key}, {columns})"
                f" SELECT randomblob(16), {columns} FROM {table}, copies"
            ),
            {"count": count},
        )


@may_fork
def test_logouts_work_during_a_purge_that_takes_longer_than_the_timeout(
    make_app: MakeApp,
) -> None:
    # SQLite's locks are not fair. A purge without pauses would block every logout.
    app = make_app(LOGOUT_TIMEOUT=1.0, LOGOUT_PURGE_EVERY=0)
    logout, now = app.extensions["logout"], datetime.now(timezone.utc)
    count = 120_000
    with app.app_context():
        logout.store.add([Revocation(bytes(16), "token", now - timedelta(days=1))])
        copy_revocation(app, count - 1)

    is_visiting = multiprocessing.get_context("fork").Event()

    def purge() -> None:
        assert is_visiting.wait(PATIENCE)
        with app.app_context():
            assert sum(logout.purge()) == count

    def visit() -> None:
        ledger, client = Ledger(app), app.test_client()
        is_visiting.set()
        with app.app_context():
            while logout.store.inspect().count_expired(now):
                assert ledger.log_out(client, make_pair(app)) in {200, 503}
        # With pauses there are about a hundred, and without them a few.
        assert len(ledger.acknowledged) > 10
        ledger.settle()

    assert in_processes(lambda work: work(), [purge, visit]) == [0, 0]


@contextmanager
def used_up_pool(app: Flask) -> t.Iterator[None]:
    """Hold the only connection in the app's pool."""
    db: SQLAlchemy = app.extensions["sqlalchemy"]
    with app.app_context(), db.engine.connect():
        with pytest.raises(sa.exc.TimeoutError):
            db.engine.connect()
        yield


def test_checks_work_if_the_app_has_exhausted_its_pool(
    served: Served, make_app: MakeApp
) -> None:
    options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1}
    app = make_app(**config_for(served[0], **options))
    ledger, client = Ledger(app), app.test_client()
    with used_up_pool(app):
        pair = make_pair(app)
        assert get_status(client, pair) == (200, 200)
        assert ledger.log_out(client, pair) == 200
        ledger.settle()
    dispose(app)


def test_checks_return_503_while_the_pool_is_exhausted(
    served: Served, make_app: MakeApp
) -> None:
    config = config_for(served[0], timeout=TIMEOUT, pool_size=1, max_overflow=0)
    app = make_app(**config)
    store, pair = app.extensions["logout"].store, make_pair(app)
    connect(app)
    with ThreadPoolExecutor(8) as pool:

        def visit_all() -> set[int]:
            ledger = Ledger(app)
            visits = [
                pool.submit(ledger.visit, app.test_client(), pair) for _ in "12345678"
            ]
            return {visit.result() for visit in visits}

        with store.engine.connect(), at_most(TIMEOUT):
            assert visit_all() == {503}
        assert visit_all() <= {200, 503}
    connect(app)
    dispose(app)
