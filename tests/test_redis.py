"""The Redis store, on a single server and on a Cluster."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import subprocess
import sys
import time
import typing as t
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis
from redis.crc import key_slot

from flask_logout import ConfigError
from flask_logout import StoreUnavailableError
from flask_logout.domain.revocation import KINDS
from flask_logout.stores import Tally
from flask_logout.stores.redis import RedisStore
from flask_logout.stores.redis.inspection import log_problems
from flask_logout.stores.redis.pages import PAGE

from .conftest import MakeApp
from .proxy import free_port
from .proxy import interrupted
from .proxy import Proxy
from .redis_servers import cluster
from .redis_servers import cluster_url
from .redis_servers import is_synced
from .redis_servers import running_url
from .redis_servers import Server
from .redis_servers import server_with_reply
from .redis_servers import wait_until
from .revocations import A
from .revocations import ACTS
from .revocations import Acts
from .revocations import add_acts
from .revocations import assert_unavailable
from .revocations import B
from .revocations import found
from .revocations import NOW
from .revocations import revocation
from .revocations import SECOND
from .threads import run_at_once
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import UNAVAILABLE

TIMEOUT = timedelta(seconds=0.5)
# The longest time that a busy machine may take to notice a timeout, in seconds.
BUSY = 15
PREFIX = "logout_revocation:{00}"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[list[Server]]:
    """The servers of a Cluster."""
    with cluster(tmp_path_factory.mktemp("redis") / "cluster") as nodes:
        yield nodes


@pytest.fixture(params=["single", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a single server, and of a Cluster."""
    if request.param == "single":
        return running_url()
    nodes: list[Server] = request.getfixturevalue("nodes")
    return cluster_url(nodes[0])


@pytest.fixture
def server(tmp_path: Path) -> t.Iterator[Server]:
    """A server that only this test uses, without snapshots."""
    with Server(tmp_path / "server", "--save", "") as server:
        yield server


@pytest.fixture
def store(url: str) -> t.Iterator[RedisStore]:
    """An empty store on a single server, and on a Cluster."""
    yield from opened(url)


@pytest.fixture
def single() -> t.Iterator[RedisStore]:
    """An empty store on a single server."""
    yield from opened(running_url())


@pytest.fixture
def spread(nodes: list[Server]) -> t.Iterator[RedisStore]:
    """An empty store on a Cluster."""
    yield from opened(cluster_url(nodes[0]))


def opened(url: str) -> t.Iterator[RedisStore]:
    """Open an empty store, and clear it in the end."""
    store = RedisStore(url, timeout=8 * TIMEOUT)
    store.inspect().clear()
    yield store
    store.inspect().clear()
    store.client.close()


def read_all(store: RedisStore, cursor: object | None = None) -> tuple[t.Any, object]:
    """Read every page after a cursor. Return the keys and the last cursor."""
    page = store.changes(cursor)
    keys = list(page.keys)
    while page.has_more:
        page = store.changes(page.cursor)
        keys += page.keys
    return keys, page.cursor


def ttl_of(store: RedisStore, key: bytes) -> int:
    """Read when a key without a subject expires, in milliseconds since 1970."""
    (answer,) = store.client.run([("PEXPIRETIME", PREFIX.encode() + key)])
    return int(answer)


@pytest.mark.parametrize("value", ["\x00", "\ud800"])
def test_texts_that_databases_reject_are_stored_unchanged(
    store: RedisStore, value: str
) -> None:
    made = revocation(value, subject=value, token_id=value, reason=value, actor=value)
    store.add([made])
    assert found(store, made.key, subject=value) == [made]


def test_adding_twice_is_not_reported_as_a_change(store: RedisStore) -> None:
    store.add([revocation()])
    _, cursor = read_all(store)
    store.add([revocation(), revocation(reason="second")])
    assert read_all(store, cursor) == ([], cursor)


def test_a_key_that_is_passed_twice_is_found_once(store: RedisStore) -> None:
    store.add([revocation()])
    assert len(store.find([revocation().key] * 2, subject=None)) == 1


@pytest.mark.parametrize("acts", ACTS)
def test_a_key_expires_at_the_latest_expires_at(store: RedisStore, acts: Acts) -> None:
    merged = add_acts(store, acts)
    expires_at = merged.expires_at
    # Rounded up, so 123,456 microseconds become 124 milliseconds.
    expected = -1 if expires_at is None else int(expires_at.timestamp()) * 1000 + 124
    assert ttl_of(store, merged.key) == expected


def test_a_revocation_is_deleted_when_it_expires_and_not_before(
    store: RedisStore,
) -> None:
    key = revocation().key
    soon = store.inspect().read_clock() + timedelta(seconds=0.3)
    store.add([revocation(expires_at=soon)])
    while store.find([key], subject=None):
        time.sleep(0.01)
    assert store.inspect().read_clock() >= soon
    store.add([revocation(expires_at=soon)])
    store.add([revocation(expires_at=datetime(1969, 1, 1, tzinfo=timezone.utc))])
    assert store.find([key], subject=None) == []
    assert store.purge(NOW, batch=1) == 0


def test_an_expired_revocation_does_not_shorten_an_unexpired_one(
    store: RedisStore,
) -> None:
    store.add([revocation(expires_at=None)])
    store.add([revocation(expires_at=NOW - timedelta(days=36500))])
    assert found(store, revocation().key) == [revocation(expires_at=None)]


def test_changes_returns_what_was_added_since(store: RedisStore) -> None:
    assert store.changes(None).total == 0
    _, cursor = read_all(store)
    store.add([revocation("a")])
    assert set(read_all(store, cursor)[0]) == {revocation("a").key}
    _, cursor = read_all(store)
    store.add([revocation("b", subject="ada"), revocation("c", subject="bob")])
    keys, later = read_all(store, cursor)
    assert sorted(keys) == sorted([revocation("b").key, revocation("c").key])
    assert read_all(store, later) == ([], later)
    # The reader knows the key already.
    store.add([revocation("a", expires_at=None)])
    assert read_all(store, later) == ([], later)
    assert set(read_all(store)[0]) == {revocation(x).key for x in "abc"}


def test_changes_reads_page_by_page(store: RedisStore) -> None:
    _, cursor = read_all(store)
    made = [revocation(str(i)) for i in range(2 * PAGE + 10)]
    keys = sorted(x.key for x in made)
    store.add(made)
    (first, *_) = pages = [store.changes(None)]
    while pages[-1].has_more:
        pages.append(store.changes(pages[-1].cursor))
    assert first.total is not None
    assert [page.total for page in pages[1:]] == [None] * (len(pages) - 1)
    assert len(pages) > 2
    assert sorted({key for page in pages for key in page.keys}) == keys
    assert sorted(set(read_all(store, cursor)[0])) == keys


def test_the_total_excludes_keys_of_other_programs(single: RedisStore) -> None:
    theirs = [f"test_redis:{i}" for i in range(3 * PAGE)]
    single.add([revocation(str(i)) for i in range(3 * PAGE)])
    with redis.Redis.from_url(running_url()) as client:
        try:
            client.mset(dict.fromkeys(theirs, ""))
            total = single.changes(None).total
        finally:
            client.unlink(*theirs)
    assert total is not None
    assert 0.8 * 3 * PAGE < total < 1.2 * 3 * PAGE


def test_a_long_stream_is_read_page_by_page(single: RedisStore) -> None:
    single.add([revocation("first")])
    _, cursor = read_all(single)
    names = [b"%016d" % i for i in range(PAGE + 5)]
    stream = f"{PREFIX}changes"
    with redis.Redis.from_url(running_url()) as client:
        with client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.xadd(stream, {name: ""})
            pipeline.execute()
    page = single.changes(cursor)
    assert (page.keys, page.has_more) == (names[:PAGE], True)
    page = single.changes(page.cursor)
    assert (page.keys, page.has_more) == (names[PAGE:], False)


def test_a_reader_starts_again_if_the_stream_was_trimmed(
    store: RedisStore,
) -> None:
    store.add([revocation("a"), revocation("b")])
    _, cursor = read_all(store)
    store.add([revocation("c")])
    store.add([revocation("d")])
    store.client.run([("XTRIM", f"{PREFIX}changes", "MAXLEN", "=", 1)])
    assert set(read_all(store, cursor)[0]) == {revocation(x).key for x in "abcd"}


def test_a_reader_starts_again_if_the_store_was_cleared(store: RedisStore) -> None:
    store.add([revocation("a")])
    _, cursor = read_all(store)
    store.inspect().clear()
    store.add([revocation("b")])
    assert read_all(store, cursor)[0] == [revocation("b").key]


def test_a_reader_starts_again_if_a_new_stream_reuses_an_id(
    store: RedisStore,
) -> None:
    store.add([revocation("a")])
    _, cursor = read_all(store)
    stream = f"{PREFIX}changes"
    ((last, _),) = store.client.run([("XREVRANGE", stream, "+", "-", "COUNT", 1)])[0]
    store.inspect().clear()
    store.add([revocation("b")])
    # Reuse the id, as if all of this had happened within one millisecond.
    again = [("0-1", "", ""), (last, revocation("b").key, "")]
    store.client.run([("DEL", stream)])
    store.client.run([("XADD", stream, *entry) for entry in again])
    assert read_all(store, cursor)[0] == [revocation("b").key]


def test_the_stream_keeps_entries_for_a_day(store: RedisStore) -> None:
    stream = f"{PREFIX}changes"
    day = timedelta(days=1)
    now = store.inspect().read_clock()
    ages = [day * 1.01] * 1000 + [day * 0.99] * 5
    for i, age in enumerate(ages):
        at = int((now - age).timestamp() * 1000)
        store.client.run([("XADD", stream, f"{at}-{i + 1}", b"%016d" % i, "")])
    store.add([revocation()])
    ((first, _), *rest) = store.client.run([("XRANGE", stream, "-", "+")])[0]
    # Redis trims a stream in steps of a hundred entries.
    assert 6 <= len(rest) + 1 < 6 + 100


def test_a_reader_starts_again_if_the_server_restarted(
    tmp_path: Path,
) -> None:
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with Server(tmp_path / "server", *options) as server:
        store = RedisStore(server.url, timeout=TIMEOUT)
        store.add([revocation(str(i)) for i in range(2 * PAGE)])
        page = store.changes(None)
        server.stop()
        server.start()
        again = store.changes(page.cursor)
        assert again.total is not None
        assert len(set(read_all(store, again.cursor)[0]) | set(again.keys)) == 2 * PAGE
        store.client.close()


def test_a_reader_starts_again_if_its_server_left_the_cluster(
    spread: RedisStore,
) -> None:
    spread.add([revocation("a")])
    page = spread.changes(None)
    cursor: t.Any = page.cursor
    gone = replace(cursor.scan, nodes=["127.0.0.1:1", *cursor.scan.nodes])
    again = spread.changes(replace(cursor, scan=gone))
    assert again.total is not None


def test_an_add_that_fails_stores_nothing(server: Server) -> None:
    store = RedisStore(server.url, timeout=TIMEOUT)
    with server.client() as client:
        client.set(f"{PREFIX}changes", "not a stream")
        with pytest.raises(StoreUnavailableError, match="WRONGTYPE"):
            store.add([revocation("a"), revocation("b")])
        client.delete(f"{PREFIX}changes")
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailableError, match="maxmemory"):
            store.add([revocation("a"), revocation("b")])
        assert client.dbsize() == 0
        client.config_set("maxmemory", 0)
    store.add([revocation("a"), revocation("b")])
    assert len(found(store, revocation("a").key, revocation("b").key)) == 2
    store.client.close()


def test_a_key_that_is_not_a_stream_makes_the_store_unavailable(
    spread: RedisStore,
) -> None:
    spread.client.run([("SET", f"{PREFIX}changes", "not a stream")])
    with pytest.raises(StoreUnavailableError, match="WRONGTYPE") as caught:
        spread.changes(None)
    assert "logout_revocation:{" not in str(caught.value)
    with pytest.raises(StoreUnavailableError, match="WRONGTYPE"):
        spread.add([revocation()])


def test_the_script_is_sent_again_after_a_flush(store: RedisStore) -> None:
    store.inspect().create()
    store.add([revocation("a")])
    for node in store.client.names_of_nodes():
        store.client.run_on(node, [("SCRIPT FLUSH",)])
    store.add([revocation("b")])
    assert len(found(store, revocation("a").key, revocation("b").key)) == 2


def test_a_closed_connection_in_the_pool_is_replaced(store: RedisStore) -> None:
    store.add([revocation()])
    _, cursor = read_all(store)
    for node in store.client.names_of_nodes():
        store.client.run_on(node, [("CLIENT KILL", "TYPE", "normal", "SKIPME", "yes")])
        host = running_url() if "://" in node else f"redis://{node}"
        with redis.Redis.from_url(host) as client:
            client.execute_command("CLIENT KILL", "TYPE", "normal", "SKIPME", "yes")
    assert found(store, revocation().key) == [revocation()]
    assert read_all(store, cursor)[0] == []


@pytest.mark.parametrize("part", ["requests", "replies"])
def test_a_command_is_retried_once_if_its_connection_is_cut(
    server: Server, part: str
) -> None:
    with Proxy("127.0.0.1", server.port) as proxy:
        store = RedisStore(f"redis://127.0.0.1:{proxy.port}", timeout=TIMEOUT)
        store.add([revocation()])
        before = store.find([revocation().key])
        cut = {"requests": proxy.cut_requests, "replies": proxy.cut_replies}[part]
        cut(1)
        assert store.find([revocation().key]) == before
        cut(1)
        store.add([revocation("b")])
        assert found(store, revocation("b").key) == [revocation("b")]
        assert len(read_all(store)[0]) == 2
        proxy.reset()
        store.find([A, B, revocation().key])
        store.add([revocation("c"), revocation("d")])
        assert proxy.round_trips == 2
        cut(1 << 10)
        with pytest.raises(StoreUnavailableError):
            store.find([A])
        proxy.heal()
        assert store.find([revocation().key]) == before
        store.client.close()


def test_no_caller_receives_the_reply_to_an_interrupted_command(server: Server) -> None:
    with Proxy("127.0.0.1", server.port) as proxy:
        store = RedisStore(f"redis://127.0.0.1:{proxy.port}", timeout=TIMEOUT)
        store.add([revocation()])
        works: list[t.Callable[[], object]] = [
            lambda: store.find([revocation().key]),
            lambda: store.add([revocation("b")]),
            lambda: store.changes(None),
        ]
        proxy.slow(delay=0.1)
        for work in works:
            with interrupted(after=0.1):
                work()
            work()
            assert store.find([A]) == []
            assert found(store, revocation().key) == [revocation()]
        store.client.close()


def test_a_stopped_server_is_unavailable_until_it_starts_again(server: Server) -> None:
    store = RedisStore(server.url, timeout=TIMEOUT)
    store.add([revocation()])
    server.stop()
    started = time.monotonic()
    assert_unavailable(store, f"127.0.0.1:{server.port}")
    with pytest.raises(StoreUnavailableError):
        store.inspect().count_expired(NOW)
    log_problems(store.inspect())
    assert time.monotonic() - started < BUSY
    server.start()
    assert store.find([revocation().key]) == []
    store.client.close()


def test_a_stalled_server_is_unavailable_within_the_timeout(server: Server) -> None:
    store = RedisStore(server.url, timeout=2 * TIMEOUT)
    assert store.find([A]) == []
    server.process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="Timeout"):
        store.find([A])
    assert time.monotonic() - started < BUSY
    server.process.send_signal(signal.SIGCONT)
    assert store.find([A]) == []
    store.client.close()


def test_a_forked_worker_opens_its_own_connections(store: RedisStore) -> None:
    store.add([revocation("parent")])
    pid = os.fork()
    if not pid:
        code = 1
        try:
            for i in range(20):
                store.add([revocation(f"child {i}")])
                store.find([revocation(f"child {i}").key], subject=None)
            code = 0
        finally:
            os._exit(code)
    for _ in range(20):
        assert found(store, revocation("parent").key) == [revocation("parent")]
    assert os.waitpid(pid, 0)[1] == 0
    assert found(store, revocation("child 19").key) == [revocation("child 19")]


def test_threads_that_start_together_share_a_client(server: Server) -> None:
    errors: list[Exception] = []

    def check(store: RedisStore) -> None:
        try:
            store.find([A])
        except Exception as e:
            errors.append(e)

    for _ in range(30):
        store = RedisStore(server.url, timeout=8 * TIMEOUT)
        run_at_once([partial(check, store)] * 30)
        store.client.close()
    assert errors == []


@pytest.mark.parametrize(
    "reply",
    [
        b"+OK\r\n",
        b"$-1\r\n",
        b":1\r\n",
        b"*1\r\n$1\r\nx\r\n",
        b"*0\r\n",
        b"$1\r\n\xff\r\n",
    ],
)
def test_no_malformed_reply_looks_like_a_valid_one(reply: bytes) -> None:
    with server_with_reply(reply) as url:
        store = RedisStore(url, timeout=4 * TIMEOUT)
        works: list[t.Callable[[], object]] = [
            lambda: store.find([A, B]),
            lambda: store.changes(None),
            lambda: store.inspect().count_kinds(NOW),
        ]
        for work in works:
            with pytest.raises(StoreUnavailableError):
                work()
        # These two may accept the reply, but must not raise anything else.
        for look in (store.inspect().read_clock, store.inspect().list_problems):
            with suppress(StoreUnavailableError):
                look()
        store.client.close()


EXPECTED_URL = (
    "Invalid LOGOUT_STORE_URI. Expected redis://host:port/database, rediss://"
)


def test_a_unix_socket_works(tmp_path: Path) -> None:
    # The path of a socket is limited to about a hundred characters, so tmp_path is too long.
    with TemporaryDirectory() as directory:
        socket = f"{directory}/redis.sock"
        with Server(tmp_path / "server", "--unixsocket", socket):
            store = RedisStore(f"unix://{socket}?db=3", timeout=TIMEOUT)
            store.add([revocation()])
            assert found(store, revocation().key) == [revocation()]
            assert store.inspect().place == f"unix://{socket}?db=3"
            store.client.close()


def test_no_message_contains_the_password(tmp_path: Path) -> None:
    with Server(tmp_path / "server", "--requirepass", "s3cret") as server:
        place = f"127.0.0.1:{server.port}"
        for scheme in ("redis", "redis+cluster"):
            for credentials in ("", "ada:s3cret-wrong@", ":s3cret-wrong@"):
                uri = f"{scheme}://{credentials}{place}"
                store = RedisStore(uri, timeout=TIMEOUT)
                with pytest.raises(StoreUnavailableError) as caught:
                    store.find([A], subject=None)
                assert "s3cret" not in str(caught.value)
                assert f"{store.client.place}: " in str(caught.value)
                assert place in store.client.place
                assert "s3cret" not in store.inspect().place
        store = RedisStore(f"redis://:s3cret@{place}", timeout=TIMEOUT)
        assert store.find([A]) == []
        store.client.close()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://user:s3cret@host", EXPECTED_URL),
        ("redis+http://user:s3cret@host", EXPECTED_URL),
        ("redis://:s3cret@host:port", EXPECTED_URL),
        ("redis://:s3cret@host?socket_timeout=x", EXPECTED_URL),
        ("redis://host?decode_responses=1", "it contains decode_responses, but"),
        ("redis+cluster://:s3cret@host/1", EXPECTED_URL),
        ("redis+cluster://:s3cret@", EXPECTED_URL),
        ("redis+cluster://:s3cret@host,", EXPECTED_URL),
        ("redis+sentinel://:s3cret@host", EXPECTED_URL),
        ("redis+sentinel://:s3cret@host:port/service", EXPECTED_URL),
    ],
)
def test_an_invalid_url_raises_a_config_error(uri: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RedisStore(uri, timeout=TIMEOUT)
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_missing_redis_package_raises_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "flask_logout.stores.redis"
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError, match=r"pip install 'flask-logout\[redis\]'"):
        importlib.import_module(name)


def test_redis_rejects_the_argument_session(single: RedisStore) -> None:
    session: t.Any = object()
    with pytest.raises(ConfigError) as caught:
        single.join(session)
    assert str(caught.value) == (
        "The argument session requires revocations to be stored in one of the app's own"
        " databases, but LOGOUT_STORE_URI is a Redis URL, and Redis can't take part in a"
        " database transaction. Remove the argument, or remove LOGOUT_STORE_URI."
    )


def test_a_value_of_another_program_makes_the_store_unavailable(
    single: RedisStore,
) -> None:
    name = PREFIX.encode() + A
    for value in ("", "x", "1795349003433337[]", '1795349003433337{"a":1}', "1" * 99):
        single.client.run([("SET", name, value)])
        with pytest.raises(
            StoreUnavailableError, match="but was not written by Flask-Logout"
        ):
            single.find([A])


def test_counting_and_clearing_ignore_keys_of_other_programs(store: RedisStore) -> None:
    look = store.inspect()
    look.create()
    assert look.count_kinds(NOW) == {kind: Tally() for kind in KINDS}
    foreign = "test_redis:foreign"
    store.client.run([("SET", foreign, "x")])
    store.add([revocation("a", subject="ada"), revocation("b", expires_at=None)])
    store.add([revocation("c", kind="subject", subject="bob")])
    tallies = look.count_kinds(NOW + SECOND)
    assert (tallies["token"].live, tallies["token"].expired) == (1, 1)
    assert (tallies["subject"].live, tallies["subject"].expired) == (0, 1)
    assert tallies["everyone"] == Tally()
    oldest, newest = tallies["token"].oldest, tallies["token"].newest
    assert oldest is not None and newest is not None
    assert oldest <= newest <= look.read_clock()
    assert look.count_expired(NOW) == 0
    assert look.count_expired(NOW + SECOND) == 2
    look.clear()
    assert look.count_kinds(NOW) == {kind: Tally() for kind in KINDS}
    assert store.client.run([("GETDEL", foreign)]) == [b"x"]


def problems_of(server: Server, replicas: int = 0) -> list[str]:
    """List the problems of a server, without the name of the server."""
    store = RedisStore(server.url, timeout=TIMEOUT, replicas=replicas)
    problems = store.inspect().list_problems()
    store.client.close()
    prefix = f"redis://127.0.0.1:{server.port}/0: "
    assert all(problem.startswith(prefix) for problem in problems)
    return [problem[len(prefix) :] for problem in problems]


def test_settings_that_lose_logouts_are_reported(server: Server) -> None:
    with server.client() as client:
        assert problems_of(server) == [
            "nothing is stored on disk, so a restart loses every logout. Set appendonly"
            " to yes."
        ]
        client.config_set("save", "60 1")
        assert problems_of(server) == [
            "appendonly is off, so a crash loses the logouts since the last snapshot. Set"
            " appendonly to yes."
        ]
        client.acl_setuser("default", commands=["-config"], enabled=True)
        assert problems_of(server) == [
            "appendonly is off, and the snapshot settings can't be read, so a crash may"
            " lose logouts. Set appendonly to yes."
        ]
        client.acl_setuser("default", commands=["+config"], enabled=True)
        client.config_set("appendonly", "yes")
        wait_until(lambda: problems_of(server) == [])
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert problems_of(server) == [
            "maxmemory-policy is allkeys-lru, so Redis deletes logouts when its memory is"
            " full. Set it to noeviction."
        ]


def test_replicas_that_no_write_waits_for_are_reported(
    server: Server, tmp_path: Path
) -> None:
    options = ("--replicaof", "127.0.0.1", str(server.port), "--appendonly", "yes")
    with server.client() as client, Server(tmp_path / "replica", *options) as replica:
        client.config_set("appendonly", "yes")
        client.config_set("repl-diskless-sync-delay", 0)
        wait_until(lambda: bool(client.info("replication")["connected_slaves"]))
        (lossy,) = problems_of(server)
        assert lossy == (
            "logouts don't wait for replication to any of the attached replicas (1), so a"
            " failover can lose them. Set LOGOUT_REDIS_WAIT to 1 or more."
            " min-replicas-to-write isn't enough, because it doesn't wait either."
        )
        assert problems_of(replica) == [
            "the server is a read-only replica. Set LOGOUT_STORE_URI to the primary."
        ]
        assert problems_of(server, replicas=1) == []
        (too_few,) = problems_of(server, replicas=2)
        assert too_few == (
            "LOGOUT_REDIS_WAIT is 2, but there are fewer attached replicas (1), so every"
            " logout returns 503. Attach replicas or lower LOGOUT_REDIS_WAIT."
        )
        wait_until(lambda: is_synced(replica))
        store = RedisStore(replica.url, timeout=TIMEOUT)
        with pytest.raises(StoreUnavailableError, match="ReadOnlyError"):
            store.add([revocation()])
        store.client.close()


def test_the_first_check_logs_each_problem(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(server.url, timeout=TIMEOUT)
    # Only the first check logs them.
    assert store.find([A]) == store.find([A]) == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert [record.getMessage() for record in caplog.records] == [
        f"redis://127.0.0.1:{server.port}/0: nothing is stored on disk, so a restart"
        " loses every logout. Set appendonly to yes."
    ]
    store.client.close()


def names_in(store: RedisStore) -> dict[str, list[bytes]]:
    """List the names of all keys on each server."""
    return {
        node: store.client.run_on(node, [("KEYS", "logout_revocation:*")])[0]
        for node in store.client.names_of_nodes()
    }


def test_the_keys_of_one_user_share_a_slot(spread: RedisStore) -> None:
    kinds: list[t.Any] = ["token", "session", "subject"]
    spread.add([revocation(kind, kind=kind, subject="ada") for kind in kinds])
    (names,) = [names for names in names_in(spread).values() if names]
    assert len(names) == 4
    assert len({key_slot(name) for name in names}) == 1


def test_users_are_distributed_over_all_servers(spread: RedisStore) -> None:
    made = [revocation(f"{i}", subject=f"user {i}") for i in range(300)]
    spread.add(made)
    counts = [len(names) for names in names_in(spread).values()]
    assert len(counts) == 3
    assert min(counts) > 60
    for x in made[::50]:
        assert found(spread, x.key, A, subject=x.subject) == [x]


def test_a_revoked_session_is_found_with_and_without_its_subject(
    spread: RedisStore,
) -> None:
    by_admin = revocation(kind="session")
    everyone = revocation("all", kind="everyone", cutoff=NOW)
    spread.add([by_admin])
    spread.add([everyone])
    keys = (by_admin.key, everyone.key)
    assert len(found(spread, *keys, subject="ada")) == 2
    spread.add([replace(by_admin, subject="ada", expires_at=None)])
    first, second = found(spread, *keys, subject="ada")
    assert {first.key, second.key} == {*keys}
    assert first.expires_at is None or second.expires_at is None
    assert len(found(spread, *keys, subject=None)) == 2


def commands_sent(store: RedisStore) -> dict[str, int]:
    """Count the MGET commands that each server has received."""
    return {
        node: store.client.run_on(node, [("INFO", "commandstats")])[0]
        .get("cmdstat_mget", {"calls": 0})
        .get("calls")
        for node in store.client.names_of_nodes()
    }


def test_a_check_queries_at_most_two_servers(spread: RedisStore) -> None:
    for i in range(20):
        before = commands_sent(spread)
        spread.find([A, B, revocation().key], subject=f"user {i}")
        after = commands_sent(spread)
        asked = [after[node] - before[node] for node in before]
        assert sum(asked) <= 2


def test_a_cluster_requires_a_subject(spread: RedisStore) -> None:
    with pytest.raises(TypeError, match="subject="):
        spread.find([A])


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_a_cluster_without_one_server_answers_within_the_timeout(
    tmp_path: Path, fault: signal.Signals
) -> None:
    with cluster(tmp_path / "cluster") as nodes:
        store = RedisStore(cluster_url(nodes[0]), timeout=2 * TIMEOUT)
        users = [f"user {i}" for i in range(12)]
        store.add([revocation(x, subject=x) for x in users])
        nodes[1].process.send_signal(fault)
        refused = 0
        for user in users:
            started = time.monotonic()
            try:
                (kept,) = found(store, revocation(user).key, subject=user)
                assert kept.subject == user
            except StoreUnavailableError:
                refused += 1
            assert time.monotonic() - started < BUSY
        assert refused > 0
        store.client.close()


def test_a_server_that_is_not_a_cluster_is_unavailable(server: Server) -> None:
    for url in (cluster_url(server), f"redis+cluster://127.0.0.1:{free_port()}"):
        store = RedisStore(url, timeout=TIMEOUT)
        with pytest.raises(StoreUnavailableError, match="redis.cluster://127.0.0.1"):
            store.find([A], subject=None)
        with pytest.raises(StoreUnavailableError):
            store.changes(None)
        store.client.close()


def test_an_app_logs_out_on_redis(
    make_app: MakeApp, store: RedisStore, url: str
) -> None:
    app = make_app(LOGOUT_STORE_URI=url)
    client = app.test_client()
    pair, other = make_pair(app), make_pair(app)
    assert get_status(client, pair) == (200, 200)
    answer = log_out(client, pair)
    assert (answer.status_code, answer.data) == (200, LOGGED_OUT)
    assert get_status(client, pair) == (401, 401)
    assert get_status(client, other) == (200, 200)
    app.extensions["logout"].store.client.close()


def test_an_app_returns_503_while_redis_is_down(
    make_app: MakeApp, server: Server
) -> None:
    app = make_app(LOGOUT_STORE_URI=server.url, LOGOUT_TIMEOUT=0.5)
    client = app.test_client()
    pair = make_pair(app)
    assert get_status(client, pair) == (200, 200)
    server.stop()
    assert get_status(client, pair) == (503, 503)
    answer = log_out(client, pair)
    assert (answer.status_code, answer.data) == (503, UNAVAILABLE)
    assert answer.headers["Retry-After"]
    server.start()
    assert get_status(client, pair) == (200, 200)
    assert log_out(client, pair).status_code == 200
    assert get_status(client, pair) == (401, 401)
    app.extensions["logout"].store.client.close()


def test_an_app_with_redis_imports_no_sqlalchemy(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REDIS_APP, server.url],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "200 401 []\n"


REDIS_APP = """
import sys
from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token, create_refresh_token
from flask_logout import LogoutExtension
app = Flask("app")
app.config.update(JWT_SECRET_KEY=32 * "x", LOGOUT_STORE_URI=sys.argv[1])
JWTManager(app)
LogoutExtension(app)
with app.app_context():
    access, refresh = create_access_token("ada"), create_refresh_token("ada")
client, headers = app.test_client(), {"Authorization": f"Bearer {access}"}
body = {"refresh_token": refresh}
first = client.post("/auth/logout", headers=headers, json=body)
again = client.post("/auth/logout", headers=headers, json=body)
names = sorted({x.partition(".")[0] for x in sys.modules} & {"sqlalchemy"})
print(first.status_code, again.status_code, names)
"""
