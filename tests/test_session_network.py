"""The round trips of stores of sessions, and answers that get lost."""

from __future__ import annotations

import math
import typing as t
from contextlib import contextmanager
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from flask_logout import OutcomeUnknownError
from flask_logout import StoreUnavailableError
from flask_logout.domain.rotation import Record
from flask_logout.domain.rotation import Rotation

from .proxy import proxied
from .proxy import Proxy
from .redis_servers import cluster
from .redis_servers import cluster_url
from .redis_servers import Server
from .redis_servers import wait_until
from .sessions import check_and_rotate
from .sessions import end_of
from .sessions import GRACE
from .sessions import list_all
from .sessions import make_session
from .sessions import Opened
from .sessions import opened_redis
from .sessions import opened_sql
from .sessions import rotate
from .sessions import rotate_unrevoked
from .sessions import SECOND
from .sessions import show

pytestmark = pytest.mark.infrastructure

KINDS = ["postgresql+psycopg", "postgresql+psycopg2", "mysql+pymysql", "redis"]
CUTS = ["requests", "replies"]
WARM = 8
# Shorter than what a repetition can take.
SHORT = SECOND / 100
NEVER = 0 * SECOND

Reached = tuple[Opened, Proxy]


@pytest.fixture(scope="module", params=KINDS)
def place(request: pytest.FixtureRequest) -> t.Iterator[Reached]:
    """The stores of each kind, behind a proxy."""
    with proxied(request.param) as (url, proxy):
        is_redis = request.param == "redis"
        with (opened_redis if is_redis else opened_sql)(show(url)) as stores:
            yield stores, proxy


@pytest.fixture
def reached(place: Reached) -> t.Iterator[Reached]:
    """Empty stores of each kind, behind a proxy that works in the end."""
    stores, proxy = place
    stores.clear()
    yield place
    proxy.heal()


@contextmanager
def cut(proxy: Proxy, what: str, times: float = 1) -> t.Iterator[None]:
    """Cut connections during the block, in the middle of requests or of replies."""
    getattr(proxy, f"cut_{what}")(times)
    yield
    proxy.heal()


@pytest.mark.parametrize("grace", [NEVER, GRACE])
def test_each_method_takes_one_round_trip(reached: Reached, grace: t.Any) -> None:
    stores, proxy = reached
    store = stores.sessions(grace)
    trips: list[int] = []

    def count(work: t.Callable[[], object]) -> None:
        proxy.reset()
        work()
        trips.append(proxy.round_trips)

    # Drivers prepare a statement after some executions, which takes another round trip.
    for number in range(WARM):
        session = make_session(f"{number}")
        trips.clear()
        count(partial(store.start, session))
        count(partial(rotate, store, session, 0))
        count(partial(store.find, session.key, subject="ada"))
        count(partial(rotate_unrevoked, store, session, 1))
        count(partial(list_all, store))
        count(partial(store.end, end_of(session), session.subject_key))
        count(partial(store.revoke_once, end_of(make_session(f"new {number}"))))
    is_checked = not stores.needs_two_statements
    assert trips == [1, 1, 1, int(is_checked), 1, 1, 1]


@pytest.mark.parametrize("what", CUTS)
@pytest.mark.parametrize("exchange", [rotate, check_and_rotate])
def test_a_rotation_is_repeated_within_the_grace_period(
    reached: Reached, exchange: t.Any, what: str
) -> None:
    stores, proxy = reached
    store, session = stores.sessions(GRACE), make_session()
    store.start(session)
    with cut(proxy, what):
        rotation = exchange(store, session, 0)
    # The statement whose answer was lost has made the generation.
    outcome: t.Any = "rotated" if what == "requests" else "repeated"
    assert rotation == Rotation(outcome, 1)
    assert rotate(store, session, 0) == Rotation("repeated", 1)


@pytest.mark.parametrize("what", CUTS)
def test_an_adoption_is_repeated_within_the_grace_period(
    reached: Reached, what: str
) -> None:
    stores, proxy = reached
    store, session = stores.sessions(GRACE), make_session()
    assert store.find(session.key, subject="ada") is None
    with cut(proxy, what):
        assert rotate(store, session, 4).generation == 5
    assert rotate(store, session, 4) == Rotation("repeated", 5)


@pytest.mark.parametrize(
    ("what", "grace"), [("requests", NEVER), ("replies", NEVER), ("replies", SHORT)]
)
@pytest.mark.parametrize("exchange", [rotate, check_and_rotate])
def test_a_rotation_is_not_repeated_after_the_grace_period(
    reached: Reached, exchange: t.Any, what: str, grace: t.Any
) -> None:
    stores, proxy = reached
    store, session = stores.sessions(grace), make_session()
    store.start(session)
    proxy.slow(delay=0.02)
    with cut(proxy, what), pytest.raises(OutcomeUnknownError):
        exchange(store, session, 0)
    is_done = what == "replies"
    record = store.find(session.key, subject="ada")
    assert record is not None
    assert record[:3] == (session.subject_key, *((1, 0) if is_done else (0, None)))


@pytest.mark.parametrize("grace", [NEVER, GRACE])
def test_a_rotation_that_was_never_acknowledged_has_an_unknown_outcome(
    reached: Reached, grace: t.Any
) -> None:
    stores, proxy = reached
    store, session = stores.sessions(grace), make_session()
    store.start(session)
    with cut(proxy, "replies", math.inf), pytest.raises(OutcomeUnknownError):
        rotate(store, session, 0)
    found = store.find(session.key, subject="ada")
    assert found == Record(session.subject_key, 1, 0, bool(grace))


@pytest.mark.parametrize("grace", [NEVER, GRACE])
def test_a_rotation_that_was_never_sent_has_a_known_outcome(
    reached: Reached, grace: t.Any
) -> None:
    stores, proxy = reached
    store, session = stores.sessions(grace), make_session()
    store.start(session)
    proxy.refuse()
    with pytest.raises(StoreUnavailableError):
        rotate(store, session, 0)
    with pytest.raises(StoreUnavailableError) as caught:
        rotate(store, session, 0)
    assert type(caught.value) is StoreUnavailableError
    proxy.heal()
    assert rotate(store, session, 0) == Rotation("rotated", 1)


@pytest.mark.parametrize("what", CUTS)
def test_sessions_are_stored_and_read_if_a_connection_breaks(
    reached: Reached, what: str
) -> None:
    stores, proxy = reached
    store, session = stores.sessions(), make_session()
    assert list_all(store) == []
    with cut(proxy, what):
        store.start(session)
    with cut(proxy, what):
        found = store.find(session.key, subject="ada")
    assert found == Record(session.subject_key, 0, None, False)
    with cut(proxy, what):
        assert [x.sid for x in list_all(store)] == ["a"]
    with cut(proxy, what, math.inf), pytest.raises(StoreUnavailableError) as caught:
        list_all(store)
    assert type(caught.value) is StoreUnavailableError


@pytest.mark.parametrize("what", CUTS)
def test_a_revocation_is_reported_as_new_if_its_answer_is_lost(
    reached: Reached, what: str
) -> None:
    stores, proxy = reached
    store, session = stores.sessions(), make_session()
    store.start(session)
    with cut(proxy, what):
        assert store.revoke_once(end_of(session))
    assert not store.revoke_once(end_of(session))
    with cut(proxy, what):
        assert store.end(end_of(session), session.subject_key)
    with cut(proxy, what):
        assert not store.end(end_of(session), bytes(16))
    with cut(proxy, "replies", math.inf), pytest.raises(OutcomeUnknownError):
        store.revoke_once(end_of(make_session("b")))
    assert list_all(store) == []
    with cut(proxy, "replies", math.inf), pytest.raises(OutcomeUnknownError):
        store.end(end_of(session), session.subject_key)


@pytest.mark.parametrize("what", CUTS)
def test_a_cluster_repeats_a_rotation_only_within_the_grace_period(
    tmp_path: Path, what: str
) -> None:
    with cluster(tmp_path / "cluster") as nodes, ExitStack() as stack:
        proxies = [stack.enter_context(announce_proxy(x, nodes)) for x in nodes]
        stores = stack.enter_context(opened_redis(cluster_url(nodes[0])))
        for grace in (GRACE, NEVER):
            store, session = stores.sessions(grace), make_session(f"{grace}")
            store.start(session)
            client = stores.revocations.client._get()
            node = client.get_node_from_key(stores.name_of(session))
            (proxy,) = [x for x in proxies if x.port == node.port]
            with cut(proxy, what):
                if grace:
                    assert rotate(store, session, 0).generation == 1
                else:
                    with pytest.raises(OutcomeUnknownError):
                        rotate(store, session, 0)
            found = store.find(session.key, subject="ada")
            is_done = bool(grace) or what == "replies"
            assert found is not None
            assert found.generation == is_done


@contextmanager
def announce_proxy(node: Server, nodes: t.Sequence[Server]) -> t.Iterator[Proxy]:
    """Start a proxy in front of a server of a Cluster, which clients have to use."""
    with Proxy("127.0.0.1", node.port) as proxy:
        with node.client() as client:
            client.config_set("cluster-announce-port", proxy.port)
        wait_until(lambda: all(is_announced(x, proxy.port) for x in nodes))
        yield proxy


def is_announced(node: Server, port: int) -> bool:
    """Return whether a server of a Cluster tells clients to use a port."""
    with node.client() as client:
        return f":{port}" in str(client.execute_command("CLUSTER NODES"))
