"""Add a timeout to drivers that have none, by shutting down their sockets."""

from __future__ import annotations

import socket
import time
import typing as t
from contextlib import suppress
from functools import lru_cache
from threading import Event
from threading import Thread

from ..fork_safety import OncePerProcess

_TICK = 0.1
"""The interval at which the watchdog compares deadlines, in seconds."""


class Watchdog:
    """Shuts down sockets whose deadline has passed, so that waiting threads wake up.

    One thread in each process does this. It sleeps while no statement is running.
    """

    def __init__(self) -> None:
        self._ready = OncePerProcess(self._start)
        self._deadlines: dict[socket.socket, float] = {}
        self._is_busy = Event()

    def watch(self, number: int, seconds: float) -> socket.socket:
        """Shut down a socket unless it is released in time.

        :param number: the file descriptor of the socket.
        :param seconds: the timeout.
        :returns: the argument for :meth:`release`.
        """
        self._ready()
        # Duplicate it, because the driver may close its descriptor at any time, and another
        # thread may then open a file with the same number.
        watched = socket.fromfd(number, socket.AF_UNSPEC, socket.SOCK_STREAM)
        self._deadlines[watched] = time.monotonic() + seconds
        if not self._is_busy.is_set():
            self._is_busy.set()
        return watched

    def release(self, watched: socket.socket) -> bool:
        """Stop watching a socket. Return whether this was in time."""
        is_in_time = self._deadlines.pop(watched, None) is not None
        watched.close()
        return is_in_time

    def _start(self) -> None:
        # Close the duplicates that a forked process inherits.
        for watched in self._deadlines:
            watched.close()  # pragma: no cover  only if a thread forks meanwhile
        self._deadlines, self._is_busy = {}, Event()
        Thread(target=self._run, name="flask_logout", daemon=True).start()

    def _run(self) -> None:
        while self._is_busy.wait():  # pragma: no branch  it never ends
            time.sleep(_TICK)
            now = time.monotonic()
            for watched, deadline in self._deadlines.copy().items():
                if deadline < now and self._deadlines.pop(watched, 0.0):
                    with suppress(OSError):
                        watched.shutdown(socket.SHUT_RDWR)
            if not self._deadlines:
                self._is_busy.clear()
                # A statement may have begun between the preceding two lines.
                if self._deadlines:  # pragma: no cover
                    self._is_busy.set()


_watchdog = Watchdog()


class _InTime:
    """A context that limits how long a statement waits for the server."""

    def __init__(self, connection: t.Any, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds

    def __enter__(self) -> None:
        self._watched = _watchdog.watch(self._connection.fileno(), self._seconds)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        is_in_time = _watchdog.release(self._watched)
        # An answer that arrived just before the shutdown still counts.
        if not is_in_time and isinstance(error, Exception):
            late = f"no answer within {self._seconds:g} seconds"
            raise self._connection.OperationalError(late) from error


@lru_cache
def limited(cursor_class: type[t.Any], seconds: float) -> type[t.Any]:
    """Make a subclass of a cursor class whose statements have a timeout.

    :param cursor_class: a cursor class of psycopg, psycopg2 or psycopg2cffi.
    :param seconds: the timeout of each statement.
    """

    class LimitedCursor(cursor_class):  # type: ignore[misc]
        def execute(self, *args: t.Any, **options: t.Any) -> t.Any:
            with _InTime(self.connection, seconds):
                return super().execute(*args, **options)

    return LimitedCursor
