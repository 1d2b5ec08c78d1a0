"""The in-memory mirror saves round trips and never exceeds its bound."""

from __future__ import annotations

import itertools
import math
import os
import signal
import subprocess
import sys
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from importlib import import_module

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition
from hypothesis.stateful import rule
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import run_state_machine_as_test

from flask_logout import ConfigError
from flask_logout import LogoutExtension
from flask_logout import Revocation
from flask_logout import StoreUnavailableError
from flask_logout.claims import make_key
from flask_logout.stores import copy as copy_module
from flask_logout.stores import Inspection
from flask_logout.stores import Joined
from flask_logout.stores import Page
from flask_logout.stores import Store
from flask_logout.stores.copy import MIN_CAPACITY
from flask_logout.stores.mirror import Mirror
from flask_logout.stores.mirror import PAUSE
from flask_logout.stores.mirror import Phase
from flask_logout.stores.mirror import REBUILD_EVERY
from flask_logout.stores.mirror import RETRY_AFTER
from flask_logout.stores.sqlalchemy import pages
from flask_logout.stores.sqlalchemy import SQLAlchemyStore

from .conftest import dispose
from .conftest import MakeApp
from .conftest import SECRET
from .tokens import bearer
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import UNAVAILABLE

BOUND = 10.0
THREADS = 8


class Clock:
    """A clock that only moves when a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def move(self, by: float | timedelta) -> None:
        """Advance the clock by a number of seconds or a duration."""
        self.now += by.total_seconds() if isinstance(by, timedelta) else by


class Watched:
    """A real store that records calls and can split its pages.

    The parts of a page belong to the same run, so they are all as old as the first one.
    """

    def __init__(self, inner: SQLAlchemyStore) -> None:
        self.inner = inner
        self.calls: list[str] = []
        self.cut = 0
        self.restarts_scan = False
        self.before_find: t.Callable[[], object] = bool
        self.before_changes: t.Callable[[], object] = bool
        self.after_changes: t.Callable[[Page], object] = bool

    def add(self, revocations: t.Sequence[Revocation]) -> None:
        self.inner.add(revocations)

    def join(self, session: t.Any) -> Joined:
        return self.inner.join(session)

    def find(self, keys: t.Collection[bytes], **hint: t.Any) -> list[Revocation]:
        self.calls.append(f"find {len(keys)}")
        self.before_find()
        return self.inner.find(keys, **hint)

    def changes(self, cursor: object | None) -> Page:
        self.calls.append("changes")
        self.before_changes()
        rest, inner = t.cast("tuple[t.Any, t.Any]", cursor or (None, None))
        if self.restarts_scan:
            self.restarts_scan, rest, inner = False, None, None
        page = rest or self.inner.changes(inner)
        self.after_changes(page)
        if not self.cut or len(page.keys) <= self.cut:
            return Page(page.keys, (None, page.cursor), page.has_more, page.total)
        rest = Page(page.keys[self.cut :], page.cursor, page.has_more)
        return Page(page.keys[: self.cut], (rest, None), True, page.total)

    def purge(self, now: datetime, *, batch: int) -> int:
        return self.inner.purge(now, batch=batch)

    def inspect(self) -> Inspection:
        return self.inner.inspect()

    def take_calls(self) -> list[str]:
        """Return the calls since the last time, and clear the list."""
        calls, self.calls = self.calls, []
        return calls


def key_of(name: object) -> bytes:
    """Return the key of a session."""
    return make_key("session", None, str(name))


def revocation(name: object, expires_at: datetime | None = None) -> Revocation:
    """Make the revocation of a session."""
    return Revocation(key_of(name), "session", expires_at)


def finds(store: Store, *names: object) -> list[object]:
    """Return the names of the sessions that are revoked."""
    keys = {revocation.key for revocation in store.find([key_of(x) for x in names])}
    return [name for name in names if key_of(name) in keys]


def fill(mirror: Mirror) -> None:
    """Run checks until the copy is complete."""
    while mirror._copy.is_behind or mirror._next is not None:
        mirror.find([key_of("nobody")])
        if mirror._next is not None:
            t.cast(Clock, mirror._clock).move(PAUSE)


@contextmanager
def stopped(store: SQLAlchemyStore) -> t.Iterator[None]:
    """Rename the table within the block, to simulate a database that fails."""
    name = store.table.name
    store.engine.execute(sa.text(f"ALTER TABLE {name} RENAME TO away"))
    try:
        yield
    finally:
        store.engine.execute(sa.text(f"ALTER TABLE away RENAME TO {name}"))


@pytest.fixture
def store(make_app: MakeApp) -> t.Iterator[Watched]:
    """An empty store, in an app context."""
    app = make_app()
    with app.app_context():
        yield Watched(t.cast(SQLAlchemyStore, app.extensions["logout"].store))


@pytest.fixture
def clock() -> Clock:
    """A clock that a test moves."""
    return Clock()


@pytest.fixture
def mirror(store: Watched, clock: Clock) -> Mirror:
    """A mirror of the store that has not read anything yet."""
    return Mirror(store, max_staleness=timedelta(seconds=BOUND), clock=clock)


@pytest.fixture
def full_mirror(store: Watched, mirror: Mirror) -> Mirror:
    """A complete mirror that contains one revocation, "old"."""
    store.add([revocation("old")])
    fill(mirror)
    store.take_calls()
    return mirror


def test_every_check_queries_the_store_until_the_mirror_is_filled(
    store: Watched, mirror: Mirror
) -> None:
    store.cut = 2
    store.add([revocation(i) for i in range(5)])
    asked = 0
    while mirror._copy.is_behind:
        assert finds(mirror, 4, "nobody") == [4]
        # Each check reads only one page, so a large fill delays no request.
        assert store.take_calls() == ["find 2", "changes"]
        asked += 1
    assert asked >= 3
    assert finds(mirror, 4, "nobody") == [4]
    assert store.take_calls() == ["find 1"]


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


def test_an_empty_store_is_mirrored(store: Watched, mirror: Mirror) -> None:
    fill(mirror)
    store.take_calls()
    assert finds(mirror, "a") == []
    assert store.take_calls() == []


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


@pytest.mark.skipif(
    sys.version_info[:3] == (3, 13, 0), reason="Python 3.13.0 traces no opcodes"
)
def test_a_worker_finds_its_own_revocation_if_a_rebuild_ends_meanwhile(
    make_app: MakeApp, store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    app = make_app()
    for step in itertools.count():
        ends, is_read = threading.Event(), threading.Event()
        rebuild = rebuild_until(full_mirror, app, is_read, ends)
        assert is_read.wait(10)

        def end(ends: threading.Event = ends, rebuild: t.Any = rebuild) -> None:
            ends.set()
            rebuild.join(10)

        with calling(end, at=step, of=Mirror._insert) as was_called:
            full_mirror.add([revocation(step)])
        end()
        assert full_mirror.phase is Phase.SERVING
        assert finds(full_mirror, step) == [step]
        if not was_called:
            break
    assert step > 10


def rebuild_until(
    mirror: Mirror, app: Flask, is_read: threading.Event, ends: threading.Event
) -> threading.Thread:
    """Rebuild in a thread, and pause it after it has read the last page."""
    store, clock = t.cast(Watched, mirror._store), t.cast(Clock, mirror._clock)
    clock.move(REBUILD_EVERY)
    finds(mirror, "nobody")
    assert mirror.phase is Phase.REBUILDING

    def hold(page: Page) -> None:
        if not page.has_more:
            is_read.set()
            ends.wait(10)

    def check() -> None:
        with app.app_context():
            fill(mirror)
        store.after_changes = bool

    store.after_changes = hold
    thread = threading.Thread(target=check)
    thread.start()
    return thread


@contextmanager
def calling(
    function: t.Callable[[], object], *, at: int, of: t.Callable[..., t.Any]
) -> t.Iterator[list[bool]]:
    """Call a function before an opcode of another function.

    The block receives a list, which is empty if the opcode was not reached.
    """
    numbers, was_called = itertools.count(), list[bool]()

    def trace_opcode(_frame: t.Any, event: str, _arg: t.Any) -> t.Any:
        if event == "opcode" and next(numbers) == at:
            sys.settrace(None)
            function()
            was_called.append(True)
        return trace_opcode

    def trace(frame: t.Any, _event: str, _arg: t.Any) -> t.Any:
        if frame.f_code is of.__code__:
            frame.f_trace_opcodes = True
            return trace_opcode
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield was_called
    finally:
        sys.settrace(before)


def test_many_changes_are_read_page_by_page(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    store.add([revocation(i) for i in range(10)])
    store.cut = 4
    clock.move(BOUND)
    for _ in range(2):
        assert finds(full_mirror, 9, "a") == [9]
        assert "find 2" in store.take_calls()
    fill(full_mirror)
    store.take_calls()
    assert finds(full_mirror, 9, "a") == [9]
    assert store.take_calls() == ["find 1"]


def test_a_run_of_pages_is_as_old_as_its_first_page(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    store.add([revocation(i) for i in range(10)])
    store.cut = 4
    clock.move(BOUND)
    finds(full_mirror, "a")
    store.add([revocation("late")])
    clock.move(1)
    fill(full_mirror)
    assert finds(full_mirror, "late") == []
    clock.move(BOUND - 1)
    assert finds(full_mirror, "late") == ["late"]


def test_a_copy_that_is_too_far_behind_is_replaced(
    store: Watched, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_module, "MIN_CAPACITY", 10)
    store.cut = 4
    store.add([revocation(i) for i in range(8)])
    mirror = Mirror(store, max_staleness=timedelta(seconds=BOUND), clock=clock)
    fill(mirror)
    first = mirror._copy
    # Reading the same keys again takes no capacity, but more pages than a new copy.
    store.add([revocation(i) for i in range(99)])
    clock.move(BOUND)
    while mirror._copy is first:
        assert finds(mirror, 98, "a") == [98]
    assert first._run_length < 20
    assert mirror.phase is Phase.FILLING
    fill(mirror)
    store.take_calls()
    assert finds(mirror, *range(99)) == [*range(99)]
    assert store.take_calls() == ["find 99"]


def test_a_rebuild_in_progress_replaces_a_copy_that_is_too_far_behind(
    store: Watched, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_module, "MIN_CAPACITY", 10)
    store.add([revocation(i) for i in range(8)])
    mirror = Mirror(store, max_staleness=timedelta(seconds=BOUND), clock=clock)
    fill(mirror)
    clock.move(REBUILD_EVERY)
    finds(mirror, "a")
    first, second = mirror._copy, mirror._next
    assert (mirror.phase, second is None) == (Phase.REBUILDING, False)
    store.cut = 4
    store.add([revocation(i) for i in range(99)])
    clock.move(BOUND)
    while mirror._copy is first:
        assert finds(mirror, 98, "a") == [98]
    assert (mirror._copy, mirror._next) == (second, None)


def test_a_store_may_restart_its_scan(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    full_mirror.add([revocation(i) for i in range(6)])
    store.inner.add([revocation("new")])
    store.cut, store.restarts_scan = 3, True
    clock.move(BOUND)
    for _ in range(3):
        assert full_mirror._copy.choose([key_of(5)]) == [key_of(5)]
        assert finds(full_mirror, "new", 5, "a") == ["new", 5]
        assert "find 3" in store.take_calls()
    fill(full_mirror)
    store.take_calls()
    assert full_mirror._copy.scanned >= 8
    assert finds(full_mirror, "new", "old", 5, "a") == ["new", "old", 5]
    assert store.take_calls() == ["find 3"]


def test_a_rebuild_drops_keys_that_the_store_deleted(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    now = datetime.now(timezone.utc)
    full_mirror.add([revocation("brief", now - timedelta(1))])
    assert full_mirror.purge(now, batch=9) == 1
    assert finds(full_mirror, "brief") == []
    assert store.take_calls() == ["find 1"]
    clock.move(REBUILD_EVERY)
    finds(full_mirror, "a")
    fill(full_mirror)
    store.take_calls()
    assert finds(full_mirror, "brief") == []
    assert store.take_calls() == []
    assert finds(full_mirror, "old") == ["old"]


def test_a_rebuild_pauses_between_pages_while_checks_are_served(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    full_mirror.add([revocation(i) for i in range(6)])
    clock.move(REBUILD_EVERY - timedelta(seconds=1))
    finds(full_mirror, "a")
    before = full_mirror._copy
    store.cut = 2
    clock.move(1)
    finds(full_mirror, "a")
    fill_pages = 0
    while full_mirror._next is not None:
        store.take_calls()
        assert finds(full_mirror, 5, "a") == [5]
        assert store.take_calls() == ["find 1"]
        store.inner.add([revocation(f"during {fill_pages}")])
        full_mirror.add([revocation(f"own {fill_pages}")])
        clock.move(PAUSE)
        assert finds(full_mirror, f"own {fill_pages}") == [f"own {fill_pages}"]
        fill_pages += store.take_calls().count("changes")
    assert fill_pages >= 3
    assert full_mirror._copy is not before
    names = [f"own {i}" for i in range(fill_pages - 1)]
    assert finds(full_mirror, *names) == names
    clock.move(BOUND)
    fill(full_mirror)
    names = [f"during {i}" for i in range(fill_pages - 1)]
    assert finds(full_mirror, *names) == names


def test_a_full_copy_is_rebuilt(
    store: Watched, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_module, "MIN_CAPACITY", 10)
    mirror = Mirror(store, max_staleness=timedelta(seconds=BOUND), clock=clock)
    fill(mirror)
    first = mirror._copy
    for _ in range(5):
        # Any number of repeated keys takes no capacity.
        mirror.add([revocation(i) for i in range(9)])
        clock.move(BOUND)
        finds(mirror, "a")
    assert (mirror._copy, mirror._next, first.is_full) == (first, None, False)
    mirror.add([revocation(i) for i in range(30)])
    clock.move(BOUND)
    finds(mirror, "a")
    fill(mirror)
    assert mirror._copy is not first
    assert not mirror._copy.is_full
    assert finds(mirror, *range(30)) == [*range(30)]


def test_the_next_rebuild_corrects_a_wrong_total(
    store: Watched, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_module, "MIN_CAPACITY", 10)
    store.cut = 4
    store.add([revocation(i) for i in range(40)])
    mirror = Mirror(store, max_staleness=timedelta(seconds=BOUND), clock=clock)
    original = store.changes

    def changes(cursor: object | None) -> Page:
        page = original(cursor)
        return Page(page.keys, page.cursor, page.has_more, 5 if page.total else None)

    store.changes = changes  # type: ignore[method-assign]  # a store that cannot count
    fill(mirror)
    first = mirror._copy
    assert first.is_full
    finds(mirror, "a")
    fill(mirror)
    assert mirror._copy is not first
    assert not mirror._copy.is_full


def test_a_copy_uses_little_memory(store: Watched, full_mirror: Mirror) -> None:
    assert full_mirror._copy.filter.size_in_bits / 8 < 2 * MIN_CAPACITY


def test_a_check_fails_if_the_store_is_down_at_the_bound(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    with stopped(store.inner):
        assert finds(full_mirror, "a") == []
        with pytest.raises(StoreUnavailableError):
            finds(full_mirror, "old")
        clock.move(BOUND)
        for _ in range(2):
            store.take_calls()
            with pytest.raises(StoreUnavailableError, match="no such table"):
                finds(full_mirror, "a")
            assert store.take_calls() == ["changes"]
        with pytest.raises(StoreUnavailableError):
            full_mirror.add([revocation("never")])
    store.add([revocation("new")])
    assert finds(full_mirror, "a", "new", "never") == ["new"]


def test_a_check_fails_if_the_store_is_down_at_the_start(
    store: Watched, mirror: Mirror
) -> None:
    with stopped(store.inner):
        with pytest.raises(StoreUnavailableError):
            finds(mirror, "a")
        # No page is read from a store that has just failed.
        assert store.take_calls() == ["find 1"]
    fill(mirror)
    assert finds(mirror, "a") == []


def fail() -> t.NoReturn:
    """Raise an error, as a page that takes too long does."""
    raise StoreUnavailableError("too slow")


def test_a_page_that_fails_does_not_fail_the_check(
    store: Watched, mirror: Mirror, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store.add([revocation("old")])
    store.before_changes = fail
    assert finds(mirror, "old", "a") == ["old"]
    assert finds(mirror, "old", "a") == ["old"]
    assert store.take_calls() == ["find 2", "changes", "find 2"]
    assert caplog.messages == ["cannot fill the in-memory mirror, will retry: too slow"]
    store.before_changes = bool
    clock.move(RETRY_AFTER)
    fill(mirror)
    store.take_calls()
    assert finds(mirror, "old", "a") == ["old"]
    assert store.take_calls() == ["find 1"]


def test_a_failed_page_of_a_rebuild_keeps_the_copy(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    store.cut = 1
    full_mirror.add([revocation("more")])
    before = full_mirror._copy
    clock.move(REBUILD_EVERY)
    finds(full_mirror, "a")
    for _ in range(3):
        store.before_changes = fail
        clock.move(RETRY_AFTER)
        assert finds(full_mirror, "old", "a") == ["old"]
        assert full_mirror._copy is before
        store.before_changes = bool
        clock.move(RETRY_AFTER)
        assert finds(full_mirror, "old", "a") == ["old"]
    fill(full_mirror)
    assert full_mirror._copy is not before
    assert finds(full_mirror, "old", "more", "a") == ["old", "more"]


def in_threads(app: Flask, function: t.Callable[[], t.Any]) -> list[t.Any]:
    """Call a function in 8 threads together. Return the results or error messages."""
    barrier = threading.Barrier(THREADS)

    def call(_: int) -> t.Any:
        with app.app_context():
            barrier.wait()
            try:
                return function()
            except StoreUnavailableError as e:
                return str(e)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(call, range(THREADS)))


def wait_for_all(mirror: Mirror, clock: Clock) -> t.Callable[[], None]:
    """Return a function that blocks a query until every thread waits for it."""
    arrived = threading.Semaphore(0)
    sync = mirror._sync

    def count(asked_at: float) -> t.Any:
        arrived.release()
        return sync(asked_at)

    def hold() -> None:
        for _ in range(THREADS):
            assert arrived.acquire(timeout=5)
        clock.move(0.001)

    mirror._sync = count  # type: ignore[method-assign]  # only to count the threads
    return hold


def test_threads_share_one_query(
    make_app: MakeApp, store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    store.add([revocation("new")])
    clock.move(BOUND)
    store.before_changes = wait_for_all(full_mirror, clock)
    app = make_app()
    assert in_threads(app, lambda: finds(full_mirror, "new")) == [["new"]] * THREADS
    assert store.take_calls().count("changes") == 1


def test_threads_share_one_failure(
    make_app: MakeApp, store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    clock.move(BOUND)
    hold = wait_for_all(full_mirror, clock)

    def hold_and_fail() -> None:
        hold()
        fail()

    store.before_changes = hold_and_fail
    answers = in_threads(make_app(), lambda: finds(full_mirror, "new"))
    shared = "the in-memory mirror can't read what changed"
    assert sorted(answers) == [shared] * (THREADS - 1) + ["too slow"]
    assert store.take_calls() == ["changes"]


def test_one_thread_fills_the_mirror_while_others_continue(
    make_app: MakeApp, store: Watched, mirror: Mirror
) -> None:
    store.add([revocation("old")])
    goes_on = threading.Event()
    store.before_changes = lambda: goes_on.wait(5)
    app = make_app()

    def check() -> None:
        with app.app_context():
            finds(mirror, "old")

    thread = threading.Thread(target=check)
    thread.start()
    while "changes" not in store.calls:
        goes_on.wait(0.001)
    assert finds(mirror, "old", "a") == ["old"]
    assert store.take_calls().count("changes") == 1
    goes_on.set()
    thread.join()


def test_a_page_that_another_check_has_read_is_not_read_again(
    store: Watched, mirror: Mirror, clock: Clock
) -> None:
    def check_again() -> None:
        store.before_find = bool
        clock.move(0.001)
        finds(mirror, "b")

    store.before_find = check_again
    finds(mirror, "a")
    assert store.take_calls() == ["find 1", "find 1", "changes"]
    fill(mirror)
    store.take_calls()
    # Simulate a thread that gets the lock right after another thread released it.
    mirror._read_ahead(clock.now)
    assert store.take_calls() == []


def test_concurrent_reads_and_writes_lose_no_keys(
    make_app: MakeApp, store: Watched, full_mirror: Mirror
) -> None:
    numbers = iter(range(10**6))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work() -> list[object]:
        missing: list[object] = []
        for _ in range(20):
            number = next(numbers)
            full_mirror._insert([revocation(number + i / 10) for i in range(9)])
            seen = full_mirror._copy.choose([key_of(number + i / 10) for i in range(9)])
            missing += [number] * (len(seen) != 9)
        return missing

    try:
        assert in_threads(make_app(), work) == [[]] * THREADS
    finally:
        sys.setswitchinterval(interval)


def test_a_fork_does_not_wait_for_a_thread_of_its_parent(
    make_app: MakeApp, store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    app = make_app()
    clock.move(BOUND)
    asking, goes_on = threading.Event(), threading.Event()

    def hold() -> None:
        asking.set()
        goes_on.wait(10)

    def check() -> None:
        with app.app_context():
            finds(full_mirror, "a")

    store.before_changes = hold
    thread = threading.Thread(target=check)
    thread.start()
    asking.wait(5)
    store.before_changes = bool
    child = os.fork()
    if child == 0:  # pragma: no cover
        signal.alarm(10)
        code = 1
        try:
            store.add([revocation("new")])
            code = 0 if finds(full_mirror, "old", "new", "a") == ["old", "new"] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    goes_on.set()
    thread.join()
    clock.move(BOUND)
    assert finds(full_mirror, "old", "new", "a") == ["old", "new"]


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
    mirror = Mirror(store, max_staleness=timedelta(milliseconds=20))
    fill(mirror)
    store.add([revocation("new")])
    threading.Event().wait(0.02)
    assert finds(mirror, "new", "a") == ["new"]


MISSING = (
    "LOGOUT_MAX_STALENESS needs the package rbloom, which isn't installed. Run"
    " `pip install 'flask-logout[mirror]'`, or remove LOGOUT_MAX_STALENESS."
)

WITHOUT_RBLOOM = """
import sys
sys.modules["rbloom"] = None
from flask import Flask
from flask_logout import ConfigError, LogoutExtension
app = Flask("app", instance_path=sys.argv[1])
app.config["JWT_SECRET_KEY"] = "a secret of at least thirty-two bytes"
LogoutExtension(app)
app = Flask("app", instance_path=sys.argv[1])
app.config["JWT_SECRET_KEY"] = "a secret of at least thirty-two bytes"
app.config["LOGOUT_MAX_STALENESS"] = 1
try:
    LogoutExtension(app)
except ConfigError as e:
    print(e)
"""


def test_an_app_without_rbloom_raises_an_error_that_says_what_to_install(
    tmp_path: t.Any,
) -> None:
    command = [sys.executable, "-c", WITHOUT_RBLOOM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == MISSING


def test_the_module_without_rbloom_raises_a_config_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rbloom", None)
    monkeypatch.delitem(sys.modules, "flask_logout.stores.copy")
    with pytest.raises(ConfigError) as caught:
        import_module("flask_logout.stores.copy")
    assert str(caught.value) == MISSING


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


def mirror_of(app: Flask) -> Mirror:
    """Return the mirror of an app."""
    return t.cast(Mirror, app.extensions["logout"].store)


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


NAMES = st.integers(0, 60)


class Sides(RuleBasedStateMachine):
    """Compares a mirror with its store through random sequences of events."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(copy_module, "MIN_CAPACITY", 8)
        # A false positive would query the store and hide a fault of the mirror.
        self.patch.setattr(copy_module, "FALSE_POSITIVES", 1e-9)
        self.patch.setattr(pages, "PAGE_SIZE", 3)
        self.patch.setattr(pages, "OVERLAP", timedelta(0))
        self.app = Flask("sides")
        self.app.config.update(
            SQLALCHEMY_DATABASE_URI="sqlite://", JWT_SECRET_KEY=SECRET
        )
        SQLAlchemy(self.app)
        LogoutExtension(self.app)
        self.context = self.app.app_context()
        self.context.push()
        self.store = t.cast(SQLAlchemyStore, self.app.extensions["logout"].store)
        self.store.inspect().create()
        self.clock = Clock()
        self.watched = Watched(self.store)
        bound = timedelta(seconds=BOUND)
        self.mirror = Mirror(self.watched, max_staleness=bound, clock=self.clock)
        fill(self.mirror)
        self.fresh = itertools.count(100)
        self.is_down = False
        self.due_from: dict[object, float] = {}
        """The instant from which the mirror must find each revocation."""

    def teardown(self) -> None:
        self.context.pop()
        dispose(self.app)
        self.patch.undo()

    @precondition(lambda self: not self.is_down)
    @rule(names=st.lists(NAMES, min_size=1, max_size=12, unique=True))
    def revoke_here(self, names: list[int]) -> None:
        self.mirror.add([revocation(name) for name in names])
        self.due_from.update((name, -math.inf) for name in names)

    @precondition(lambda self: not self.is_down)
    @rule(names=st.lists(NAMES, min_size=1, max_size=12, unique=True))
    def revoke_elsewhere(self, names: list[int]) -> None:
        self.store.add([revocation(name) for name in names])
        for name in names:
            self.due_from.setdefault(name, self.clock.now + BOUND)

    @precondition(lambda self: not self.is_down)
    @rule(names=st.lists(st.integers(61, 99), min_size=1, max_size=9, unique=True))
    def revoke_expired(self, names: list[int]) -> None:
        past = datetime(2000, 1, 1, tzinfo=timezone.utc)
        self.store.add([revocation(name, past) for name in names])

    @precondition(lambda self: not self.is_down)
    @rule(batch=st.integers(1, 20))
    def purge(self, batch: int) -> None:
        self.mirror.purge(datetime.now(timezone.utc), batch=batch)

    @precondition(lambda self: not self.is_down)
    @rule()
    def clear(self) -> None:
        self.mirror.inspect().clear()
        self.due_from.clear()

    @rule(by=st.sampled_from([0.1, 1.0, BOUND / 2, BOUND, 60.0, 3600.0]))
    def wait(self, by: float) -> None:
        self.clock.move(by)

    @rule()
    def stop_or_start(self) -> None:
        names = [self.store.table.name, "away"]
        old, new = reversed(names) if self.is_down else names
        self.store.engine.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))
        self.is_down = not self.is_down

    @rule(cut=st.sampled_from([0, 1, 5]), restarts_scan=st.booleans())
    def change_pages(self, cut: int, restarts_scan: bool) -> None:
        self.watched.cut, self.watched.restarts_scan = cut, restarts_scan

    @rule(times=st.integers(1, 15))
    def serve(self, times: int) -> None:
        for _ in range(times):
            self.check([0, 30, 60, 99])
            self.clock.move(PAUSE)

    @rule(names=st.lists(NAMES, min_size=1, max_size=4, unique=True))
    def check(self, names: list[int]) -> None:
        due = {x for x in names if self.due_from.get(x, math.inf) <= self.clock.now}
        try:
            found = set(finds(self.mirror, *names))
        except StoreUnavailableError:
            assert self.is_down
            return
        assert due <= found
        assert found <= self.due_from.keys() | set(range(61, 100))

    @precondition(lambda self: not self.is_down)
    @rule(by=st.sampled_from([BOUND / 2, BOUND, BOUND * 1.04]), stops=st.booleans())
    def check_new(self, by: float, stops: bool) -> None:
        """Check for names that were never revoked before."""
        names = [next(self.fresh), next(self.fresh)]
        self.check(names)
        self.revoke_elsewhere(names)
        self.wait(by)
        if stops:
            self.stop_or_start()
        self.check(names)

    @rule()
    def check_everything(self) -> None:
        self.check([*range(61)])


def test_no_revoked_token_is_accepted_beyond_the_bound() -> None:
    run_state_machine_as_test(
        Sides,
        settings=settings(max_examples=40, stateful_step_count=50, deadline=None),
    )
