"""How the in-memory mirror is filled, follows the store, and is rebuilt."""

from __future__ import annotations

from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest

from flask_logout.stores import bloom as copy_module
from flask_logout.stores import Page
from flask_logout.stores.bloom import MIN_CAPACITY
from flask_logout.stores.mirror import Mirror
from flask_logout.stores.mirror import PAUSE
from flask_logout.stores.mirror import Phase
from flask_logout.stores.mirror import REBUILD_EVERY

from .mirrors import BOUND
from .mirrors import Clock
from .mirrors import fill
from .mirrors import finds
from .mirrors import key_of
from .mirrors import revocation
from .mirrors import Watched


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


def test_an_empty_store_is_mirrored(store: Watched, mirror: Mirror) -> None:
    fill(mirror)
    store.take_calls()
    assert finds(mirror, "a") == []
    assert store.take_calls() == []


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
