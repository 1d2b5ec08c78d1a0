"""Every store behaves alike, on each database, driver and kind of Redis."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from functools import partial
from operator import attrgetter

import pytest

from flask_logout import Revocation
from flask_logout import StoreUnavailableError
from flask_logout.domain.claims import lookup_of
from flask_logout.domain.revocation import covers
from flask_logout.domain.revocation import KINDS
from flask_logout.domain.revocation import merge
from flask_logout.domain.revocation_keys import make_key
from flask_logout.stores import Store

from .conftest import MakeApp
from .conftest import open_server
from .plans import SOME_PLANS
from .redis_servers import cluster
from .redis_servers import cluster_url
from .redis_servers import running_url
from .revocations import A
from .revocations import ACTS
from .revocations import Acts
from .revocations import add_acts
from .revocations import B
from .revocations import DRIVERS
from .revocations import found
from .revocations import kept
from .revocations import make_acts
from .revocations import NOW
from .revocations import read_changes
from .revocations import revocation
from .revocations import SECOND
from .threads import run_at_once


@pytest.fixture(scope="module", params=[*DRIVERS, "redis", "redis+cluster"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[dict[str, t.Any]]:
    """The settings that select a store."""
    folder = tmp_path_factory.mktemp("store")
    if request.param == "redis":
        yield {"LOGOUT_STORE_URI": running_url()}
    elif request.param == "redis+cluster":
        with cluster(folder) as nodes:
            yield {"LOGOUT_STORE_URI": cluster_url(nodes[0])}
    else:
        for url in open_server(request.param):
            if url is None:
                # SQLite's locks are not fair, so a thread may wait for many others.
                file = f"sqlite:///{folder / 'store.db'}"
                yield {"SQLALCHEMY_DATABASE_URI": file, "LOGOUT_TIMEOUT": 20}
            else:
                shown = url.render_as_string(hide_password=False)
                yield {"SQLALCHEMY_DATABASE_URI": shown}


@pytest.fixture
def store(make_app: MakeApp, place: dict[str, t.Any]) -> t.Iterator[Store]:
    """An empty store of each kind, in an app context."""
    app = make_app(**{"LOGOUT_TIMEOUT": 4, **place})
    with app.app_context():
        store: t.Any = app.extensions["logout"].store
        store.inspect().clear()
        yield store
        store.inspect().clear()
        if "LOGOUT_STORE_URI" in place:
            store.client.close()


def test_find_returns_what_was_added(store: Store) -> None:
    full = revocation(
        "full",
        kind="subject",
        cutoff=NOW,
        spared_session=A,
        spared_after=NOW - SECOND,
        subject="ada ☺" * 51,
        token_id="t" * 255,
        reason="r",
        actor="a",
    )
    bare = revocation("bare", expires_at=None)
    store.add([full, bare])
    assert found(store, full.key, subject=full.subject) == [full]
    assert found(store, bare.key) == [bare]
    both = found(store, full.key, A, bare.key, B, subject=full.subject)
    assert both == sorted([full, bare], key=attrgetter("key"))
    assert found(store, A) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_stored(store: Store, kind: t.Any) -> None:
    store.add([revocation(kind=kind)])
    assert found(store, revocation().key) == [revocation(kind=kind)]


@pytest.mark.parametrize(
    "value",
    ["\r\n*1\r\n", '"]}', "{01}", "'; --", "%s %(x)s :y ?", "☺" * 255, "", "null"],
)
def test_hostile_texts_are_stored_unchanged(store: Store, value: str) -> None:
    made = revocation(value, subject=value, token_id=value, reason=value, actor=value)
    store.add([made])
    assert found(store, made.key, subject=value) == [made]


def test_the_store_adds_the_time_of_its_own_clock(store: Store) -> None:
    store.add([revocation()])
    (row,) = kept(store, revocation().key)
    assert row.revoked_at is not None
    assert row.revoked_at.tzinfo is timezone.utc
    assert abs(datetime.now(timezone.utc) - row.revoked_at) < 5 * SECOND
    age = store.inspect().read_clock() - row.revoked_at
    assert timedelta(0) <= age < SECOND


def test_adding_twice_changes_nothing(store: Store) -> None:
    first = revocation(reason="first")
    store.add([first])
    before = kept(store, first.key)
    store.add([first, replace(first, reason="second")])
    after = kept(store, first.key)
    # A database updates revoked_at, so that in-memory mirrors read the row again.
    undated = [[replace(x, revoked_at=None) for x in rows] for rows in (before, after)]
    assert undated[0] == undated[1]


@pytest.mark.parametrize("acts", ACTS)
def test_revocations_with_the_same_key_are_merged_like_merge_does(
    store: Store, acts: Acts
) -> None:
    merged = add_acts(store, acts)
    assert found(store, merged.key) == [merged]


@pytest.mark.parametrize("acts", ACTS)
def test_one_revocation_is_merged_with_several_at_once(
    store: Store, acts: Acts
) -> None:
    first, *others = made = make_acts(acts)
    store.add([first])
    store.add(others)
    assert found(store, first.key) == merge(made)


def test_no_sequence_of_revocations_restores_a_login(store: Store) -> None:
    """The plans share one store, because each plan has an issuer of its own."""
    for start in range(0, len(SOME_PLANS), 128):
        plans = SOME_PLANS[start : start + 128]
        for revocations in zip(*(plan.revocations() for plan in plans), strict=True):
            store.add(revocations)
        keys = {key for plan in plans for x in plan.tokens() for key in lookup_of(x)[0]}
        rows = {
            x.key: x for some in batches(sorted(keys)) for x in found_for(store, some)
        }
        for plan in plans:
            for claims in plan.tokens():
                kept = [rows[key] for key in lookup_of(claims)[0] if key in rows]
                is_ended = any(covers(x, claims) for x in kept)
                assert is_ended is plan.ends(claims), (plan, claims)


def batches(keys: list[bytes]) -> t.Iterator[list[bytes]]:
    """Split a list of keys into lists of 100, so that statements stay small."""
    return (keys[i : i + 100] for i in range(0, len(keys), 100))


def found_for(store: Store, keys: list[bytes]) -> list[Revocation]:
    """Find the revocations under keys of ada's tokens."""
    return store.find(keys, subject="ada")


def test_changes_returns_all_keys_and_then_new_ones(store: Store) -> None:
    a, b, c = revocation("a"), revocation("b"), revocation("c", subject="ada")
    nothing, empty = read_changes(store, None)
    assert nothing == set()
    store.add([a])
    keys, cursor = read_changes(store, None)
    assert keys == {a.key}
    store.add([b])
    keys, cursor = read_changes(store, cursor)
    assert {b.key} <= keys <= {a.key, b.key}
    store.add([c])
    keys, cursor = read_changes(store, cursor)
    assert {c.key} <= keys <= {a.key, b.key, c.key}
    # A reader that already has the key looks it up in the store anyway.
    store.add([replace(a, expires_at=None)])
    assert read_changes(store, cursor)[0] <= {a.key, b.key, c.key}
    assert read_changes(store, empty)[0] == {a.key, b.key, c.key}


def test_a_reader_misses_nothing_during_concurrent_writes(store: Store) -> None:
    made = [
        [revocation(f"{i} {j}", subject=f"user {j}") for j in range(100)]
        for i in range(4)
    ]
    seen: set[bytes] = set()
    written: list[object] = []
    cursor: object | None = None

    def write(part: list[Revocation]) -> None:
        try:
            for x in part:
                store.add([x])
        finally:
            written.append(part)

    def read() -> None:
        nonlocal cursor
        while len(written) < len(made):
            keys, cursor = read_changes(store, cursor)
            seen.update(keys)

    write(made[0])
    run_at_once([read, *(partial(write, part) for part in made[1:])])
    seen |= read_changes(store, cursor)[0]
    assert seen == {x.key for part in made for x in part}


def test_sixteen_threads_that_write_the_same_keys_lose_nothing(store: Store) -> None:
    keys = (make_key("subject", None, "x"), make_key("subject", "iss", "x"))
    torn, errors = [], []

    def revoke(number: int) -> None:
        for i in range(5):
            cutoff = NOW + (number * 5 + i) * SECOND
            made = revocation(kind="subject", cutoff=cutoff, subject="x")
            try:
                store.add([replace(made, key=key) for key in keys])
                both = store.find(keys, subject="x")
            except StoreUnavailableError as e:
                errors.append(e)
                continue
            torn.extend([both] if len({x.cutoff for x in both}) != 1 else [])

    run_at_once([partial(revoke, number) for number in range(16)])
    assert (torn, errors) == ([], [])
    assert [x.cutoff for x in store.find(keys, subject="x")] == [NOW + 79 * SECOND] * 2


def test_purge_keeps_unexpired_revocations(store: Store) -> None:
    now = store.inspect().read_clock()
    expired = [
        revocation(f"expired {i}", expires_at=now - i * SECOND) for i in range(1, 6)
    ]
    valid = [revocation("valid"), revocation("never", expires_at=None)]
    store.add([*expired, *valid])
    while store.purge(now, batch=2) == 2:
        pass
    assert found(store, *(x.key for x in expired)) == []
    assert found(store, *(x.key for x in valid)) == sorted(valid, key=attrgetter("key"))
    assert store.inspect().count_expired(now) == 0
    tallies = store.inspect().count_kinds(now)
    assert [tallies[kind].live for kind in KINDS] == [2, 0, 0, 0]


def test_clear_deletes_everything(store: Store) -> None:
    store.add([revocation(str(i), subject=str(i)) for i in range(10)])
    store.inspect().clear()
    assert read_changes(store, None)[0] == set()
    tallies = store.inspect().count_kinds(NOW)
    assert [tallies[kind].live for kind in KINDS] == [0, 0, 0, 0]
