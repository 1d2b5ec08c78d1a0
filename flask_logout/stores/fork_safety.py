"""Locks and one-time setup that a forked worker does not inherit.

These compare process ids instead of using :func:`os.register_at_fork`, because uWSGI
doesn't run those hooks when it forks its workers, unless ``py-call-osafterfork`` is set.
"""

from __future__ import annotations

import os
import threading
import typing as t


class ProcessLock:
    """One lock per process.

    A lock that another thread holds during fork() is never released in the child.
    """

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    def __call__(self) -> threading.Lock:
        """Return the lock of this process."""
        return self._locks.setdefault(os.getpid(), threading.Lock())


class OncePerProcess:
    """Runs a function once in each process."""

    def __init__(self, set_up: t.Callable[[], None]) -> None:
        self._set_up = set_up
        self._lock = ProcessLock()
        self._pid: int | None = None

    @property
    def is_done(self) -> bool:
        """Whether the function has run in this process."""
        return self._pid == os.getpid()

    def __call__(self, timeout: float = -1) -> None:
        """Run the function unless it has run in this process.

        :param timeout: how long to wait for another thread that is running it, in
            seconds, or -1 for no limit.
        :raises TimeoutError: the other thread is still running it.
        """
        if self._pid != os.getpid():
            self._run(timeout)

    def reset(self) -> None:
        """Run the function again on the next call."""
        self._pid = None

    def _run(self, timeout: float) -> None:
        lock = self._lock()
        if not lock.acquire(timeout=timeout):
            raise TimeoutError("another thread is still connecting")
        try:
            if not self.is_done:
                self._set_up()
                self._pid = os.getpid()
        finally:
            lock.release()
