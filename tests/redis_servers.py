"""Real Redis servers: the running one, and servers and Clusters that tests start."""

from __future__ import annotations

import subprocess
import time
import typing as t
from contextlib import contextmanager
from contextlib import ExitStack
from contextlib import suppress
from pathlib import Path
from socketserver import StreamRequestHandler
from socketserver import ThreadingTCPServer
from threading import Thread

import redis
from redis.crc import key_slot

from .ci import skip_or_fail
from .conftest import REDIS_URL
from .programs import find_program
from .proxy import free_port

NODES = 3


def running_url() -> str:
    """Return the URL of the running server. Without one, skip the test, or fail in CI."""
    client = redis.Redis.from_url(REDIS_URL)
    try:
        client.ping()
    except redis.RedisError as e:
        skip_or_fail(f"no Redis server responds at TEST_REDIS_URL: {type(e).__name__}")
    finally:
        client.close()
    return REDIS_URL


class Server:
    """A ``redis-server`` that tests can stop and start."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._program = find_program("redis-server", "redis-server")
        directory.mkdir(parents=True)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._options = options

    def __enter__(self) -> t.Any:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, and wait until it responds."""
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._directory), *self._options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def stop(self) -> None:
        """Kill the server."""
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        with suppress(redis.ConnectionError), self.client() as client:
            try:
                client.execute_command("PING")
            except redis.AuthenticationError:
                pass
            return True
        return False

    @contextmanager
    def client(self) -> t.Iterator[t.Any]:
        """Return a client of the server."""
        client = redis.Redis.from_url(self.url)
        try:
            yield client
        finally:
            client.close()


@contextmanager
def cluster(directory: Path, replicas: int = 0) -> t.Iterator[list[Server]]:
    """Start a Cluster of three primaries, each with a number of replicas."""
    size = NODES * (1 + replicas)
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                Server(
                    directory / str(number),
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    str(free_port()),
                    "--cluster-node-timeout",
                    "1000",
                    "--save",
                    "",
                )
            )
            for number in range(size)
        ]
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        subprocess.run(
            [
                *("redis-cli", "--cluster", "create", *addresses, "--cluster-yes"),
                *("--cluster-replicas", str(replicas)),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=30,
        )
        wait_until(lambda: all(_is_complete(node, size) for node in nodes))
        yield nodes


def cluster_url(node: Server) -> str:
    """Return the URL of a Cluster, with the address of one of its servers."""
    return f"redis+cluster://127.0.0.1:{node.port}"


@contextmanager
def moving(nodes: t.Sequence[Server], slot: int, pattern: str) -> t.Iterator[None]:
    """Move a slot to another server. During the block, half of its keys have moved.

    :param nodes: the servers of the Cluster.
    :param slot: the slot.
    :param pattern: a pattern that matches the names of all keys in the slot.
    """
    with ExitStack() as stack:
        clients = [stack.enter_context(node.client()) for node in nodes]
        ids = [client.execute_command("CLUSTER MYID").decode() for client in clients]
        count = "CLUSTER COUNTKEYSINSLOT"
        source = next(
            i for i, x in enumerate(clients) if x.execute_command(count, slot)
        )
        target = (source + 1) % len(nodes)

        def migrate(most: int) -> None:
            # redis-py can't decode the names from GETKEYSINSLOT unless they are UTF-8.
            held = clients[source].keys(pattern)
            names = [name for name in held if key_slot(name) == slot][:most]
            place = ("127.0.0.1", nodes[target].port, "", 0, 5000)
            clients[source].execute_command("MIGRATE", *place, "KEYS", *names)

        set_slot = ("CLUSTER SETSLOT", slot)
        clients[target].execute_command(*set_slot, "IMPORTING", ids[source])
        clients[source].execute_command(*set_slot, "MIGRATING", ids[target])
        migrate(2)
        yield
        migrate(10_000)
        for client in (clients[target], clients[source], *clients):
            client.execute_command(*set_slot, "NODE", ids[target])


@contextmanager
def server_with_reply(reply: bytes) -> t.Iterator[str]:
    """Run a server that sends the same raw reply to every command. Return its URL."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            while size := self.rfile.readline():
                for _ in range(int(size[1:])):
                    length = int(self.rfile.readline()[1:])
                    self.rfile.read(length + 2)
                self.wfile.write(reply)

    class Listener(ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Listener(("127.0.0.1", 0), Handler) as listener:
        Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
        yield f"redis://127.0.0.1:{listener.server_address[1]}?protocol=2"
        listener.shutdown()


def _is_complete(node: Server, size: int) -> bool:
    with node.client() as client:
        info = client.execute_command("CLUSTER INFO")
        return bool(
            info["cluster_state"] == "ok"
            and info["cluster_known_nodes"] == str(size)
            and info["cluster_slots_ok"] == "16384"
            and _has_synced(client)
        )


def _has_synced(client: t.Any) -> bool:
    replication = client.info("replication")
    return bool(replication.get("master_link_status", "up") == "up")


def wait_until(is_so: t.Callable[[], bool], seconds: float = 20) -> None:
    """Wait until a condition is true, and fail after a while."""
    ends_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < ends_at
        time.sleep(0.02)


class SentinelServer(Server):
    """A Redis Sentinel, which watches a primary as ``logouts``.

    :param directory: the folder of its configuration.
    :param primary: the port of the primary.
    :param quorum: the number of Sentinels that have to agree that the primary is down.
    """

    def __init__(self, directory: Path, primary: int, quorum: int) -> None:
        super().__init__(directory)
        self._config = directory / "sentinel.conf"
        self._config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor logouts 127.0.0.1 {primary} {quorum}\n"
            "sentinel down-after-milliseconds logouts 500\n"
            "sentinel failover-timeout logouts 2000\n"
        )

    def start(self) -> None:
        """Start the server, and wait until it responds."""
        command = ["redis-server", str(self._config), "--sentinel"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def names(self, primary: Server) -> bool:
        """Return whether it reports a server as the primary, and the server agrees."""
        # A server closes its connections when its role changes.
        with suppress(redis.ConnectionError):
            with self.client() as client, primary.client() as server:
                found = client.sentinel_get_master_addr_by_name("logouts")
                role = server.info("replication")["role"]
                return bool(found[1] == primary.port and role == "master")
        return False

    def knows(self, others: int) -> bool:
        """Return whether it has found a replica and a number of other Sentinels."""
        with self.client() as client:
            state = client.sentinel_master("logouts")
        is_complete = (
            state["num-other-sentinels"] == others and state["num-slaves"] == 1
        )
        return bool(is_complete and state["flags"] == "master")


@contextmanager
def watched(directory: Path, *options: str) -> t.Iterator[Watched]:
    """Start a primary, a replica, and three Sentinels that watch them."""
    with ExitStack() as stack:
        start = stack.enter_context
        primary = start(Server(directory / "primary", "--save", "", *options))
        follow = ("--replicaof", "127.0.0.1", str(primary.port), "--save", "", *options)
        replica = start(Server(directory / "replica", *follow))
        sentinels = [
            start(SentinelServer(directory / f"sentinel-{i}", primary.port, 2))
            for i in range(3)
        ]
        wait_until(lambda: all(x.knows(others=2) for x in sentinels))
        wait_until(lambda: is_synced(replica))
        yield Watched(primary, replica, sentinels)


class Watched(t.NamedTuple):
    """Servers that Sentinels watch."""

    primary: Server
    replica: Server
    sentinels: list[SentinelServer]

    @property
    def url(self) -> str:
        """The URL of the Sentinels, in the form that Flask-Limiter uses as well."""
        hosts = ",".join(f"127.0.0.1:{x.port}" for x in self.sentinels)
        return f"redis+sentinel://{hosts}/logouts"

    def fail_over(self) -> None:
        """Kill the primary, and wait until the replica is the primary."""
        self.primary.stop()
        living = [x for x in self.sentinels if x.process.poll() is None]
        wait_until(lambda: all(x.names(self.replica) for x in living), 60)


def is_synced(replica: Server) -> bool:
    """Return whether a replica is up to date."""
    with replica.client() as client:
        return bool(client.info("replication").get("master_link_status") == "up")
