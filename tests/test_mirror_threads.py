"""Threads and forked processes share an in-memory mirror."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from flask import Flask

from flask_logout import StoreUnavailableError
from flask_logout.stores import Page
from flask_logout.stores.mirror import Mirror
from flask_logout.stores.mirror import Phase
from flask_logout.stores.mirror import REBUILD_EVERY

from .conftest import MakeApp
from .mirrors import BOUND
from .mirrors import Clock
from .mirrors import fail
from .mirrors import fill
from .mirrors import finds
from .mirrors import key_of
from .mirrors import revocation
from .mirrors import Watched

THREADS = 8
# The longest wait for an event, in seconds, even on a busy machine.
PATIENCE = 60


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
            assert arrived.acquire(timeout=PATIENCE)
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
    app = make_app()
    asking, goes_on = threading.Event(), threading.Event()

    def hold() -> None:
        asking.set()
        assert goes_on.wait(PATIENCE)

    def check() -> None:
        with app.app_context():
            finds(mirror, "old")

    store.before_changes = hold
    thread = threading.Thread(target=check)
    thread.start()
    try:
        assert asking.wait(PATIENCE)
        assert finds(mirror, "old", "a") == ["old"]
        assert store.take_calls().count("changes") == 1
    finally:
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
            full_mirror.remember([revocation(number + i / 10) for i in range(9)])
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
        assert goes_on.wait(PATIENCE)

    def check() -> None:
        with app.app_context():
            finds(full_mirror, "a")

    store.before_changes = hold
    thread = threading.Thread(target=check)
    thread.start()
    assert asking.wait(PATIENCE)
    store.before_changes = bool
    child = os.fork()
    if child == 0:  # pragma: no cover
        signal.alarm(PATIENCE)
        code = 1
        try:
            store.add([revocation("new")])
            code = 0 if finds(full_mirror, "old", "new", "a") == ["old", "new"] else 2
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    goes_on.set()
    thread.join()
    assert code == 0
    clock.move(BOUND)
    assert finds(full_mirror, "old", "new", "a") == ["old", "new"]


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
        assert is_read.wait(PATIENCE)

        def end(ends: threading.Event = ends, rebuild: t.Any = rebuild) -> None:
            ends.set()
            rebuild.join(PATIENCE)

        with calling(end, at=step, of=Mirror.remember) as was_called:
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
            ends.wait(PATIENCE)

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
