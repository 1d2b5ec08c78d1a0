"""What every store does alike: the verbs, on each database, driver and kind of Redis."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from functools import partial
from operator import attrgetter
from threading import Barrier
from threading import Thread

import pytest
import sqlalchemy as sa

from flask_logout import Revocation
from flask_logout import StoreUnavailableError
from flask_logout.claims import lookup_of
from flask_logout.claims import make_key
from flask_logout.revocation import covers
from flask_logout.revocation import KINDS
from flask_logout.revocation import merge
from flask_logout.stores import Store
from flask_logout.stores.sqlalchemy import SQLAlchemyStore
from flask_logout.stores.sqlalchemy.dialects import to_utc

from .conftest import MakeApp
from .conftest import open_server
from .plans import SOME_PLANS
from .redis_servers import cluster
from .redis_servers import cluster_url
from .redis_servers import running_url

NOW = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)
A, B = make_key("session", None, "a"), make_key("session", None, "b")
DRIVERS = ["sqlite", "postgresql+psycopg", "postgresql+psycopg2", "mysql+pymysql"]
decisive = attrgetter("key", "kind", "cutoff", "spared_session", "spared_after")


@pytest.fixture(scope="module", params=[*DRIVERS, "redis", "redis+cluster"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[dict[str, t.Any]]:
    """The settings that name a place for revocations."""
    folder = tmp_path_factory.mktemp("store")
    if request.param == "redis":
        yield {"LOGOUT_STORE_URI": running_url()}
    elif request.param == "redis+cluster":
        with cluster(folder) as nodes:
            yield {"LOGOUT_STORE_URI": cluster_url(nodes[0])}
    else:
        for url in open_server(request.param):
            if url is None:
                # Long enough for many at once: SQLite is not fair.
                file = f"sqlite:///{folder / 'store.db'}"
                yield {"SQLALCHEMY_DATABASE_URI": file, "LOGOUT_TIMEOUT": 20}
            else:
                shown = url.render_as_string(hide_password=False)
                yield {"SQLALCHEMY_DATABASE_URI": shown}


@pytest.fixture
def store(make_app: MakeApp, place: dict[str, t.Any]) -> t.Iterator[Store]:
    """An empty store on each, in an app context."""
    app = make_app(**{"LOGOUT_TIMEOUT": 4, **place})
    with app.app_context():
        store: t.Any = app.extensions["logout"].store
        store.inspect().clear()
        yield store
        store.inspect().clear()
        if "LOGOUT_STORE_URI" in place:
            store.client.close()


def revocation(value: str = "x", **values: t.Any) -> Revocation:
    """Make a revocation of which only the values named matter."""
    made = Revocation(make_key("token", None, value), "token", NOW)
    return replace(made, **values)


def kept(store: Store, *keys: bytes, subject: str | None = None) -> list[Revocation]:
    """Read all that is kept, also what is for people to read."""
    if not isinstance(store, SQLAlchemyStore):
        return store.find(keys, subject=subject)
    rows, _ = store.engine.execute(
        sa.select(store.table).where(store.table.c.key.in_(keys))
    )
    return [
        Revocation(**{k: plain(v) for k, v in row._asdict().items()}) for row in rows
    ]


def plain(value: t.Any) -> t.Any:
    """Bring what a driver gives to the types of a revocation."""
    if isinstance(value, datetime):
        return to_utc(value)
    return bytes(value) if isinstance(value, (bytes, memoryview)) else value


def found(store: Store, *keys: bytes, subject: str | None = None) -> list[Revocation]:
    """Read all but the instant that the store adds; what decides is found as it is."""
    whole = kept(store, *keys, subject=subject)
    seen = {decisive(x) for x in store.find(keys, subject=subject)}
    assert seen == {decisive(x) for x in whole}
    return [replace(x, revoked_at=None) for x in sorted(whole, key=attrgetter("key"))]


def news(store: Store, cursor: object | None) -> tuple[set[bytes], object]:
    """Read every page that follows a cursor."""
    keys: set[bytes] = set()
    has_more = True
    while has_more:
        page = store.changes(cursor)
        keys.update(page.keys)
        cursor, has_more = page.cursor, page.has_more
    return keys, cursor


def assert_unavailable(store: Store, said: str) -> None:
    """See that nothing is taken for an answer where the store gives none."""
    with pytest.raises(StoreUnavailableError, match=said):
        store.find([A])
    with pytest.raises(StoreUnavailableError, match=said):
        store.add([revocation()])
    with pytest.raises(StoreUnavailableError, match=said):
        store.changes(None)


def run_at_once(works: t.Sequence[t.Callable[[], object]]) -> None:
    """Run each in a thread, all from the same moment on."""
    barrier = Barrier(len(works))

    def run(work: t.Callable[[], object]) -> None:
        barrier.wait()
        work()

    threads = [Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_what_was_added_is_found_as_it_was(store: Store) -> None:
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
def test_every_kind_can_be_kept(store: Store, kind: t.Any) -> None:
    store.add([revocation(kind=kind)])
    assert found(store, revocation().key) == [revocation(kind=kind)]


@pytest.mark.parametrize(
    "value",
    ["\r\n*1\r\n", '"]}', "{01}", "'; --", "%s %(x)s :y ?", "☺" * 255, "", "null"],
)
def test_hostile_texts_come_back_as_they_were(store: Store, value: str) -> None:
    made = revocation(value, subject=value, token_id=value, reason=value, actor=value)
    store.add([made])
    assert found(store, made.key, subject=value) == [made]


def test_the_store_adds_its_own_clock(store: Store) -> None:
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
    # A database stores the time again, so that in-memory mirrors find the row.
    undated = [[replace(x, revoked_at=None) for x in rows] for rows in (before, after)]
    assert undated[0] == undated[1]


ACTS = [
    [(1, None, 1), (2, None, 2)],
    [(2, None, 2), (1, None, 1)],
    [(1, None, None), (2, None, 5)],
    [(1, None, 5), (2, None, None)],
    [(1, A, 1), (2, A, 1)],
    [(1, A, 1), (2, B, 1)],
    [(2, B, 1), (1, A, 1)],
    [(1, None, 1), (2, B, 1)],
    [(2, B, 1), (1, None, 1)],
    [(1, None, 1), (2, A, 1), (3, A, 1)],
    [(1, A, 1), (2, B, 1), (3, A, 1)],
    [(3, A, 1), (2, B, 1), (1, None, 1)],
    [(3, A, 1), (1, B, 1), (2, None, 1)],
    [(1, A, 1), (1, B, 1)],
]


Acts = list[tuple[int, t.Optional[bytes], t.Optional[int]]]


def make_all(acts: Acts) -> list[Revocation]:
    """Make revocations under one key."""
    return [
        revocation(
            kind="subject",
            cutoff=NOW + second * SECOND,
            spared_session=spared,
            expires_at=None if life is None else NOW + life * SECOND,
            reason=f"act {i}",
        )
        for i, (second, spared, life) in enumerate(acts)
    ]


def add_all(store: Store, acts: Acts) -> Revocation:
    """Add revocations under one key, and give what the domain makes of them."""
    made = make_all(acts)
    for act in made:
        store.add([act])
    (merged,) = merge(made)
    return merged


@pytest.mark.parametrize("acts", ACTS)
def test_two_under_one_key_are_merged_as_the_domain_does(
    store: Store, acts: Acts
) -> None:
    merged = add_all(store, acts)
    assert found(store, merged.key) == [merged]


@pytest.mark.parametrize("acts", ACTS)
def test_one_is_merged_with_several_at_once(store: Store, acts: Acts) -> None:
    first, *others = made = make_all(acts)
    store.add([first])
    store.add(others)
    assert found(store, first.key) == merge(made)


def test_no_plan_of_revocations_accepts_an_ended_login_again(store: Store) -> None:
    """The plans of issue 5, side by side in one store: each has its own issuer."""
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
    """Cut a list of keys into lists of 100, the most that one statement takes well."""
    return (keys[i : i + 100] for i in range(0, len(keys), 100))


def found_for(store: Store, keys: list[bytes]) -> list[Revocation]:
    """Find what is revoked under keys of tokens of ada."""
    return store.find(keys, subject="ada")


def test_changes_tells_everything_and_then_the_news(store: Store) -> None:
    a, b, c = revocation("a"), revocation("b"), revocation("c", subject="ada")
    nothing, empty = news(store, None)
    assert nothing == set()
    store.add([a])
    keys, cursor = news(store, None)
    assert keys == {a.key}
    store.add([b])
    keys, cursor = news(store, cursor)
    assert {b.key} <= keys <= {a.key, b.key}
    store.add([c])
    keys, cursor = news(store, cursor)
    assert {c.key} <= keys <= {a.key, b.key, c.key}
    # Whoever has the key already asks the store about it.
    store.add([replace(a, expires_at=None)])
    assert news(store, cursor)[0] <= {a.key, b.key, c.key}
    assert news(store, empty)[0] == {a.key, b.key, c.key}


def test_nothing_is_missed_beside_writers(store: Store) -> None:
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
            keys, cursor = news(store, cursor)
            seen.update(keys)

    write(made[0])
    run_at_once([read, *(partial(write, part) for part in made[1:])])
    seen |= news(store, cursor)[0]
    assert seen == {x.key for part in made for x in part}


def test_sixteen_threads_on_the_same_keys_lose_nothing(store: Store) -> None:
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


def test_purge_leaves_what_is_needed(store: Store) -> None:
    now = store.inspect().read_clock()
    dead = [revocation(f"dead {i}", expires_at=now - i * SECOND) for i in range(1, 6)]
    live = [revocation("live"), revocation("never", expires_at=None)]
    store.add([*dead, *live])
    while store.purge(now, batch=2) == 2:
        pass
    assert found(store, *(x.key for x in dead)) == []
    assert found(store, *(x.key for x in live)) == sorted(live, key=attrgetter("key"))
    assert store.inspect().count_expired(now) == 0
    tallies = store.inspect().count_kinds(now)
    assert [tallies[kind].live for kind in KINDS] == [2, 0, 0, 0]


def test_clear_forgets_everything(store: Store) -> None:
    store.add([revocation(str(i), subject=str(i)) for i in range(10)])
    store.inspect().clear()
    assert news(store, None)[0] == set()
    tallies = store.inspect().count_kinds(NOW)
    assert [tallies[kind].live for kind in KINDS] == [0, 0, 0, 0]
