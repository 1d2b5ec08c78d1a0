"""A copy in memory of what is revoked, so that most checks need no round trip.

The copy is a Bloom filter: a key that is absent from it is not revoked, for certain; of a
key that may be in it the store is asked. Nothing runs beside the requests: a check that
finds the copy older than the bound reads what is new before it answers.
"""

from __future__ import annotations

import logging
import math
import sys
import time
import typing as t
from datetime import datetime
from datetime import timedelta
from functools import partial
from types import EllipsisType

from .errors import ConfigError
from .errors import StoreUnavailableError
from .forking import ProcessLock
from .revocation import Revocation
from .stores import Inspection
from .stores import Page
from .stores import Store
from .stores.sqlalchemy.transaction import call_after_commit

try:
    from rbloom import Bloom
except ImportError as e:
    raise ConfigError(
        "LOGOUT_MAX_STALENESS is set, but the library that it needs, rbloom, is not"
        " installed. Run pip install 'flask-logout[mirror]', or leave the setting out."
    ) from e

if t.TYPE_CHECKING:
    from .stores import AppSession

FALSE_POSITIVES = 0.001
"""How many of the keys that are not revoked cost a round trip all the same."""

MIN_CAPACITY = 100_000
"""How many keys a copy has room for at least; they take 180 kilobytes."""

HEADROOM = 1.05
"""Room for what is revoked until the next rebuild, as a ratio."""

REBUILD_EVERY = timedelta(hours=1)
"""How often a copy is made anew, which sheds the keys that the store has forgotten."""

PAUSE = timedelta(seconds=0.25)
"""How long a rebuild rests between two pages, so that requests and store do not feel it."""

RETRY_AFTER = timedelta(seconds=1)
"""How long a fill or a rebuild rests after a page that could not be read."""

Clock = t.Callable[[], float]

# It goes on while the machine sleeps, which that of time.monotonic() does not on Linux.
_NOW: Clock = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if sys.platform == "linux"
    else time.monotonic
)

logger = logging.getLogger("flask_logout")


class Mirror:
    """A :class:`.Store` that answers from memory whatever another store knows not of.

    It keeps the other's promise with a delay: what a store has acknowledged is found by
    every check that begins ``max_staleness`` later. What was added here is found at once.

    :param store: the store that is copied.
    :param max_staleness: how old the copy may be when a check uses it, more than 0.
    :param clock: gives seconds that never go back.
    """

    def __init__(
        self, store: Store, *, max_staleness: timedelta, clock: Clock = _NOW
    ) -> None:
        self._store = store
        self._bound = max_staleness.total_seconds()
        self._clock = clock
        self._lock = ProcessLock()
        self._begin()

    def add(
        self,
        revocations: t.Sequence[Revocation],
        *,
        session: AppSession | None = None,
    ) -> None:
        """See :meth:`.Store.add`."""
        self._store.add(revocations, session=session)
        # Also before the commit, when nothing is found yet: that costs a round trip only.
        self._insert(revocations)
        if session is not None:
            call_after_commit(session, partial(self._insert, revocations))

    def find(
        self, keys: t.Collection[bytes], *, subject: str | None | EllipsisType = ...
    ) -> list[Revocation]:
        """See :meth:`.Store.find`; most often no round trip is needed."""
        copy = self._copy
        if self._clock() < copy.settled_until:
            seen = copy.filter
            for key in keys:
                if key in seen:
                    break
            else:
                return []
        return self._find(keys, subject)

    def changes(self, cursor: object | None) -> Page:
        """See :meth:`.Store.changes`."""
        return self._store.changes(cursor)

    def purge(self, now: datetime, *, batch: int) -> int:
        """See :meth:`.Store.purge`; the copy forgets when it is made anew."""
        return self._store.purge(now, batch=batch)

    def inspect(self) -> Inspection:
        """See :meth:`.Store.inspect`."""
        return t.cast(Inspection, _Inspection(self._store.inspect(), self._forget))

    def _find(
        self, keys: t.Collection[bytes], subject: str | None | EllipsisType
    ) -> list[Revocation]:
        """Find what may be revoked, what is new, or what nobody knows yet."""
        now, copy = self._clock(), self._copy
        is_fresh = now < copy.synced_at + self._bound
        fresh = copy if is_fresh else self._sync(now)
        suspects = keys if fresh is None else fresh.choose(keys)
        found = self._store.find(suspects, subject=subject) if suspects else []
        if now >= self._due:
            self._read_ahead(now)
        return found

    def _begin(self) -> None:
        self._copy = _Copy(self._clock())
        self._next: _Copy | None = None
        # When the next page may be read that no check waits for.
        self._due = -math.inf
        self._failed_at = -math.inf

    def _forget(self) -> None:
        with self._lock():
            self._begin()

    def _insert(self, revocations: t.Sequence[Revocation]) -> None:
        keys = [revocation.key for revocation in revocations]
        # Looked up after the store has them: a copy begun later reads them there.
        for copy in (self._copy, self._next):
            if copy is not None:
                copy.insert(keys)

    def _sync(self, asked_at: float) -> _Copy | None:
        """Bring the copy up to date; without one that is, the store must be asked."""
        if self._copy.is_behind:
            return None
        with self._lock():
            copy = self._copy
            if asked_at >= copy.synced_at + self._bound:
                # Who waited while another failed does not wait for a failure of its own.
                if self._failed_at > asked_at:
                    raise StoreUnavailableError("the store did not tell what is new")
                self._read_news(copy)
        return None if copy.is_behind else copy

    def _read_news(self, copy: _Copy) -> None:
        try:
            copy.read(self._store, self._clock)
        except StoreUnavailableError:
            self._failed_at = self._clock()
            raise
        self._plan()

    def _read_ahead(self, now: float) -> None:
        """Read a page of a fill or a rebuild, unless another thread is reading."""
        lock = self._lock()
        if not lock.acquire(blocking=False):
            return
        try:
            if now >= self._due:
                self._read_page()
        finally:
            lock.release()

    def _read_page(self) -> None:
        copy = self._copy
        if not copy.is_behind:
            copy = self._next = self._next or _Copy(self._clock(), copy.scanned)
        try:
            copy.read(self._store, self._clock)
        except StoreUnavailableError as e:
            self._due = self._clock() + RETRY_AFTER.total_seconds()
            logger.warning("the mirror could not be filled, it tries again: %s", e)
            return
        if copy is self._next and not copy.is_behind:
            self._copy, self._next = copy, None
        self._plan()

    def _plan(self) -> None:
        now = self._clock()
        if self._copy.is_behind or (self._copy.is_full and self._next is None):
            self._due = now
        elif self._next is not None:
            self._due = now + PAUSE.total_seconds()
        else:
            self._due = self._copy.born_at + REBUILD_EVERY.total_seconds()
        self._copy.settled_until = min(self._copy.synced_at + self._bound, self._due)


class _Copy:
    """The keys of a store, read page by page.

    Readers take no lock. rbloom is not interrupted while it hashes, since the hash of
    bytes runs no Python; the keys are digests already.
    """

    def __init__(self, born_at: float, expected: int = 0) -> None:
        self.filter = Bloom(1, FALSE_POSITIVES)
        self.born_at = born_at
        self.synced_at = -math.inf
        # Until when a check needs nothing else.
        self.settled_until = -math.inf
        self.is_behind = True
        self.scanned = 0
        self._expected = expected
        self._cursor: object | None = None
        self._has_all = False
        self._count = 0
        self._capacity = 0

    @property
    def is_full(self) -> bool:
        return self._count >= self._capacity

    def choose(self, keys: t.Iterable[bytes]) -> list[bytes]:
        seen = self.filter
        return [key for key in keys if key in seen]

    def insert(self, keys: t.Iterable[bytes]) -> None:
        # A key that comes twice takes no room.
        new = {key for key in keys if key not in self.filter}
        self.filter.update(new)
        self._count += len(new)

    def read(self, store: Store, clock: Clock) -> None:
        """Read a page. One that fails can be read again."""
        began_at = clock()
        page = store.changes(self._cursor)
        if self._cursor is None:
            expected = max(page.total or 0, self._expected)
            self._capacity = max(MIN_CAPACITY, math.ceil(expected * HEADROOM))
            self.filter = Bloom(self._capacity, FALSE_POSITIVES)
        elif page.total is not None:
            # The store begins anew. What is known stays, since others are reading it.
            self._has_all, self.scanned = False, 0
        self.insert(page.keys)
        self._cursor = page.cursor
        self.is_behind = page.has_more or not self._has_all
        if not self.is_behind:
            self.synced_at = began_at
        if not self._has_all:
            # Of a full filter, the count of what was new to it is too low.
            self.scanned += len(page.keys)
            # What came during the scan is on the page that follows it.
            self._has_all = not page.has_more


class _Inspection:
    """The inspection of the store that is copied; what it clears, the copy forgets."""

    def __init__(self, inner: Inspection, forget: t.Callable[[], None]) -> None:
        self._inner = inner
        self._forget = forget

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._inner, name)

    def clear(self) -> None:
        self._inner.clear()
        self._forget()
