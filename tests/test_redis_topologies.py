"""No logout is lost in Redis behind Sentinels, in a Cluster, or with replicas."""

from __future__ import annotations

import os
import signal
import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from flask_logout import ConfigError
from flask_logout import OutcomeUnknownError
from flask_logout import StoreUnavailableError
from flask_logout.domain.revocation import Revocation
from flask_logout.stores.redis import RedisStore
from flask_logout.stores.redis.url import read_url

from .conftest import MakeApp
from .proxy import free_port
from .proxy import Proxy
from .redis_servers import cluster
from .redis_servers import moving
from .redis_servers import running_url
from .redis_servers import Server
from .redis_servers import watched
from .revocations import revocation
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

pytestmark = pytest.mark.infrastructure

TIMEOUT = timedelta(seconds=4)


@pytest.fixture
def make_store() -> t.Iterator[t.Callable[..., RedisStore]]:
    """Make stores, and close them in the end."""
    made: list[RedisStore] = []

    def make(url: str, **options: t.Any) -> RedisStore:
        made.append(RedisStore(url, **{"timeout": TIMEOUT, **options}))
        return made[-1]

    yield make
    for store in made:
        store.client.close()


MakeStore = t.Callable[..., RedisStore]


def test_checks_and_logouts_follow_a_failover(
    make_app: MakeApp, tmp_path: Path
) -> None:
    with watched(tmp_path / "redis") as servers:
        app = make_app(
            LOGOUT_STORE_URI=servers.url, LOGOUT_REDIS_WAIT=1, LOGOUT_TIMEOUT=8
        )
        client, before, after = app.test_client(), make_pair(app), make_pair(app)
        assert log_out(client, before).data == LOGGED_OUT
        # The first Sentinel in the URL stops as well.
        servers.sentinels[0].stop()
        servers.fail_over()
        # The new primary has no replica that could acknowledge the write.
        assert log_out(client, after).status_code == 503
        assert get_status(client, before) == (401, 401)
        app.extensions["logout"].store.client.close()


def test_a_write_that_a_replica_acknowledged_survives_a_failover(
    make_store: MakeStore, tmp_path: Path
) -> None:
    with watched(tmp_path / "redis") as servers:
        store = make_store(servers.url, replicas=1)
        kept = [revocation(f"kept {i}") for i in range(200)]
        for each in kept:
            store.add([each])
        with pytest.raises(OutcomeUnknownError, match="a replica became the primary"):
            store._wait(0, [revocation("never stored")])
        # The replica receives no more writes.
        os.kill(servers.replica.process.pid, signal.SIGSTOP)
        with pytest.raises(OutcomeUnknownError, match="0 of 1 replicas"):
            store.add([revocation("lost")])
        os.kill(servers.replica.process.pid, signal.SIGCONT)
        servers.fail_over()
        found = [x for each in kept for x in store.find([each.key])]
        assert len(found) == len(kept)


def test_a_repeated_write_also_waits_for_replicas(
    make_store: MakeStore, tmp_path: Path
) -> None:
    with Server(tmp_path / "primary", "--save", "") as server:
        store = make_store(server.url, replicas=1, timeout=TIMEOUT / 8)
        for _ in range(2):
            with pytest.raises(OutcomeUnknownError, match="0 of 1 replicas"):
                store.add([revocation()])
        server.stop()
        with pytest.raises(OutcomeUnknownError, match="ConnectionError"):
            store.client.wait_for_replicas([b"a"], b"b", 1)


def test_a_cluster_waits_for_the_replica_of_a_slot(
    make_store: MakeStore, tmp_path: Path
) -> None:
    with cluster(tmp_path / "cluster", replicas=1) as nodes:
        url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        store = make_store(url, replicas=1, timeout=4 * TIMEOUT)
        greedy = make_store(url, replicas=2, timeout=TIMEOUT)
        made = [revocation(str(i), subject=f"user {i}") for i in range(20)]
        for each in made:
            store.add([each])
            assert store.find([each.key], subject=each.subject)[0].key == each.key
        with pytest.raises(OutcomeUnknownError, match="1 of 2 replicas"):
            greedy.add([made[0]])


def test_a_cluster_is_found_by_any_of_its_nodes(
    make_store: MakeStore, tmp_path: Path
) -> None:
    with cluster(tmp_path / "cluster") as nodes:
        port = nodes[1].port
        url = f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{port}"
        store = make_store(url)
        store.add([revocation(subject="ada")])
        assert len(store.find([revocation().key], subject="ada")) == 1


def test_nothing_is_missed_while_slots_are_moved(
    make_store: MakeStore, tmp_path: Path
) -> None:
    """Checks and logouts are redirected (ASK, MOVED), and retried (TRYAGAIN)."""
    with cluster(tmp_path / "cluster") as nodes:
        store = make_store(
            f"redis+cluster://127.0.0.1:{nodes[0].port}", timeout=4 * TIMEOUT
        )
        made = [revocation(str(i), subject=f"user {i}") for i in range(40)]
        store.add(made)
        answered = 0
        for slot, keys in sorted(keys_by_slot(nodes).items())[:8]:
            theirs = [x for x in made if x.key in keys]
            added = [revocation(x.key.hex(), subject=x.subject) for x in theirs]
            with moving(nodes, slot, "logout_revocation:*"):
                answered += sum(is_found(store, x) for x in theirs)
                stored = [x for x in added if is_stored(store, x)]
                answered += len(stored)
            for each in (*theirs, *stored):
                found = store.find([each.key], subject=each.subject)
                assert [x.key for x in found] == [each.key]
        assert answered > 0


def keys_by_slot(nodes: t.Sequence[Server]) -> dict[int, set[bytes]]:
    """List the revocations in each slot of a Cluster."""
    keys: dict[int, set[bytes]] = {}
    for node in nodes:
        with node.client() as client:
            for name in client.keys("logout_revocation:*"):
                keys.setdefault(key_slot(name), set()).add(name[-16:])
    return keys


def is_found(store: RedisStore, made: Revocation) -> bool:
    """Return whether a check succeeds. If it does, the result must be right."""
    try:
        found = store.find([made.key], subject=made.subject)
    except StoreUnavailableError:
        return False
    assert [x.key for x in found] == [made.key]
    return True


def is_stored(store: RedisStore, made: Revocation) -> bool:
    """Return whether a write is acknowledged."""
    try:
        store.add([made])
    except StoreUnavailableError:
        return False
    return True


def test_two_apps_in_one_database_are_independent(
    make_store: MakeStore,
) -> None:
    ours, theirs = (
        make_store(running_url(), table_name=name) for name in ("shop", "shop_2")
    )
    ours.inspect().clear()
    theirs.inspect().clear()
    ours.add([revocation()])
    assert theirs.find([revocation().key]) == []
    assert list(theirs.changes(None).keys) == []
    theirs.add([revocation()])
    theirs.inspect().clear()
    assert len(ours.find([revocation().key])) == 1
    assert ours.inspect().count_kinds(datetime.now(timezone.utc))["token"].live == 1
    ours.inspect().clear()


def test_the_stream_contains_only_new_keys(make_store: MakeStore) -> None:
    store = make_store(running_url(), table_name="growing")
    store.inspect().clear()
    now = datetime.now(timezone.utc)
    for i in range(50):
        cutoff = now - timedelta(seconds=50 - i)
        store.add(
            [user_revocation(cutoff), revocation(expires_at=now + TIMEOUT * (9 + i))]
        )
    with redis.Redis.from_url(running_url()) as client:
        (stream,) = client.keys("growing:*changes")
        # The first entry of every stream, and one entry with both keys.
        assert client.xlen(stream) == 2
    assert store.find([user_revocation(now).key])[0].cutoff == now - timedelta(
        seconds=1
    )
    store.inspect().clear()


def test_a_redis_write_whose_reply_is_lost_has_an_unknown_outcome(
    make_store: MakeStore, tmp_path: Path
) -> None:
    with Server(tmp_path / "server", "--save", "") as server:
        with Proxy("127.0.0.1", server.port) as proxy:
            store = make_store(f"redis://127.0.0.1:{proxy.port}", timeout=TIMEOUT / 8)
            store.add([revocation("a")])
            proxy.cut_replies(times=9)
            with pytest.raises(OutcomeUnknownError):
                store.add([revocation("b")])
            proxy.heal()
            assert len(store.find([revocation("b").key])) == 1
            proxy.refuse()
            with pytest.raises(StoreUnavailableError) as refused:
                store.add([revocation("c")])
            assert not isinstance(refused.value, OutcomeUnknownError)


@pytest.mark.parametrize(
    ("url", "kind", "place", "hosts"),
    [
        ("redis://:pw@h/3", "single", "redis://h:6379/3", []),
        (
            "rediss+cluster://u:pw@a:1,b",
            "cluster",
            "a:1,b:6379",
            [("a", 1), ("b", 6379)],
        ),
        (
            "redis+sentinel://a,b:2/svc/3",
            "sentinel",
            "a:26379,b:2/svc",
            [("a", 26379), ("b", 2)],
        ),
        ("redis+sentinel://:pw@[::1]:5/s", "sentinel", "::1:5/s", [("::1", 5)]),
    ],
)
def test_urls_are_parsed(
    url: str, kind: str, place: str, hosts: list[tuple[str, int]]
) -> None:
    address = read_url(url)
    assert address.kind == kind
    assert address.place.endswith(place)
    assert list(address.hosts) == hosts
    assert "pw" not in repr(address)
    assert address.options.get("password") in (None, "pw")


def test_sentinels_can_have_their_own_credentials() -> None:
    query = "sentinel_username=su&sentinel_password=sp&health_check_interval=5"
    address = read_url(f"rediss+sentinel://u:p@a/s/2?{query}")
    assert address.sentinel_options == {"username": "su", "password": "sp", "ssl": True}
    expected = {"username": "u", "password": "p", "db": 2, "ssl": True}
    assert address.options == {**expected, "health_check_interval": 5}


def test_waiting_for_replicas_requires_redis(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError) as caught:
        make_app(LOGOUT_REDIS_WAIT=1)
    assert str(caught.value) == (
        "Invalid LOGOUT_REDIS_WAIT: 1. It needs a Redis URL in LOGOUT_STORE_URI. Set"
        " that, or remove LOGOUT_REDIS_WAIT."
    )


def user_revocation(cutoff: datetime) -> Revocation:
    """Make a revocation of a user."""
    return Revocation(
        b"u" * 16, "subject", cutoff + timedelta(days=30), cutoff=cutoff, subject=None
    )


def test_a_thread_waits_for_another_one_to_connect_until_the_timeout(
    make_store: MakeStore,
) -> None:
    store = make_store(running_url(), timeout=TIMEOUT / 20)
    with store.client._ready._lock():
        with pytest.raises(StoreUnavailableError, match="another thread"):
            store.find([bytes(16)])
    assert store.find([bytes(16)]) == []
    assert store.inspect().read_last_expiry() is None
