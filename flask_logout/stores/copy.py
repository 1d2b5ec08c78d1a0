"""A copy of the revocation keys of a store, in a Bloom filter."""

from __future__ import annotations

import math
import typing as t

from ..exceptions import ConfigError
from . import Store
from .uptime import Clock

try:
    from rbloom import Bloom
except ImportError as e:
    raise ConfigError(
        "LOGOUT_MAX_STALENESS is set, but the library that it needs, rbloom, is not"
        " installed. Run pip install 'flask-logout[mirror]', or leave the setting out."
    ) from e

FALSE_POSITIVES = 0.001
"""The share of keys that are not revoked and cost a round trip nevertheless."""

MIN_CAPACITY = 100_000
"""The least number of keys that a copy has room for. They take 180 kilobytes."""

HEADROOM = 1.05
"""The capacity of a new copy, as a multiple of the keys that it is made for."""


class Copy:
    """The keys of a store, read in runs of pages.

    Readers take no lock. Nothing interrupts rbloom while it hashes, because the hash of
    bytes runs no Python. The keys are digests already.
    """

    def __init__(self, born_at: float, expected: int = 0) -> None:
        self.filter = Bloom(1, FALSE_POSITIVES)
        self.born_at = born_at
        # The copy has everything that the store acknowledged before this.
        self.synced_at = -math.inf
        # A check before this needs nothing but the filter.
        self.settled_until = -math.inf
        # Whether a run of pages has begun and not ended, or none has begun.
        self.is_behind = True
        # How many keys the first run had.
        self.scanned = 0
        self._is_filled = False
        self._run_began_at: float | None = None
        self._run_length = 0
        self._cursor: object | None = None
        self._expected = expected
        self._count = 0
        self._capacity = 0

    @property
    def is_full(self) -> bool:
        return self._count >= self._capacity

    @property
    def is_outdated(self) -> bool:
        """Whether a new copy would be complete sooner than this one."""
        is_long = self._run_length > max(self.scanned, MIN_CAPACITY)
        return self.is_behind and self._is_filled and (self.is_full or is_long)

    def choose(self, keys: t.Iterable[bytes]) -> list[bytes]:
        seen = self.filter
        return [key for key in keys if key in seen]

    def insert(self, keys: t.Iterable[bytes]) -> None:
        # A key that comes twice takes no room.
        new = {key for key in keys if key not in self.filter}
        self.filter.update(new)
        self._count += len(new)

    def read(self, store: Store, clock: Clock) -> None:
        """Read one page. A page that fails can be read again."""
        asked_at = clock()
        page = store.changes(self._cursor)
        if self._run_began_at is None:
            self._run_began_at, self._run_length = asked_at, 0
        if self._cursor is None:
            self._make_room(page.total or 0)
        elif page.total is not None:
            # The store starts over. The keys stay because checks use them.
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
            # A full filter counts too few new keys, so this counts what was read.
            self._is_filled, self.scanned = True, self._run_length
        # Later pages may lack what the store acknowledged after the first one.
        self.synced_at, self._run_began_at = began_at, None
