"""How sessions are kept in Redis."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from pathlib import Path

import pytest

from flask_logout import OutcomeUnknownError
from flask_logout import StoreUnavailableError
from flask_logout.domain.rotation import Record
from flask_logout.domain.rotation import Rotation
from flask_logout.domain.rotation import Session
from flask_logout.stores.redis import sessions as sessions_module
from flask_logout.stores.redis.records import to_milliseconds
from flask_logout.stores.sessions import SessionTally

from .redis_servers import running_url
from .redis_servers import Server
from .sessions import DAY
from .sessions import end_of
from .sessions import GRACE
from .sessions import InRedis
from .sessions import list_all
from .sessions import make_session
from .sessions import NOW
from .sessions import opened_redis
from .sessions import rotate
from .sessions import SECOND

NEVER = timedelta(0)
FOREIGN = "Redis has a key that starts with LOGOUT_TABLE_NAME"


@pytest.fixture
def stores() -> t.Iterator[InRedis]:
    """Empty stores on a single server."""
    with opened_redis(running_url()) as stores:
        yield stores


def expiry_of(stores: InRedis, name: bytes) -> datetime | None:
    """Return when Redis deletes a key, or ``None`` if never."""
    (milliseconds,) = stores.run("PEXPIRETIME", name)
    assert milliseconds != -2
    if milliseconds == -1:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


def expiries(stores: InRedis, session: Session) -> list[datetime | None]:
    """Return when Redis deletes a session, and the set of its user."""
    names = (stores.name_of(session), stores.name_of_set(session))
    return [expiry_of(stores, x) for x in names]


def test_sessions_and_their_set_expire_with_the_longest_retention(
    stores: InRedis,
) -> None:
    store, begin = stores.sessions(), NOW.replace(microsecond=0)
    one, two, three = (begin + x * DAY for x in (1, 2, 3))
    first = make_session("first", kept_until=two)
    second = make_session("second", kept_until=one)
    store.start(first)
    assert expiries(stores, first) == [two, two]
    store.start(second)
    assert expiries(stores, second) == [one, two]
    rotate(store, second, 0, kept_until=one - SECOND)
    assert expiries(stores, second) == [one, two]
    rotate(store, second, 0, kept_until=three)
    assert expiries(stores, second) == [three, three]
    rotate(store, second, 1, kept_until=None)
    assert expiries(stores, second) == [None, None]
    rotate(store, second, 2, kept_until=three)
    store.start(make_session("third", kept_until=three))
    assert expiries(stores, second) == [None, None]
    other = make_session("other", subject="eve", kept_until=None)
    rotate(store, other, 0)
    assert expiries(stores, other) == [None, None]


def test_a_fraction_of_a_millisecond_is_rounded_up(stores: InRedis) -> None:
    until = NOW + DAY
    session = make_session(kept_until=until)
    stores.sessions().start(session)
    (milliseconds,) = stores.run("PEXPIRETIME", stores.name_of(session))
    assert milliseconds == to_milliseconds(until)


def test_deleted_sessions_are_removed_from_the_set(stores: InRedis) -> None:
    store = stores.sessions()
    made = [make_session(f"{i}", created_at=NOW - i * SECOND) for i in range(8)]
    for session in made:
        store.start(session)
    for session in made[3:]:
        stores.run("DEL", stores.name_of(session))
    size = ("ZCARD", stores.name_of_set(made[0]))
    assert stores.run(*size) == [8]
    store.start(make_session("new"))
    assert stores.run(*size) == [5]
    assert {x.sid for x in list_all(store)} == {"new", "0", "1", "2"}
    assert stores.run(*size) == [4]


def test_a_set_that_is_missing_does_not_prevent_a_refresh(stores: InRedis) -> None:
    store, session = stores.sessions(), make_session()
    store.start(session)
    stores.run("DEL", stores.name_of_set(session))
    later = NOW + 9 * DAY
    assert rotate(store, session, 0, kept_until=later) == Rotation("rotated", 1)


def test_a_list_is_complete_although_each_script_reads_a_few_sessions(
    stores: InRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "_SCANNED", 3)
    store = stores.sessions()
    # They differ in their keys only.
    made = [make_session(f"{i}") for i in range(130)]
    for session in made:
        store.start(session)
    ordered = sorted(made, key=lambda x: x.key, reverse=True)
    revoked, active = ordered[:40] + ordered[50:120], ordered[40:50] + ordered[120:]
    stores.revocations.add([end_of(x) for x in revoked])
    for limit in (1, 3, 19, 20, 21):
        found = list_all(store, limit=limit)
        assert [x.key for x in found] == [x.key for x in active]


def test_sessions_are_no_revocations(stores: InRedis) -> None:
    store, session = stores.sessions(), make_session()
    store.start(session)
    inspection = stores.revocations.inspect()
    keys = list(stores.revocations.changes(None).keys)
    assert keys == []
    assert {x.live for x in inspection.count_kinds(NOW).values()} == {0}
    assert stores.revocations.find([session.key]) == []
    store.end(end_of(session), session.subject_key)
    inspection.clear()
    assert [x.sid for x in list_all(store)] == ["a"]
    store.inspect().clear()
    stores.revocations.add([end_of(session)])
    store.inspect().clear()
    assert len(stores.revocations.find([session.key])) == 1
    assert store.inspect().count(NOW) == SessionTally()


def test_any_text_is_stored_unchanged(stores: InRedis) -> None:
    store, session = stores.sessions(), make_session(label="\x00 \ud800 \n")
    store.start(session)
    (found,) = list_all(store)
    assert found == replace(session, last_seen_at=found.last_seen_at)


@pytest.mark.parametrize(
    ("field", "value", "is_found"),
    [
        ("generation", "x", False),
        ("parent", "x", False),
        ("created_at", "x", True),
        ("created_at", "9" * 30, True),
        ("label", b"\xff", True),
    ],
)
def test_values_of_other_programs_make_the_store_unavailable(
    stores: InRedis, field: str, value: t.Any, is_found: bool
) -> None:
    store, session = stores.sessions(), make_session()
    store.start(session)
    stores.run("HSET", stores.name_of(session), field, value)
    with pytest.raises(StoreUnavailableError, match=FOREIGN):
        list_all(store)
    if is_found:
        assert store.find(session.key, subject="ada") is not None
        return
    with pytest.raises(StoreUnavailableError, match=FOREIGN):
        store.find(session.key, subject="ada")
    if field == "generation":
        with pytest.raises(StoreUnavailableError):
            rotate(store, session, 0)


@pytest.mark.parametrize("field", ["generation", "created_at", "sid", "subject_key"])
def test_a_session_without_a_field_makes_the_store_unavailable(
    stores: InRedis, field: str
) -> None:
    store, session = stores.sessions(), make_session()
    store.start(session)
    stores.run("HDEL", stores.name_of(session), field)
    with pytest.raises(StoreUnavailableError, match=FOREIGN):
        list_all(store)


@pytest.mark.parametrize("grace", [NEVER, GRACE])
def test_a_key_of_another_type_makes_the_store_unavailable(
    stores: InRedis, grace: timedelta
) -> None:
    store, session = stores.sessions(grace), make_session()
    store.start(make_session("other"))
    stores.run("SET", stores.name_of(session), "x")
    stores.run("ZADD", stores.name_of_set(session), 1, session.key)
    works: list[t.Callable[[], object]] = [
        lambda: store.find(session.key, subject="ada"),
        lambda: rotate(store, session, 0),
        lambda: store.end(end_of(session), session.subject_key),
        lambda: list_all(store),
        lambda: store.inspect().count(NOW),
    ]
    for work in works:
        with pytest.raises(StoreUnavailableError, match="WRONGTYPE") as caught:
            work()
        assert type(caught.value) is StoreUnavailableError
    stores.run("DEL", stores.name_of(session))


@pytest.mark.parametrize("grace", [NEVER, GRACE])
def test_a_server_may_forget_its_scripts(stores: InRedis, grace: timedelta) -> None:
    store, session = stores.sessions(grace), make_session()
    message = store.inspect().create()
    assert message.startswith("Nothing to create: redis://")
    assert message.endswith(" needs no table of sessions.")
    for _ in range(2):
        stores.run("SCRIPT FLUSH")
        store.start(session)
        assert rotate(store, session, 0) == Rotation("rotated", 1)
        assert len(list_all(store)) == 1
        assert store.find(session.key, subject="ada") is not None
        assert store.revoke_once(end_of(session))
        assert store.end(end_of(session), session.subject_key)
        stores.clear()


def test_a_clock_that_is_set_back_makes_no_token_valid(stores: InRedis) -> None:
    session = make_session()
    stores.sessions().start(session)
    rotate(stores.sessions(), session, 0)
    stores.age(session, -DAY)
    for late_retry in (False, True):
        store = stores.sessions(NEVER, late_retry=late_retry)
        found = Record(session.subject_key, 1, 0, False)
        assert store.find(session.key, subject="ada") == found
    assert rotate(stores.sessions(NEVER), session, 0) == Rotation("reuse", 1)


@pytest.mark.infrastructure
def test_the_end_of_a_session_waits_for_replicas(tmp_path: Path) -> None:
    with Server(tmp_path / "server", "--save", "") as server:
        timeout = 2 * SECOND
        with opened_redis(server.url, timeout, replicas=1) as stores:
            store, session = stores.sessions(), make_session()
            store.start(session)
            assert not store.end(end_of(session), bytes(16))
            for _ in range(2):
                with pytest.raises(OutcomeUnknownError, match="0 of 1 replicas"):
                    store.end(end_of(session), session.subject_key)
            other = end_of(make_session("other"))
            with pytest.raises(OutcomeUnknownError, match="0 of 1 replicas"):
                store.revoke_once(other)
            # The caller that has stored it waits.
            assert not store.revoke_once(other)
