"""What every store of sessions does, on every kind of database."""

from __future__ import annotations

import time
import typing as t
from collections import Counter
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from itertools import product

import psycopg
import pytest
import sqlalchemy as sa

from flask_logout.domain.revocation import Revocation
from flask_logout.domain.revocation_keys import make_key
from flask_logout.domain.rotation import is_ended
from flask_logout.domain.rotation import Policy
from flask_logout.domain.rotation import Record
from flask_logout.domain.rotation import REJECTED
from flask_logout.domain.rotation import rotate as rotate_in_theory
from flask_logout.domain.rotation import Rotation
from flask_logout.domain.rotation import Session
from flask_logout.stores.sessions import SessionStore
from flask_logout.stores.sessions import SessionTally
from flask_logout.stores.sqlalchemy.session_statements import bind_values

from .conftest import new_database
from .conftest import SERVERS
from .sessions import COVERING
from .sessions import DAY
from .sessions import end_of
from .sessions import follow
from .sessions import GRACE
from .sessions import keys_of
from .sessions import KINDS
from .sessions import list_all
from .sessions import make_session
from .sessions import NOW
from .sessions import Opened
from .sessions import opened
from .sessions import opened_sql
from .sessions import rotate
from .sessions import rotate_unrevoked
from .sessions import SECOND
from .sessions import show
from .sessions import SPREAD
from .threads import run_at_once

NEVER = timedelta(0)
TEXTS = ["Ünal", "山田 \N{PILE OF POO}", "%s \\ ' \"", "x" * 255]

# What happens to a generation, if the current one is 3 and was made from 2.
EXPECTED = {
    (GRACE, False, "young"): "reuse reuse repeated repeated rotated rotated",
    (GRACE, False, "old"): "reuse reuse reuse rotated rotated rotated",
    (GRACE, True, "young"): "reuse reuse repeated repeated rotated rotated",
    (GRACE, True, "old"): "reuse reuse replaced rotated rotated rotated",
    (NEVER, False, "young"): "reuse reuse reuse rotated rotated rotated",
    (NEVER, True, "young"): "reuse reuse replaced rotated rotated rotated",
}


@pytest.fixture(scope="module", params=[*KINDS, *SPREAD])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Opened]:
    """The stores of each kind."""
    with opened(request.param, tmp_path_factory.mktemp("sessions")) as place:
        yield place


@pytest.fixture
def stores(place: Opened) -> t.Iterator[Opened]:
    """Empty stores of each kind."""
    place.clear()
    yield place


def read(store: SessionStore, session: Session) -> Session:
    """Read an active session."""
    found = list_all(store, subject=t.cast(str, session.subject))
    (one,) = [x for x in found if x.key == session.key]
    return one


# Rotation


@pytest.mark.parametrize(("grace", "late_retry", "age"), EXPECTED)
def test_each_generation_has_the_documented_outcome(
    stores: Opened, grace: timedelta, late_retry: bool, age: str
) -> None:
    store = stores.sessions(grace, late_retry=late_retry)
    expected = EXPECTED[grace, late_retry, age].split()
    for presented, outcome in enumerate(expected):
        session = make_session(f"{presented}")
        advance(stores, session)
        if age == "old":
            stores.age(session, 2 * GRACE)
        is_young = age == "young" and grace > NEVER
        record = Record(session.subject_key, 3, 2, is_young)
        assert store.find(session.key, subject="ada") == record
        theory = rotate_in_theory(
            record, session.subject_key, presented, Policy(grace, late_retry)
        )
        before = read(store, session)
        time.sleep(0.002)  # The clock of SQLite has milliseconds.
        rotation = rotate(store, session, presented, expires_at=NOW + 3 * DAY)
        assert rotation == theory
        assert rotation.outcome == outcome
        after = read(store, session)
        if outcome in REJECTED:
            assert after == before
            assert store.find(session.key, subject="ada") == record
            continue
        assert t.cast(datetime, after.last_seen_at) > t.cast(
            datetime, before.last_seen_at
        )
        parent = 2 if outcome == "repeated" else presented
        assert after == replace(
            before,
            generation=rotation.generation,
            parent=parent,
            expires_at=NOW + 3 * DAY,
            last_seen_at=after.last_seen_at,
        )
        assert store.find(session.key, subject="ada") == Record(
            session.subject_key, rotation.generation, parent, grace > NEVER
        )


def advance(stores: Opened, session: Session) -> None:
    """Store a session whose generation is 3."""
    store = stores.sessions(NEVER)
    store.start(session)
    for presented in range(3):
        assert rotate(store, session, presented) == Rotation("rotated", presented + 1)


INSTANTS = [NOW - 2 * SECOND, NOW, NOW + SECOND]


def make_revocations(session: Session) -> t.Iterator[Revocation]:
    """Make revocations that cover a session, and others that don't."""
    others = make_session("other", subject="eve")
    spared = [None, session.key, session.any_issuer_key, others.key]
    for key in (session.key, COVERING[0], COVERING[3], others.subject_key):
        made = Revocation(key, "subject", NOW + DAY, subject="ada")
        yield made
        for cutoff, spared_session in product(INSTANTS, spared):
            made = replace(made, cutoff=cutoff, spared_session=spared_session)
            yield made
            if spared_session is not None:
                yield from (replace(made, spared_after=x) for x in INSTANTS)


def test_no_revoked_session_is_rotated(stores: Opened) -> None:
    store = stores.sessions()
    outcomes: Counter[bool] = Counter()
    session = make_session()
    for revocation in make_revocations(session):
        stores.clear()
        # A token may be older than the row, if the app gives the same sid to both.
        store.start(replace(session, created_at=NOW + DAY))
        stores.revocations.add([revocation])
        is_revoked = revocation.key in keys_of(session) and is_ended(
            session, [revocation]
        )
        rotation = rotate_unrevoked(store, session, 0)
        if rotation is None:
            record = store.find(session.key, subject="ada")
            assert record == Record(session.subject_key, 0, None, False)
            following = follow(session, 0)
            assert store.rotate(following, is_second=True) == Rotation("rotated", 1)
        else:
            assert not is_revoked
            assert rotation == Rotation("rotated", 1)
            assert rotate(store, session, 0) == Rotation("repeated", 1)
        outcomes[rotation is None] += 1
        can_check = not stores.needs_two_statements
        assert (rotation is not None) == (can_check and not is_revoked)
    assert outcomes[True] > 50


def test_the_grace_period_is_not_extended_by_repetitions(stores: Opened) -> None:
    store, session = stores.sessions(), make_session()
    advance(stores, session)
    for _ in range(2):
        stores.age(session, GRACE * 0.4)
        assert rotate(store, session, 2) == Rotation("repeated", 3)
    stores.age(session, GRACE * 0.4)
    assert rotate(store, session, 2).outcome == "reuse"


def test_a_replaced_successor_is_stale(stores: Opened) -> None:
    store, session = stores.sessions(late_retry=True), make_session()
    advance(stores, session)
    stores.age(session, 2 * GRACE)
    assert rotate(store, session, 2) == Rotation("replaced", 4)
    assert rotate(store, session, 2) == Rotation("repeated", 4)
    assert rotate(store, session, 3).outcome == "reuse"
    assert rotate(store, session, 4) == Rotation("repeated", 4)
    stores.age(session, 2 * GRACE)
    assert rotate(store, session, 2) == Rotation("replaced", 5)
    assert rotate(store, session, 5) == Rotation("repeated", 5)


def test_the_first_generation_is_never_young(stores: Opened) -> None:
    store, session = stores.sessions(), make_session()
    store.start(session)
    record = Record(session.subject_key, 0, None, False)
    assert store.find(session.key, subject="ada") == record
    assert rotate(store, session, 0) == Rotation("rotated", 1)


def test_starting_a_session_again_changes_nothing(stores: Opened) -> None:
    store, session = stores.sessions(), make_session()
    store.start(session)
    before = read(store, session)
    assert before == replace(session, last_seen_at=before.last_seen_at)
    store.start(replace(session, label="other", generation=7))
    assert read(store, session) == before


@pytest.mark.parametrize("presented", [0, 6, (1 << 53) - 1])
@pytest.mark.parametrize("grace", [NEVER, GRACE])
def test_an_unknown_session_is_adopted(
    stores: Opened, presented: int, grace: timedelta
) -> None:
    store, session = stores.sessions(grace), make_session(label="phone")
    assert store.find(session.key, subject="ada") is None
    following = presented + 1
    assert rotate(store, session, presented) == Rotation("adopted", following)
    adopted = read(store, session)
    assert adopted == replace(
        session,
        generation=following,
        parent=presented,
        last_seen_at=adopted.last_seen_at,
    )
    again = rotate(store, session, presented)
    if grace:
        assert again == Rotation("repeated", following)
    else:
        assert again.outcome == "reuse"


def test_a_session_of_another_user_is_refused(stores: Opened) -> None:
    store, session = stores.sessions(), make_session()
    advance(stores, session)
    before = read(store, session)
    # In a Cluster, both users have to be in the same slot.
    other = replace(session, subject_key=make_key("subject", None, "eve"))
    for presented in (2, 3, 9):
        assert rotate(store, other, presented).outcome == "refused"
    assert read(store, session) == before


@pytest.mark.parametrize("days", [*product((1, 2, 3, None), repeat=2)])
def test_the_longer_retention_is_stored(
    stores: Opened, days: tuple[int | None, int | None]
) -> None:
    old, new = (None if x is None else NOW + x * DAY for x in days)
    store, session = stores.sessions(), make_session(kept_until=old)
    store.start(session)
    later = None if old is None or new is None else max(old, new)
    for presented in (0, 0, 1):
        rotate(store, session, presented, kept_until=new, expires_at=new)
        after = read(store, session)
        assert (after.kept_until, after.expires_at) == (later, new)


def test_times_by_the_clock_of_the_store_are_set(stores: Opened) -> None:
    store, session = stores.sessions(), make_session()
    began = stores.revocations.inspect().read_clock()
    store.start(session)
    started = read(store, session).last_seen_at
    rotate(store, session, 0)
    rotated = read(store, session).last_seen_at
    ended = stores.revocations.inspect().read_clock()
    assert started is not None
    assert rotated is not None
    # SQLite's clock has milliseconds.
    moment = timedelta(milliseconds=1)
    assert began - moment <= started <= rotated <= ended + moment


@pytest.mark.parametrize("text", TEXTS)
def test_texts_with_any_characters_are_stored(stores: Opened, text: str) -> None:
    store = stores.sessions()
    session = make_session(text, user_agent=text, ip_address=text, label=text)
    store.start(session)
    after = read(store, session)
    assert after == replace(session, last_seen_at=after.last_seen_at)


@pytest.mark.parametrize("driver", ["mysql+pymysql", "postgresql+psycopg"])
def test_texts_are_escaped_if_the_database_cannot_store_them(driver: str) -> None:
    is_mariadb = driver.startswith("mysql")
    options = "CHARACTER SET latin1"
    if not is_mariadb:
        options = "ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'"
    with new_database(driver, options) as url, opened_sql(show(url)) as stores:
        store = stores.sessions()
        for text in TEXTS:
            session = make_session(text, label=text)
            assert rotate(store, session, 0) == Rotation("adopted", 1)
            after = read(store, session)
            escaped = text.encode("ascii", "backslashreplace").decode()
            assert (after.sid, after.label) == (escaped, escaped)


# Lists


def test_sessions_are_listed_from_new_to_old(stores: Opened) -> None:
    store = stores.sessions()
    made = [make_session(f"{i}", created_at=NOW - i // 3 * SECOND) for i in range(20)]
    for session in made:
        store.start(session)
    store.start(make_session("other", subject="eve"))
    expected = sorted(made, key=lambda x: (x.created_at, x.key), reverse=True)
    keys = [x.key for x in expected]
    for limit in (1, 2, 3, 7, 20, 21):
        assert [x.key for x in list_all(store, limit=limit)] == keys
    assert [x.sid for x in list_all(store, subject="eve")] == ["other"]
    assert list_all(store, subject="nobody") == []


def test_expired_sessions_are_not_listed(stores: Opened) -> None:
    store = stores.sessions()
    store.start(make_session("expired", expires_at=NOW))
    store.start(make_session("active", expires_at=NOW + timedelta(microseconds=1)))
    store.start(make_session("forever", expires_at=None, kept_until=None))
    assert {x.sid for x in list_all(store)} == {"active", "forever"}
    assert [x.sid for x in list_all(store, now=NOW + DAY)] == ["forever"]


def revocation(kind: t.Any, key: bytes, **values: t.Any) -> Revocation:
    """Make a revocation that covers sessions of ``ada``."""
    return Revocation(key, kind, NOW + DAY, **values)


@pytest.mark.parametrize("subject", ["ada", None])
def test_revoked_sessions_are_not_listed(stores: Opened, subject: str | None) -> None:
    store = stores.sessions()
    made = [make_session(f"{i}") for i in range(6)]
    for session in made:
        store.start(session)
    stores.revocations.add(
        [
            revocation("session", made[1].key, subject=subject),
            revocation("session", made[3].any_issuer_key, subject=subject),
        ]
    )
    for limit in (1, 2, 4, 5):
        found = {x.sid for x in list_all(store, limit=limit)}
        assert found == {"0", "2", "4", "5"}


@pytest.mark.parametrize("key", COVERING)
@pytest.mark.parametrize("subject", ["ada", None])
def test_covered_sessions_are_not_listed(
    stores: Opened, key: bytes, subject: str | None
) -> None:
    store = stores.sessions()
    made = [make_session(f"{i}", created_at=NOW - i * SECOND) for i in range(9)]
    for session in made:
        store.start(session)
    kind = "subject" if key in COVERING[:2] else "everyone"
    cutoff = NOW - 3 * SECOND
    covering = revocation(
        kind, key, cutoff=cutoff, spared_session=made[5].key, subject=subject
    )
    stores.revocations.add([covering])
    for limit in (1, 2, 3, 4, 10):
        found = [x.sid for x in list_all(store, limit=limit)]
        assert found == ["0", "1", "2", "5"]
    later = replace(
        covering, cutoff=NOW - 2 * SECOND, spared_session=made[6].any_issuer_key
    )
    stores.revocations.add([later])
    # The earlier revocation has ended that session.
    assert [x.sid for x in list_all(store)] == ["0", "1"]
    stores.revocations.inspect().clear()
    assert len(list_all(store)) == 9
    stores.revocations.add([replace(covering, cutoff=None)])
    assert list_all(store) == []


def test_a_spared_session_that_began_later_is_listed(stores: Opened) -> None:
    store = stores.sessions()
    old, new = make_session("old", created_at=NOW - 5 * SECOND), make_session("new")
    for session in (old, new):
        store.start(session)
    for cutoff, spared in [(NOW - 3 * SECOND, None), (NOW, new.any_issuer_key)]:
        key = COVERING[1]
        stores.revocations.add(
            [revocation("subject", key, cutoff=cutoff, spared_session=spared)]
        )
    found = store.list_active(old.subject_key, COVERING, NOW, subject="ada", limit=9)
    assert [x.sid for x in found] == ["new"]
    # Without the keys of the other revocations, only those of the session count.
    found = store.list_active(old.subject_key, [], NOW, subject="ada", limit=9)
    assert [x.sid for x in found] == ["new", "old"]


def test_many_revoked_sessions_do_not_hide_active_ones(stores: Opened) -> None:
    store = stores.sessions()
    made = [make_session(f"{i}") for i in range(250)]
    for session in made:
        store.start(session)
    ordered = sorted(made, key=lambda x: x.key, reverse=True)
    stores.revocations.add([end_of(x) for x in ordered[3:-2]])
    expected = [x.sid for x in ordered[:3] + ordered[-2:]]
    for limit in (1, 4, 5, 6):
        assert [x.sid for x in list_all(store, limit=limit)] == expected


# Ends


def test_a_user_can_end_only_their_own_sessions(stores: Opened) -> None:
    store, mine = stores.sessions(), make_session()
    store.start(mine)
    eve = make_session("other", subject="eve").subject_key
    unknown = make_session("unknown")
    assert not store.end(end_of(mine), eve)
    assert not store.end(end_of(unknown), mine.subject_key)
    assert find(stores, mine, unknown) == []
    for expires_at in (NOW + DAY, NOW + 2 * DAY, NOW + DAY):
        ending = end_of(mine, reason="山", expires_at=expires_at)
        assert store.end(ending, mine.subject_key)
        assert find(stores, mine) == [mine.key]
    assert list_all(store) == []
    assert mine.key in set(read_keys(stores))


def test_ending_a_session_reaches_mirrors(stores: Opened) -> None:
    store = stores.sessions()
    first, second = make_session("a"), make_session("b")
    store.start(first)
    page = stores.revocations.changes(None)
    while page.has_more:
        page = stores.revocations.changes(page.cursor)
    assert store.end(end_of(first), first.subject_key)
    assert store.revoke_once(end_of(second))
    keys: set[bytes] = set()
    has_more = True
    while has_more:
        page = stores.revocations.changes(page.cursor)
        keys |= set(page.keys)
        has_more = page.has_more
    assert {first.key, second.key} <= keys


def find(stores: Opened, *sessions: Session) -> list[bytes]:
    """Return which of some sessions have been revoked."""
    keys = [x.key for x in sessions]
    found = stores.revocations.find(keys, subject=sessions[0].subject)
    return [x.key for x in found]


def read_keys(stores: Opened) -> t.Iterator[bytes]:
    """Read the keys of all revocations, as a mirror does."""
    page = stores.revocations.changes(None)
    yield from page.keys
    while page.has_more:
        page = stores.revocations.changes(page.cursor)
        yield from page.keys


def test_one_of_many_callers_has_stored_the_revocation(stores: Opened) -> None:
    store, session = stores.sessions(), make_session()
    ending = end_of(session, reason="山")
    results: list[bool] = []
    run_at_once([lambda: results.append(store.revoke_once(ending))] * 16)
    assert Counter(results) == {True: 1, False: 15}
    assert find(stores, session) == [session.key]
    assert not store.revoke_once(replace(ending, reason=None))


# Threads


def present_at_once(
    store: SessionStore, session: Session, presented: int
) -> Counter[Rotation]:
    """Present one token in 32 threads."""
    found: list[Rotation] = []
    run_at_once([lambda: found.append(rotate(store, session, presented))] * 32)
    return Counter(found)


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("grace", [NEVER, GRACE])
def test_parallel_refreshes_agree(
    stores: Opened, is_known: bool, grace: timedelta
) -> None:
    assert_agreement(stores, is_known, grace)


def assert_agreement(stores: Opened, is_known: bool, grace: timedelta) -> None:
    """Assert that one refresh of many makes a generation, and that others agree."""
    store, session = stores.sessions(grace), make_session()
    if is_known:
        store.start(session)
    first = Rotation("rotated" if is_known else "adopted", 1)
    other = Rotation("repeated" if grace else "reuse", 1)
    assert present_at_once(store, session, 0) == {first: 1, other: 31}
    if grace:
        stores.age(session, 2 * grace)
        second, third = Rotation("rotated", 2), Rotation("repeated", 2)
        assert present_at_once(store, session, 1) == {second: 1, third: 31}
    assert len(list_all(store)) == 1


LEVELS = ["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("driver", ["mysql+pymysql", "postgresql+psycopg"])
def test_parallel_refreshes_agree_at_every_isolation_level(
    driver: str, level: str
) -> None:
    option = {"init_command": f"SET SESSION TRANSACTION ISOLATION LEVEL {level}"}
    if driver.startswith("postgresql"):
        name = level.lower().replace(" ", "\\ ")
        option = {"options": f"-c default_transaction_isolation={name}"}
    with new_database(driver) as url:
        with opened_sql(show(url.update_query_dict(option))) as stores:
            assert_level(t.cast(t.Any, stores.revocations).engine, level)
            for is_known, grace in product([False, True], [NEVER, GRACE]):
                assert_agreement(stores, is_known, grace)
                stores.clear()
            test_one_of_many_callers_has_stored_the_revocation(stores)


def assert_level(engine: t.Any, level: str) -> None:
    """Assert that an isolation level is in effect."""
    query = "SHOW transaction_isolation"
    if engine.dialect.name != "postgresql":
        query = "SELECT replace(@@tx_isolation, '-', ' ')"
    rows, _ = engine.execute(sa.text(query))
    assert rows[0][0].upper() == level


# Purge and administration


def test_sessions_are_deleted_once_they_have_passed_by_both_clocks(
    stores: Opened,
) -> None:
    store, now = stores.sessions(), datetime.now(timezone.utc)
    for days in (-3, -2, -1, 1):
        store.start(make_session(f"{days}", kept_until=now + days * DAY))
    store.start(make_session("forever", kept_until=None))
    is_sql = hasattr(stores.revocations, "engine")
    purged = [store.purge(now, batch=2) for _ in range(3)]
    assert purged == ([2, 1, 0] if is_sql else [0, 0, 0])
    assert {x.sid for x in list_all(store)} == {"1", "forever"}
    has_clock = is_sql and t.cast(t.Any, store)._dialect != "sqlite"
    late = now + 2 * DAY
    assert store.purge(late, batch=2) == (is_sql and not has_clock)
    assert store.purge(now - 9 * DAY, batch=2) == 0
    assert "forever" in {x.sid for x in list_all(store)}


def test_sessions_are_counted_and_cleared(stores: Opened) -> None:
    store = stores.sessions()
    inspection = store.inspect()
    assert inspection.count(NOW) == SessionTally()
    # The clock of the database may be behind that of the caller.
    past = NOW - DAY
    store.start(make_session("expired", expires_at=past))
    store.start(make_session("live", subject="eve"))
    store.start(make_session("forever", expires_at=None))
    stores.revocations.add([end_of(make_session("live"))])
    assert inspection.count(NOW) == SessionTally(live=2, expired=1)
    assert inspection.list_problems() == []
    inspection.clear()
    assert inspection.count(NOW) == SessionTally()
    assert list_all(store) == []
    store.start(make_session())
    assert len(list_all(store)) == 1


# Drivers


@pytest.mark.parametrize("driver", SERVERS)
def test_each_driver_tells_what_a_statement_has_changed(driver: str) -> None:
    with new_database(driver) as url, opened_sql(show(url)) as stores:
        store, session = stores.sessions(late_retry=True), make_session(label="Ł % %s")
        assert rotate(store, make_session("new"), 7) == Rotation("adopted", 8)
        store.start(session)
        store.start(session)
        assert rotate(store, session, 0) == Rotation("rotated", 1)
        for presented in (0, 1, 0):
            assert rotate(store, session, presented) == Rotation("repeated", 1)
        assert rotate(store, session, 2) == Rotation("rotated", 3)
        stores.age(session, 2 * GRACE)
        assert rotate(store, session, 2) == Rotation("replaced", 4)
        assert rotate(store, session, 0) == Rotation("reuse", 4)
        other = replace(session, subject_key=bytes(16))
        assert rotate(store, other, 4) == Rotation("refused", 4)
        assert [x.sid for x in list_all(store, limit=1)].count("new") == 1
        assert store.revoke_once(end_of(session))
        assert not store.revoke_once(end_of(session))
        assert store.end(end_of(session), session.subject_key)
        assert not store.end(end_of(session), bytes(16))
        (left,) = list_all(store)
        assert left.sid == "new"
        assert store.purge(NOW + 9 * DAY, batch=5) == 0


def test_two_refreshes_in_one_microsecond_are_told_apart() -> None:
    with new_database("postgresql+psycopg") as url, opened_sql(show(url)) as stores:
        store, session = stores.sessions(), make_session()
        store.start(session)
        compiled = store._rotate(0).compile(dialect=sa.create_engine(url).dialect)
        values = {"parent": 0, "expires_at": None, "kept_until": None}
        bound = {"session_key": session.key, "owner": session.subject_key}
        parameters = compiled.construct_params(bound | bind_values(values))
        place = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(place) as connection:
            cursor = psycopg.ClientCursor(connection)
            # Statements that are sent together have the same time.
            cursor.execute(f"{compiled}; {compiled}".encode(), parameters)
            assert cursor.fetchall() == [(1, True)]
            assert cursor.nextset()
            assert cursor.fetchall() == [(1, False)]
