"""The Bloom filter of an in-memory mirror."""

from __future__ import annotations

import math
import typing as t

from ..exceptions import ConfigError
from . import Store
from .monotonic import Clock

try:
    from rbloom import Bloom
except ImportError as e:
    raise ConfigError(
        "LOGOUT_MAX_STALENESS needs the package rbloom, which isn't installed. Run"
        " `pip install 'flask-logout[mirror]'`, or remove LOGOUT_MAX_STALENESS."
    ) from e

FALSE_POSITIVES = 0.001
"""The share of keys that are not revoked but still cost a round trip."""

MIN_CAPACITY = 100_000
"""The smallest capacity of a copy, in keys. It takes 180 kilobytes of memory."""

HEADROOM = 1.05
"""The capacity of a new copy, as a multiple of the expected number of keys."""


class Copy:
    """A copy of the revocation keys of a store, read in runs of pages.

    Readers take no lock. They don't need one, because hashing bytes runs no Python code,
    so no other thread can run inside rbloom.
    """

    def __init__(self, born_at: float, expected: int = 0) -> None:
        self.filter = Bloom(1, FALSE_POSITIVES)
        self.born_at = born_at
        # The copy contains every key that the store acknowledged before this instant.
        self.synced_at = -math.inf
        # Until this instant, a check needs nothing but the filter.
        self.settled_until = -math.inf
        # Whether a run is in progress, or the first run hasn't begun.
        self.is_behind = True
        # The number of keys in the first run.
        self.scanned = 0
        self._is_filled = False
        self._run_began_at: float | None = None
        self._run_length = 0
        self._cursor: object | None = None
        self._expected = expected
        self._count = 0
        self._capacity = 0

    @property
    def count(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        return self._count >= self._capacity

    @property
    def is_outdated(self) -> bool:
        """Whether a new copy would be complete before this one catches up."""
        is_long = self._run_length > max(self.scanned, MIN_CAPACITY)
        return self.is_behind and self._is_filled and (self.is_full or is_long)

    def choose(self, keys: t.Iterable[bytes]) -> list[bytes]:
        seen = self.filter
        return [key for key in keys if key in seen]

    def insert(self, keys: t.Iterable[bytes]) -> None:
        # A key that is in the filter already takes no capacity.
        new = {key for key in keys if key not in self.filter}
        self.filter.update(new)
        self._count += len(new)

    def read(self, store: Store, clock: Clock) -> None:
        """Read the next page. If this raises, the page can be read again."""
        asked_at = clock()
        page = store.changes(self._cursor)
        if self._run_began_at is None:
            self._run_began_at, self._run_length = asked_at, 0
        if self._cursor is None:
            self._make_room(page.total or 0)
        elif page.total is not None:
            # The store scans everything again. Keep the keys, because checks use them.
            self._is_filled, self._run_length = False, 0
        self.insert(page.keys)
        self._cursor = page.cursor
        self._run_length += len(page.keys)
        self.is_behind = page.has_more
        if not page.has_more:
            self._end_run(self._run_began_at)

    def _make_room(self, total: int) -> None:
        expected = max(total, self._expected)
        self._capacity = max(MIN_CAPACITY, math.ceil(expected * HEADROOM))
        self.filter = Bloom(self._capacity, FALSE_POSITIVES)

    def _end_run(self, began_at: float) -> None:
        if not self._is_filled:
            # _count undercounts once the filter saturates, so count scanned keys.
            self._is_filled, self.scanned = True, self._run_length
        # The run may lack keys that the store acknowledged after the first page.
        self.synced_at, self._run_began_at = began_at, None
