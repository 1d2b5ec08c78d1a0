"""Two apps with in-memory mirrors share a database of each kind."""

from __future__ import annotations

import typing as t
from datetime import timedelta

import pytest
from flask import Flask

from flask_logout import LogoutExtension
from flask_logout.stores.mirror import REBUILD_EVERY
from flask_logout.stores.sqlalchemy import pages
from flask_logout.stores.sqlalchemy import SQLAlchemyStore

from .conftest import MakeApp
from .mirrors import BOUND
from .mirrors import Clock
from .mirrors import fill
from .mirrors import mirror_of
from .mirrors import stopped
from .tokens import bearer
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import UNAVAILABLE


@pytest.fixture
def hosts(make_app: MakeApp, database_url: str) -> list[Flask]:
    """Two workers with complete mirrors, on each kind of database."""
    apps = [
        make_app(SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_MAX_STALENESS=BOUND)
        for _ in range(2)
    ]
    for app in apps:
        mirror = mirror_of(app)
        mirror._clock = Clock()
        with app.app_context():
            mirror.inspect().clear()
            fill(mirror)
    return apps


def move(app: Flask, by: float | timedelta) -> None:
    """Move the clock of an app's mirror."""
    t.cast(Clock, mirror_of(app)._clock).move(by)


def test_another_worker_rejects_revoked_tokens_at_the_bound(hosts: list[Flask]) -> None:
    here, there = hosts
    pair = make_pair(here)
    assert get_status(there.test_client(), pair) == (200, 200)
    assert log_out(here.test_client(), pair).data == LOGGED_OUT
    assert get_status(here.test_client(), pair) == (401, 401)
    move(there, BOUND)
    assert get_status(there.test_client(), pair) == (401, 401)


def test_a_late_commit_is_found_at_the_bound(
    hosts: list[Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Simulate a transaction that takes longer than the overlap.
    monkeypatch.setattr(pages, "OVERLAP", timedelta(0))
    here, there = hosts
    pair, other = make_pair(here), make_pair(here, "grace")
    is_sqlite = here.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite")
    with here.app_context():
        session = here.extensions["sqlalchemy"].session
        LogoutExtension().revoke_user("ada", session=session)
        if not is_sqlite:
            # SQLite allows only one writer at a time.
            assert log_out(there.test_client(), other).data == LOGGED_OUT
        for _ in range(3):
            move(there, BOUND)
            assert get_status(there.test_client(), pair) == (200, 200)
        move(there, REBUILD_EVERY)
        with there.app_context():
            fill(mirror_of(there))
        assert get_status(there.test_client(), pair) == (200, 200)
        session.commit()
    move(there, BOUND)
    assert get_status(there.test_client(), pair) == (401, 401)
    assert get_status(here.test_client(), pair) == (401, 401)


def test_a_failed_database_leads_to_a_503_at_the_bound(hosts: list[Flask]) -> None:
    here, there = hosts
    pair = make_pair(here)
    with here.app_context():
        inner = t.cast(SQLAlchemyStore, mirror_of(here)._store)
        with stopped(inner):
            assert get_status(there.test_client(), pair) == (200, 200)
            move(there, BOUND)
            answer = there.test_client().get("/me", headers=bearer(pair.access))
            assert (answer.status_code, answer.data) == (503, UNAVAILABLE)
            assert answer.headers["Retry-After"]
        assert get_status(there.test_client(), pair) == (200, 200)
