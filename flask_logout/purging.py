"""Deletes expired revocations and sessions in small batches."""

from __future__ import annotations

import time
import typing as t

from flask import current_app
from flask import Flask

from . import clock
from .reporting import reporting

if t.TYPE_CHECKING:
    from .stores import Store
    from .stores.sessions import SessionStore

PURGE_BATCH = 1000
"""Maximum number of records that one statement deletes."""

PURGE_BURST = 0.3
"""Seconds that a purge works before it pauses."""

PURGE_PAUSE = 0.1
"""Seconds that a purge pauses. SQLite's busy handler polls the lock of the file at least
every 0.1 seconds, so every waiter gets a turn."""

current_app_object: t.Callable[[], Flask] = t.cast(
    t.Any, current_app
)._get_current_object
"""Returns the current app itself. The proxy is slow and can't be the sender of signals."""


def purge_in_batches(store: Store | SessionStore) -> t.Iterator[int]:
    """Delete the expired records of a store of the current app, in batches.

    :param store: the store of revocations or of sessions.
    :yields int: the size of each batch.
    """
    pause_at = time.monotonic() + PURGE_BURST
    while True:
        with reporting(current_app_object()):
            deleted = store.purge(clock.now(), batch=PURGE_BATCH)
        yield deleted
        if deleted < PURGE_BATCH:
            return
        if time.monotonic() > pause_at:
            time.sleep(PURGE_PAUSE)
            pause_at = time.monotonic() + PURGE_BURST
