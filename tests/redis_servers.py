"""Real Redis servers: the one that is running, others of our own, and a Cluster."""

from __future__ import annotations

import os
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

from .programs import find_program
from .proxy import free_port
from .proxy import skip_or_fail

REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")
NODES = 3


def running_url() -> str:
    """Name the server that answers, or skip the test; under CI, fail it."""
    client = redis.Redis.from_url(REDIS_URL)
    try:
        client.ping()
    except redis.RedisError as e:
        skip_or_fail(f"no Redis answers at TEST_REDIS_URL: {type(e).__name__}")
    finally:
        client.close()
    return REDIS_URL


class Server:
    """A ``redis-server`` of our own, which can be stopped and started."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._program = find_program("redis-server", "redis-server")
        directory.mkdir(parents=True)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._options = options

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._directory), *self._options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def stop(self) -> None:
        """Kill it."""
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
        """Connect to it."""
        client = redis.Redis.from_url(self.url)
        try:
            yield client
        finally:
            client.close()


@contextmanager
def cluster(directory: Path) -> t.Iterator[list[Server]]:
    """Start a Cluster of three servers."""
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
            for number in range(NODES)
        ]
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        subprocess.run(
            ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=30,
        )
        wait_until(lambda: all(_is_complete(node) for node in nodes))
        yield nodes


def cluster_url(node: Server) -> str:
    """Name a Cluster by one of its servers."""
    return f"redis+cluster://127.0.0.1:{node.port}"


@contextmanager
def babbler(reply: bytes) -> t.Iterator[str]:
    """Listen where a Redis could, and give every command the same raw reply."""

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
        Thread(target=listener.serve_forever, daemon=True).start()
        yield f"redis://127.0.0.1:{listener.server_address[1]}?protocol=2"
        listener.shutdown()


def _is_complete(node: Server) -> bool:
    with node.client() as client:
        info = client.execute_command("CLUSTER INFO")
        return bool(
            info["cluster_state"] == "ok"
            and info["cluster_known_nodes"] == str(NODES)
            and info["cluster_slots_ok"] == "16384"
        )


def wait_until(is_so: t.Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is so, but not for ever."""
    ends_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < ends_at
        time.sleep(0.02)
