"""Refreshes that race each other, a logout or a thief, in threads and processes."""

from __future__ import annotations

import json
import logging
import typing as t
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask

from flask_logout import LogoutExtension
from flask_logout import reuse_detected

from .conftest import dispose
from .conftest import MakeApp
from .processes import in_processes
from .processes import may_fork
from .proxy import new_redis
from .session_apps import add_session_routes
from .session_apps import age
from .session_apps import generation
from .session_apps import log_in
from .session_apps import pair_of
from .session_apps import renew
from .session_apps import renewed
from .session_apps import revocations_of
from .session_apps import sid_of
from .session_apps import sids_of
from .tokens import bearer
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair

PROCESSES, COPIES = 4, 8
ENDPOINTS = ["logout", "logout_all", "refresh", "sessions"]

Make = t.Callable[..., Flask]


@pytest.fixture
def make(make_app: MakeApp, database_url: str) -> Make:
    """Make apps with all endpoints, on every database."""
    options: dict[str, t.Any] = {"pool_size": COPIES}
    if database_url.startswith("sqlite"):
        options["connect_args"] = {"timeout": 30}

    def make(without: t.Collection[str] = (), **config: t.Any) -> Flask:
        app = make_app(
            SQLALCHEMY_DATABASE_URI=database_url,
            SQLALCHEMY_ENGINE_OPTIONS=options,
            LOGOUT_ENDPOINTS=[x for x in ENDPOINTS if x not in without],
            LOGOUT_TIMEOUT=60,
            LOGOUT_PURGE_EVERY=0,
            **config,
        )
        add_session_routes(app)
        return app

    return make


def at_once(
    acts: t.Sequence[t.Callable[[], t.Any]],
) -> list[t.Any]:
    """Call functions in threads at the same moment, and return the results."""
    barrier = Barrier(len(acts))

    def call(act: t.Callable[[], t.Any]) -> t.Any:
        barrier.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(call, acts))


def refresh_in_processes(app: Flask, token: str, folder: Path) -> list[t.Any]:
    """Present one token in 32 requests of 4 processes, and return what happened."""
    dispose(app)

    def work(share: int) -> None:
        alarms: list[logging.LogRecord] = []
        signals: list[str] = []
        handler = logging.Handler(logging.CRITICAL)
        handler.handle = alarms.append  # type: ignore[assignment,method-assign]
        logging.getLogger("flask_logout").addHandler(handler)

        def note(_: Flask, **values: t.Any) -> None:
            signals.append(values["sid"])

        reuse_detected.connect(note, app)

        def send() -> tuple[int, int]:
            client = app.test_client()
            response = client.post("/auth/refresh", headers=bearer(token))
            body = response.get_json()["data"]
            new = body and Pair(body["access_token"], body["refresh_token"])
            return response.status_code, generation(new) if new else -1

        results = at_once([send] * COPIES)
        (folder / f"{share}.json").write_text(
            json.dumps([results, len(alarms), len(signals)])
        )

    assert in_processes(work, range(PROCESSES)) == [0] * PROCESSES
    return [json.loads((folder / f"{x}.json").read_text()) for x in range(PROCESSES)]


def sum_up(found: list[t.Any]) -> tuple[Counter[tuple[int, int]], int, int]:
    """Count the responses, the alarms and the signals of all processes."""
    responses = Counter((status, made) for x in found for status, made in x[0])
    return responses, sum(x[1] for x in found), sum(x[2] for x in found)


@may_fork
def test_all_refreshes_within_the_grace_period_agree(
    make: Make, tmp_path: Path
) -> None:
    app = make()
    pair = log_in(app.test_client())
    found = refresh_in_processes(app, pair.refresh, tmp_path)
    assert sum_up(found) == (Counter({(200, 1): 32}), 0, 0)
    assert sids_of(app) == [sid_of(pair)]


@may_fork
def test_without_grace_one_refresh_wins_and_the_session_ends(
    make: Make, tmp_path: Path
) -> None:
    app = make(LOGOUT_ROTATION_GRACE=0)
    pair = log_in(app.test_client())
    found = refresh_in_processes(app, pair.refresh, tmp_path)
    assert sum_up(found) == (Counter({(200, 1): 1, (401, -1): 31}), 1, 1)
    assert revocations_of(app) == [("session", "token_reuse")]
    assert sids_of(app) == []


@may_fork
def test_many_copies_of_a_used_token_raise_one_alarm(
    make: Make, tmp_path: Path
) -> None:
    app = make()
    client = app.test_client()
    first = log_in(client)
    second = renewed(client, first)
    age(app, second, 31)
    found = refresh_in_processes(app, first.refresh, tmp_path)
    assert sum_up(found) == (Counter({(401, -1): 32}), 1, 1)
    assert revocations_of(app) == [("session", "token_reuse")]
    assert get_status(client, second) == (401, 401)


@may_fork
def test_refreshes_agree_in_redis(make_app: MakeApp, tmp_path: Path) -> None:
    cases = [
        (30, (Counter({(200, 1): 32}), 0, 0)),
        (0, (Counter({(200, 1): 1, (401, -1): 31}), 1, 1)),
    ]
    with new_redis() as url:
        for grace, expected in cases:
            app = make_app(
                LOGOUT_STORE_URI=url.render_as_string(hide_password=False),
                LOGOUT_ENDPOINTS=ENDPOINTS,
                LOGOUT_ROTATION_GRACE=grace,
                LOGOUT_TIMEOUT=60,
            )
            add_session_routes(app)
            pair = log_in(app.test_client())
            found = refresh_in_processes(app, pair.refresh, tmp_path)
            assert sum_up(found) == expected


@pytest.mark.parametrize("path", ["/auth/logout", "/auth/logout/all"])
def test_no_token_of_a_refresh_outlives_a_simultaneous_logout(
    make: Make, path: str
) -> None:
    app = make()
    for _ in range(5):
        pair = log_in(app.test_client())

        def refresh(pair: Pair = pair) -> t.Any:
            return renew(app.test_client(), pair)

        def leave(pair: Pair = pair) -> t.Any:
            if path == "/auth/logout":
                return log_out(app.test_client(), pair)
            return app.test_client().post(path, headers=bearer(pair.access))

        *answers, left = at_once([refresh, refresh, refresh, leave])
        assert left.data == LOGGED_OUT
        for answer in answers:
            if answer.status_code == 200:
                new = pair_of(answer)
                assert get_status(app.test_client(), new) == (401, 401)
        assert get_status(app.test_client(), pair) == (401, 401)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_thief_is_noticed_when_the_other_one_refreshes(
    make: Make, is_first: bool
) -> None:
    app = make()
    client = app.test_client()
    stolen = log_in(client)
    # Whoever refreshes first, the other one is rejected, and both lose the session.
    winner = renewed(client, stolen)
    age(app, winner, 31)
    if is_first:
        winner = renewed(client, winner)
        age(app, winner, 31)
    assert renew(client, stolen).status_code == 401
    assert get_status(client, winner) == (401, 401)
    assert revocations_of(app) == [("session", "token_reuse")]


def test_a_thief_within_the_grace_period_is_not_noticed(make: Make) -> None:
    # This is the documented price of the grace period.
    app = make()
    client = app.test_client()
    thief = victim = log_in(client)
    for _ in range(3):
        thief, victim = renewed(client, victim), renewed(client, victim)
        assert generation(thief) == generation(victim)
        age(app, victim, 31)
    assert revocations_of(app) == []


def test_with_late_retry_a_thief_is_noticed_at_the_next_refresh(make: Make) -> None:
    app = make(LOGOUT_ROTATION_LATE_RETRY=True)
    client = app.test_client()
    stolen = log_in(client)
    thief = renewed(client, stolen)
    age(app, thief, 31)
    victim = renewed(client, stolen)
    age(app, victim, 31)
    assert renew(client, thief).status_code == 401
    assert get_status(client, victim) == (401, 401)


def test_a_swap_that_a_failover_lost_logs_nobody_out(make: Make) -> None:
    app = make()
    client = app.test_client()
    first = renewed(client, log_in(client))
    age(app, first, 31)
    second = renewed(client, first)
    with app.app_context():
        table = app.extensions["logout"].sessions.store.table
        lost = sa.update(table).values(generation=1, parent=0)
        with app.extensions["sqlalchemy"].engine.begin() as connection:
            connection.execute(lost)
    age(app, second, 31)
    assert generation(renewed(client, second)) == 3
    assert revocations_of(app) == []


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_of_a_worker_does_not_matter(make: Make, hours: int) -> None:
    app = make(JWT_DECODE_LEEWAY=7200)
    client = app.test_client()
    pair = log_in(client)
    with time_machine.travel(timedelta(hours=hours)):
        wrong = renewed(client, pair)
        assert generation(renewed(client, pair)) == 1
    assert generation(renewed(client, pair)) == 1
    age(app, wrong, 31)
    with time_machine.travel(timedelta(hours=hours)):
        assert generation(renewed(client, wrong)) == 2
        with app.app_context():
            assert LogoutExtension().purge() == 0
    assert sids_of(app) == [sid_of(pair)]


def test_old_and_new_workers_run_at_once(make: Make) -> None:
    old = make(LOGOUT_SESSIONS=False, without=("refresh", "sessions"))
    new = make()
    assert old.extensions["logout"].sessions is None
    # A token from before the deployment, which a thief exchanges at a new worker.
    token = make_pair(old)
    stolen = renewed(new.test_client(), token)
    assert get_status(old.test_client(), stolen) == (200, 200)
    # The logout at an old worker ends the session that the thief has got.
    assert log_out(old.test_client(), token).data == LOGGED_OUT
    assert get_status(new.test_client(), stolen) == (401, 401)
    # A session that moves between the workers.
    first = log_in(old.test_client())
    second = renewed(new.test_client(), first)
    third = renewed(old.test_client(), second)
    assert [generation(x) for x in (first, second, third)] == [0, 1, 1]
    age(new, second, 31)
    assert generation(renewed(new.test_client(), third)) == 2
