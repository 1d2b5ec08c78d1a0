"""The in-memory mirror saves round trips and never exceeds its bound."""

from __future__ import annotations

import time
import typing as t
from datetime import timedelta

from flask_logout import LogoutExtension
from flask_logout.stores.mirror import Mirror
from flask_logout.stores.mirror import REBUILD_EVERY
from flask_logout.stores.monotonic import read_uptime

from .conftest import MakeApp
from .mirrors import BOUND
from .mirrors import Clock
from .mirrors import fill
from .mirrors import finds
from .mirrors import revocation
from .mirrors import Watched
from .tokens import get_status
from .tokens import make_pair


def test_absent_keys_are_answered_from_memory(
    store: Watched, full_mirror: Mirror
) -> None:
    assert finds(full_mirror, "a", "b", "c", "d") == []
    assert store.take_calls() == []


def test_only_keys_that_may_be_revoked_are_looked_up(
    store: Watched, full_mirror: Mirror
) -> None:
    assert finds(full_mirror, "a", "old", "b") == ["old"]
    assert store.take_calls() == ["find 1"]


def test_a_revocation_of_another_worker_is_found_at_the_bound(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    clock.move(1)
    store.add([revocation("new")])
    clock.move(BOUND - 1 - 0.001)
    assert finds(full_mirror, "new") == []
    assert store.take_calls() == []
    clock.move(0.001)
    assert finds(full_mirror, "new") == ["new"]
    assert store.take_calls() == ["changes", "find 1"]


def test_the_bound_starts_before_the_query(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    clock.move(BOUND)
    store.before_changes = lambda: clock.move(BOUND - 1)
    assert finds(full_mirror, "new") == []
    store.before_changes = bool
    store.add([revocation("new")])
    clock.move(1)
    assert finds(full_mirror, "new") == ["new"]


def test_a_query_that_takes_longer_than_the_bound_is_not_repeated(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    clock.move(BOUND)
    store.before_changes = lambda: clock.move(2 * BOUND)
    assert finds(full_mirror, "a") == []
    assert store.take_calls() == ["changes"]


def test_an_idle_hour_costs_one_query(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    store.add([revocation(i) for i in range(50)])
    clock.move(timedelta(minutes=59))
    assert finds(full_mirror, 0, 49, "a") == [0, 49]
    assert store.take_calls() == ["changes", "find 2"]


def test_a_worker_finds_its_own_revocations_immediately(
    store: Watched, full_mirror: Mirror
) -> None:
    full_mirror.add([revocation("mine"), revocation("too")])
    assert finds(full_mirror, "mine", "too") == ["mine", "too"]
    assert store.take_calls() == ["find 2"]


def test_a_worker_finds_its_own_revocation_after_the_commit(
    make_app: MakeApp, clock: Clock
) -> None:
    app = make_app(LOGOUT_MAX_STALENESS=BOUND)
    with app.app_context():
        mirror = t.cast(Mirror, app.extensions["logout"].store)
        mirror._clock = clock
        mirror.inspect().clear()
        fill(mirror)
        session = app.extensions["sqlalchemy"].session
        pair = make_pair(app)
        LogoutExtension().revoke_user("ada", session=session)
        # A copy that is created before the commit can't contain it.
        clock.move(REBUILD_EVERY)
        fill(mirror)
        session.commit()
        assert get_status(app.test_client(), pair) == (401, 401)


def test_the_inspection_is_the_one_of_the_store(
    store: Watched, full_mirror: Mirror
) -> None:
    inspection = full_mirror.inspect()
    assert inspection.place == store.inspect().place
    assert inspection.list_problems() == []
    inspection.clear()
    assert full_mirror._copy.is_behind
    assert finds(full_mirror, "old") == []
    fill(full_mirror)
    store.take_calls()
    assert finds(full_mirror, "old") == []
    assert store.take_calls() == []


def test_a_mirror_can_be_mirrored(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    outer = Mirror(full_mirror, max_staleness=timedelta(seconds=BOUND), clock=clock)
    fill(outer)
    assert finds(outer, "old", "a") == ["old"]


def test_the_default_clock_works(store: Watched) -> None:
    bound = timedelta(seconds=0.02)
    mirror = Mirror(store, max_staleness=bound)
    fill(mirror)
    store.add([revocation("new")])
    added_at = read_uptime()
    while read_uptime() < added_at + bound.total_seconds():
        time.sleep(0.001)
    assert finds(mirror, "new", "a") == ["new"]
