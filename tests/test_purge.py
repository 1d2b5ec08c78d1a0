"""Revocations are deleted neither too early nor so late that the table grows."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from threading import Barrier

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from hypothesis import example
from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st

from flask_logout import LogoutExtension
from flask_logout import Revocation
from flask_logout import session_claims
from flask_logout.domain.revocation import Kind
from flask_logout.domain.revocation import KINDS
from flask_logout.domain.revocation_keys import make_key

from .ci import examples
from .conftest import dispose
from .conftest import MakeApp
from .conftest import new_database
from .tokens import bearer
from .tokens import claims_of
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

START = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)
# In the past by every clock that a test doesn't move.
LONG_AGO = datetime(2001, 1, 1, tzinfo=timezone.utc)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MAX_LIFETIME = 1000
BATCH = 1000
SERVERS = ["postgresql+psycopg", "postgresql+psycopg2", "mysql+pymysql"]


@pytest.fixture(params=SERVERS)
def own_database(request: pytest.FixtureRequest) -> t.Iterator[str]:
    """The URL of a new database on a server, with each driver."""
    with new_database(request.param) as url:
        yield url.render_as_string(hide_password=False)


def rows_of(app: Flask) -> int:
    """Count the revocations in the store of an app, expired or not."""
    with app.app_context():
        tallies = app.extensions["logout"].store.inspect().count_kinds(START)
    return sum(tally.live + tally.expired for tally in tallies.values())


def fill(app: Flask, name: str, count: int, expires_at: datetime | None) -> list[bytes]:
    """Store some revocations that expire at an instant, and return their keys."""
    keys = [make_key("token", None, f"{name} {i}") for i in range(count)]
    with app.app_context():
        for start in range(0, count, 500):
            part = keys[start : start + 500]
            revocations = [Revocation(key, "token", expires_at) for key in part]
            app.extensions["logout"].store.add(revocations)
    return keys


def revoke(kind: Kind, claims: dict[str, t.Any]) -> None:
    """Revoke a token by one of its keys."""
    logout = LogoutExtension()
    if kind == "token":
        logout.revoke_token({x: y for x, y in claims.items() if x != "sid"})
    elif kind == "session":
        logout.revoke_session(claims["sid"])
    elif kind == "subject":
        logout.revoke_user(claims["sub"])
    else:
        logout.revoke_everyone()


# Never too early


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("margin", [0, 30])
def test_no_purge_makes_a_revoked_token_valid_again(
    make_app: MakeApp, kind: Kind, margin: int
) -> None:
    app = make_app(
        LOGOUT_PURGE_MARGIN=margin,
        LOGOUT_PURGE_EVERY=0,
        LOGOUT_MAX_TOKEN_LIFETIME=MAX_LIFETIME,
        SQLALCHEMY_DATABASE_URI="sqlite://",
    )
    client, inspection = app.test_client(), app.extensions["logout"].store.inspect()

    @settings(
        max_examples=examples(40),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        lifetime=st.integers(1, MAX_LIFETIME),
        leeway=st.integers(0, 100),
        part_elapsed=st.floats(0, 1),
        since_expiry=st.floats(-3, 3) | st.floats(-200, 200),
        ahead=st.floats(0, 1),
    )
    @example(lifetime=10, leeway=0, part_elapsed=0, since_expiry=-0.001, ahead=1)
    @example(lifetime=10, leeway=10, part_elapsed=1, since_expiry=-0.001, ahead=1)
    @example(
        lifetime=MAX_LIFETIME, leeway=5, part_elapsed=0, since_expiry=-0.001, ahead=1
    )
    def check(
        lifetime: int,
        leeway: int,
        part_elapsed: float,
        since_expiry: float,
        ahead: float,
    ) -> None:
        app.config["JWT_DECODE_LEEWAY"] = leeway
        expiry = lifetime + leeway
        with time_machine.travel(START, tick=False) as clock, app.app_context():
            inspection.clear()
            validity = timedelta(seconds=lifetime)
            pair = make_pair(
                app, expires_delta=validity, additional_claims=session_claims()
            )
            clock.shift(part_elapsed * expiry)
            revoke(kind, claims_of(pair.access))
            now = START + timedelta(
                seconds=max(part_elapsed * expiry, expiry + since_expiry)
            )
            # A worker whose clock is ahead by up to the margin purges.
            clock.move_to(now + timedelta(seconds=ahead * margin), tick=False)
            LogoutExtension().purge()
            clock.move_to(now, tick=False)
            answer = client.get("/me", headers=bearer(pair.access))
            assert answer.status_code == 401
            # Nevertheless, every revocation is deleted in the end.
            clock.move_to(START + 2 * DAY, tick=False)
            LogoutExtension().purge()
            assert rows_of(app) == 0

    check()


def test_revocations_of_tokens_that_never_expire_are_never_deleted(
    make_app: MakeApp,
) -> None:
    app = make_app()
    pair = make_pair(app, expires_delta=False)
    assert log_out(app.test_client(), pair).data == LOGGED_OUT
    with time_machine.travel(START + 365 * 50 * DAY), app.app_context():
        assert LogoutExtension().purge() == 0
        assert get_status(app.test_client(), pair) == (401, 401)


@pytest.mark.parametrize("every", [0, 1])
def test_a_machine_whose_clock_is_ahead_purges_nothing_too_early(
    make_app: MakeApp, own_database: str, every: int
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=own_database, LOGOUT_PURGE_EVERY=every)
    client, pair = app.test_client(), make_pair(app, expires_delta=HOUR / 6)
    assert log_out(client, pair).data == LOGGED_OUT
    with time_machine.travel(datetime.now(timezone.utc) + 2 * HOUR), app.app_context():
        assert LogoutExtension().purge() == 0
        assert log_out(client, make_pair(app)).data == LOGGED_OUT
        assert app.extensions["logout"].store.inspect().count_expired(START) == 0
    assert get_status(client, pair) == (401, 401)


# Never too late


def test_the_table_stays_small_for_a_month_without_a_purge(make_app: MakeApp) -> None:
    every = 10
    app = make_app(
        SQLALCHEMY_DATABASE_URI="sqlite://",
        LOGOUT_PURGE_EVERY=every,
        JWT_REFRESH_TOKEN_EXPIRES=DAY,
    )
    client, inspection = app.test_client(), app.extensions["logout"].store.inspect()
    most_live, most_over, total = 0, 0, 0
    with time_machine.travel(START, tick=False) as clock:
        for step in range(30 * 4):
            clock.move_to(START + step * 6 * HOUR, tick=False)
            # There are more logouts by day than by night.
            for _ in range(1 + step % 4):
                pair = make_pair(app)
                assert log_out(client, pair).data == LOGGED_OUT
                total += 2
            assert get_status(client, pair) == (401, 401)
            with app.app_context():
                now = datetime.now(timezone.utc)
                tallies = inspection.count_kinds(now).values()
            live = sum(tally.live for tally in tallies)
            most_live = max(most_live, live)
            kept = live + sum(tally.expired for tally in tallies)
            most_over = max(most_over, kept - most_live)
    assert total == 30 * 2 * 10
    assert most_live < total / 10
    assert most_over <= every


def test_a_worker_purges_after_a_number_of_revocations(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_PURGE_EVERY=4)
    fill(app, "expired", 3, LONG_AGO)
    client = app.test_client()
    log_out(client, make_pair(app))
    assert rows_of(app) == 3 + 2
    log_out(client, make_pair(app))
    assert rows_of(app) == 4


def test_purge_every_0_disables_automatic_purges(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_PURGE_EVERY=0)
    fill(app, "expired", 3, LONG_AGO)
    for _ in range(10):
        log_out(app.test_client(), make_pair(app))
    assert rows_of(app) == 3 + 20


def test_a_failed_automatic_purge_does_not_change_the_response(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(LOGOUT_PURGE_EVERY=1)
    (_,) = fill(app, "expired", 1, LONG_AGO)
    with app.app_context():
        db = app.extensions["sqlalchemy"]
        with db.engine.begin() as connection:
            connection.execute(
                sa.text(
                    "CREATE TRIGGER no_way BEFORE DELETE ON logout_revocation"
                    " BEGIN SELECT RAISE(ABORT, 'no way'); END"
                )
            )
    client, pair = app.test_client(), make_pair(app)
    assert log_out(client, pair).data == LOGGED_OUT
    assert get_status(client, pair) == (401, 401)
    assert "no way" in caplog.text


# Concurrently


@pytest.fixture
def host(make_app: MakeApp, own_database: str) -> Flask:
    """An app with a database on a server."""
    return make_app(SQLALCHEMY_DATABASE_URI=own_database, LOGOUT_PURGE_EVERY=0)


def test_two_concurrent_purges_do_not_disturb_checks_and_logouts(host: Flask) -> None:
    count = 3000
    fill(host, "expired", count, LONG_AGO - DAY)
    fill(host, "valid", 20, LONG_AGO + DAY)
    store, barrier = host.extensions["logout"].store, Barrier(3)
    pairs = [make_pair(host) for _ in range(20)]

    def purge() -> int:
        deleted, total = 50, 0
        barrier.wait()
        with host.app_context():
            while deleted == 50:
                deleted = store.purge(LONG_AGO, batch=50)
                total += deleted
        return total

    def visit() -> int:
        barrier.wait()
        for pair in pairs:
            assert log_out(host.test_client(), pair).data == LOGGED_OUT
            assert get_status(host.test_client(), pair) == (401, 401)
        return 0

    with ThreadPoolExecutor(3) as pool:
        tasks = [pool.submit(purge), pool.submit(purge), pool.submit(visit)]
        totals = [task.result() for task in tasks]
    with host.app_context():
        totals.append(store.purge(LONG_AGO, batch=BATCH))
    assert sum(totals) == count
    with host.app_context():
        assert store.inspect().count_expired(LONG_AGO) == 0
    assert get_status(host.test_client(), pairs[0]) == (401, 401)
    assert rows_of(host) == 20 + 2 * len(pairs)


def test_a_purge_skips_locked_rows(host: Flask) -> None:
    # With so many rows, no server chooses a full scan.
    fill(host, "valid", 2000, LONG_AGO + DAY)
    fill(host, "expired", 20, LONG_AGO - DAY)
    (locked, *_) = fill(host, "locked", 1, LONG_AGO - 2 * DAY)
    logout = host.extensions["logout"]
    with host.app_context():
        engine = host.extensions["sqlalchemy"].engine
        table = logout.store.table
        with engine.begin() as other:
            other.execute(sa.delete(table).where(table.c.key == locked))
            # If the purge waited for the lock, it would fail after LOGOUT_TIMEOUT.
            logout.store.purge(LONG_AGO, batch=BATCH)
            assert logout.store.inspect().count_expired(LONG_AGO) == 1
            other.rollback()
        assert logout.store.purge(LONG_AGO, batch=BATCH) == 1
    assert rows_of(host) == 2000


@pytest.mark.parametrize(("of_app", "ours"), [(None, 4000), (0, 0), (50, 50)])
def test_a_checkpoint_interval_of_the_app_is_respected(
    make_app: MakeApp, of_app: int | None, ours: int
) -> None:
    app = make_app()
    with app.app_context():
        if of_app is not None:
            sa.event.listen(
                app.extensions["sqlalchemy"].engine,
                "connect",
                lambda x, _: x.execute(f"PRAGMA wal_autocheckpoint = {of_app}"),
            )
        dispose(app)
        engine = app.extensions["logout"].store.engine
        rows, _ = engine.execute(sa.text("PRAGMA wal_autocheckpoint"))
        assert rows == [(ours,)]
