"""A TCP proxy that counts round trips and simulates faults of the network."""

from __future__ import annotations

import heapq
import itertools
import math
import secrets
import select
import signal
import socket
import struct
import subprocess
import time
import typing as t
from collections import deque
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from threading import Event
from threading import Thread

import pytest
import sqlalchemy as sa

from .ci import skip_or_fail
from .conftest import new_database
from .conftest import REDIS_URL

_CHUNK = 1 << 16
_LONGEST_STALL = 30.0
_DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "redis": 6379}
# With SO_LINGER of 0 seconds, unsent data is discarded and the peer gets a reset.
_ABORT = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class _Link:
    """A connection of a client, and the matching connection to the server."""

    client: socket.socket
    server: socket.socket
    open_ends: set[socket.socket]
    is_asking: bool = False
    due: dict[socket.socket, float] = field(default_factory=dict)


class Proxy:
    """Listens on a free port of 127.0.0.1 and forwards everything to a server.

    One background thread does all the work. When a method returns, that thread has
    applied the change.

    :param host: the host of the server.
    :param port: the port of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self.round_trips = 0
        """The number of replies of the server."""
        self.connections = 0
        """The number of connections of clients."""
        self._address = (host, port)
        self._links: set[_Link] = set()
        self._ticket = itertools.count()
        self._pending: list[tuple[float, int, _Link, socket.socket, bytes]] = []
        self._delay = self._trickle = self._seconds_per_byte = 0.0
        self._requests_to_cut = self._replies_to_cut = 0.0
        self._stalled_until = 0.0
        self._calls: deque[tuple[t.Callable[[], object], Event]] = deque()
        self._bell, self._ringer = socket.socketpair()
        self._listener: socket.socket | None = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = Thread(target=self._run, name="proxy")
        self._is_open = True
        self._thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end)
        self._thread.join()
        self._bell.close()
        self._ringer.close()

    def reset(self) -> None:
        """Set the counters to 0."""
        self.round_trips = self.connections = 0

    def lead_to(self, port: int) -> None:
        """Forward new connections to another port, and cut the existing ones."""
        self._address = (self._address[0], port)
        self.cut()

    def cut(self) -> None:
        """Cut every connection now."""
        self._do(self._abort_all)

    def cut_requests(self, times: float = 1) -> None:
        """Cut connections in the middle of the next requests of clients."""
        self._set(_requests_to_cut=times)

    def cut_replies(self, times: float = 1) -> None:
        """Cut connections in the middle of the next replies of the server."""
        self._set(_replies_to_cut=times)

    def refuse(self) -> None:
        """Cut every connection, and accept no new ones."""
        self._do(self._stop_listening)
        self.cut()

    def stall(self) -> None:
        """Accept connections and data but forward nothing, for at most 30 seconds."""
        self._set(_stalled_until=time.monotonic() + _LONGEST_STALL)

    def slow(
        self, *, delay: float = 0, trickle: float = 0, bandwidth: float = math.inf
    ) -> None:
        """Delay all data.

        :param delay: the delay in each direction, in seconds.
        :param trickle: the delay between two bytes of a reply, in seconds.
        :param bandwidth: the maximum speed of a reply, in bytes per second.
        """
        self._set(_delay=delay, _trickle=trickle, _seconds_per_byte=1 / bandwidth)

    def heal(self) -> None:
        """End all faults, and forward the data that was stalled."""
        self.cut_requests(0)
        self.cut_replies(0)
        self.slow()
        self._do(self._come_back)

    def _set(self, **values: float) -> None:
        self._do(lambda: self.__dict__.update(values))

    def _do(self, call: t.Callable[[], object]) -> None:
        """Call a function in the thread, and wait until it has returned."""
        done = Event()
        self._calls.append((call, done))
        self._ringer.send(b"!")
        assert done.wait(10), "the thread of the proxy doesn't respond"

    def _run(self) -> None:
        while self._is_open:
            ends = {end: link for link in self._links for end in link.open_ends}
            for end in self._wait(ends):
                if end is self._bell:
                    self._answer_calls()
                elif end is self._listener:
                    self._accept(self._listener)
                elif end in ends and ends[end] in self._links:
                    self._read(end, ends[end])
            if not self._stalled_until:
                self._deliver()
            elif time.monotonic() > self._stalled_until:
                # Otherwise a client without a timeout, and the test, would hang.
                self._stalled_until = 0.0
                self._abort_all()

    def _wait(self, ends: t.Iterable[socket.socket]) -> list[socket.socket]:
        waited = [self._bell]
        if self._listener is not None:
            waited.append(self._listener)
        wake_at = self._stalled_until
        if not wake_at:
            waited.extend(ends)
            wake_at = self._pending[0][0] if self._pending else math.inf
        timeout = max(0.0, wake_at - time.monotonic())
        return select.select(waited, [], [], min(timeout, _LONGEST_STALL))[0]

    def _answer_calls(self) -> None:
        self._bell.recv(_CHUNK)
        while self._calls:
            call, done = self._calls.popleft()
            call()
            done.set()

    def _accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        try:
            server = socket.create_connection(self._address, timeout=5)
        except OSError:
            client.close()
            return
        self.connections += 1
        for end in (client, server):
            end.settimeout(5)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._links.add(_Link(client, server, {client, server}))

    def _read(self, end: socket.socket, link: _Link) -> None:
        data = b""
        with suppress(OSError):
            data = end.recv(_CHUNK)
        is_request = end is link.client
        target = link.server if is_request else link.client
        if not data:
            # Data for the other end may still be pending.
            link.open_ends.discard(end)
        else:
            # Requests that a client sends without waiting for a reply count as one.
            self.round_trips += link.is_asking and not is_request
            link.is_asking = is_request
            if self._is_to_cut(is_request):
                self._send(target, data[: len(data) // 2])
                self._abort(link)
                return
        self._queue(link, target, data)

    def _is_to_cut(self, is_request: bool) -> bool:
        name = "_requests_to_cut" if is_request else "_replies_to_cut"
        times: float = getattr(self, name)
        setattr(self, name, max(0, times - 1))
        return times > 0

    def _queue(self, link: _Link, target: socket.socket, data: bytes) -> None:
        """Queue data for an end, or the end of the stream if there is none."""
        due = max(time.monotonic() + self._delay, link.due.get(target, 0))
        is_reply = target is link.client
        trickle = self._trickle if is_reply else 0.0
        per_byte = self._seconds_per_byte if is_reply else 0.0
        size = 1 if trickle else _CHUNK
        for start in range(0, len(data) or 1, size):
            part = data[start : start + size]
            due += per_byte * len(part)
            event = (due, next(self._ticket), link, target, part)
            heapq.heappush(self._pending, event)
            link.due[target] = due
            due += trickle

    def _deliver(self) -> None:
        while self._pending and self._pending[0][0] <= time.monotonic():
            _, _, link, target, data = heapq.heappop(self._pending)
            if link in self._links and not (data and self._send(target, data)):
                self._close(link)

    def _send(self, target: socket.socket, data: bytes) -> bool:
        try:
            target.sendall(data)
        except OSError:
            return False
        return True

    def _abort_all(self) -> None:
        for link in [*self._links]:
            self._abort(link)

    def _abort(self, link: _Link) -> None:
        for end in (link.client, link.server):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self._close(link)

    def _close(self, link: _Link) -> None:
        self._links.discard(link)
        link.client.close()
        link.server.close()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _come_back(self) -> None:
        self._stalled_until = 0.0
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))

    def _end(self) -> None:
        self._stop_listening()
        self._abort_all()
        self._is_open = False


@contextmanager
def proxied(driver: str) -> t.Iterator[tuple[sa.URL, Proxy]]:
    """Create a database, and start a proxy in front of its server."""
    with new_redis() if driver == "redis" else new_database(driver) as url:
        port = url.port or _DEFAULT_PORTS[driver.partition("+")[0]]
        with Proxy(url.host or "127.0.0.1", port) as proxy:
            yield url.set(host="127.0.0.1", port=proxy.port), proxy


@contextmanager
def new_redis() -> t.Iterator[sa.URL]:
    """Return the URL of the running Redis server, and empty its database in the end."""
    redis = pytest.importorskip("redis")
    with redis.Redis.from_url(REDIS_URL) as client:
        try:
            client.ping()
        except redis.ConnectionError as e:
            skip_or_fail(f"no Redis server responds: {e}")
        yield sa.make_url(REDIS_URL)
        client.flushdb()


class Interrupted(BaseException):
    """An exception that a signal raises during a wait, like gevent's ``Timeout``."""


@contextmanager
def interrupted(*, after: float) -> t.Iterator[None]:
    """Interrupt the block after some seconds."""

    def interrupt(*_: object) -> t.NoReturn:
        raise Interrupted

    with alarm(interrupt, after=after), pytest.raises(Interrupted):
        yield


@contextmanager
def alarm(handler: t.Callable[..., object], *, after: float) -> t.Iterator[None]:
    """Call a signal handler in this thread during the block, after some seconds."""
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def free_port() -> int:
    """Find an unused port of 127.0.0.1."""
    while True:
        # Outgoing connections use higher ports, so they can't occupy this one before
        # the server does.
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_for_server(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server accepts connections.

    :param port: the port of the server on 127.0.0.1.
    :param process: the process of the server.
    :param log: the log to show if the server doesn't start.
    """
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
    pytest.fail(f"the server doesn't respond: {log.read_text()}")
