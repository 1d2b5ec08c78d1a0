"""Locks in a server that forks its workers."""

from __future__ import annotations

import os
import threading


class ProcessLock:
    """A lock of each process: in a fork, nobody would release what was held meanwhile."""

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    def __call__(self) -> threading.Lock:
        """Give the lock of this process."""
        return self._locks.setdefault(os.getpid(), threading.Lock())
