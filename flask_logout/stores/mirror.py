"""An in-memory mirror of the revocations, so that most checks need no round trip.

The mirror keeps a Bloom filter of the revocation keys, its copy. A key that the copy does
not have is not revoked. A key that it may have is looked up in the store. There is no
background thread: a check that finds the copy older than the bound first reads what
changed.
"""

from __future__ import annotations

import logging
import math
import typing as t
from datetime import datetime
from datetime import timedelta
from enum import Enum
from types import EllipsisType

from ..exceptions import ConfigError
from ..exceptions import StoreUnavailableError
from ..revocation import Revocation
from . import Inspection
from . import Joined
from . import Page
from . import Store
from .forking import ProcessLock
from .uptime import Clock
from .uptime import read_uptime

try:
    from rbloom import Bloom
except ImportError as e:
    raise ConfigError(
        "LOGOUT_MAX_STALENESS is set, but the library that it needs, rbloom, is not"
        " installed. Run pip install 'flask-logout[mirror]', or leave the setting out."
    ) from e

if t.TYPE_CHECKING:
    from . import AppSession

FALSE_POSITIVES = 0.001
"""The share of keys that are not revoked and cost a round trip nevertheless."""

MIN_CAPACITY = 100_000
"""The least number of keys that a copy has room for. They take 180 kilobytes."""

HEADROOM = 1.05
"""The capacity of a new copy, as a multiple of the keys that it is made for."""

REBUILD_EVERY = timedelta(hours=1)
"""How often the mirror makes a new copy, without the keys that the store has deleted."""

PAUSE = timedelta(seconds=0.25)
"""The time between two pages of a rebuild, so that it slows down no requests."""

RETRY_AFTER = timedelta(seconds=1)
"""How long the mirror waits before it reads a failed page again."""

logger = logging.getLogger("flask_logout")


class Phase(Enum):
    """What the mirror does with the checks and with its copies."""

    FILLING = "filling"
    """Checks go to the store, and each reads one page of the copy, until it is
    complete. A copy that has too much to catch up with is filled as well."""

    SERVING = "serving"
    """The copy answers checks. One check per bound first reads what changed."""

    REBUILDING = "rebuilding"
    """The copy answers checks, which also read a new copy page by page."""


class Mirror:
    """A :class:`.Store` that answers from memory when no key can be revoked.

    A check finds every revocation that the store acknowledged ``max_staleness`` before
    the check began, and every revocation of this worker at once.

    :param store: the store that it mirrors.
    :param max_staleness: how old the copy may be when a check uses it, more than 0.
    :param clock: returns seconds and never goes back.
    """

    def __init__(
        self, store: Store, *, max_staleness: timedelta, clock: Clock = read_uptime
    ) -> None:
        self._store = store
        self._bound = max_staleness.total_seconds()
        self._clock = clock
        self._lock = ProcessLock()
        self._begin()

    @property
    def phase(self) -> Phase:
        """The present phase."""
        if self._copy.is_behind:
            return Phase.FILLING
        return Phase.SERVING if self._next is None else Phase.REBUILDING

    def add(self, revocations: t.Sequence[Revocation]) -> None:
        """See :meth:`.Store.add`."""
        try:
            self._store.add(revocations)
        finally:
            # Even if it failed, because the store may have them.
            self._insert(revocations)

    def join(self, session: AppSession) -> Joined:
        """See :meth:`.Store.join`. What is committed has to be added once more."""
        return self._store.join(session)

    def find(
        self, keys: t.Collection[bytes], *, subject: str | None | EllipsisType = ...
    ) -> list[Revocation]:
        """See :meth:`.Store.find`. Most calls need no round trip."""
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
        """See :meth:`.Store.purge`. The next rebuild drops the deleted keys."""
        return self._store.purge(now, batch=batch)

    def inspect(self) -> Inspection:
        """See :meth:`.Store.inspect`."""
        return t.cast(Inspection, _Inspection(self._store.inspect(), self._forget))

    def _find(
        self, keys: t.Collection[bytes], subject: str | None | EllipsisType
    ) -> list[Revocation]:
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
        # When a check may read a page of a fill or a rebuild.
        self._due = -math.inf
        self._failed_at = -math.inf

    def _forget(self) -> None:
        with self._lock():
            self._begin()

    def _insert(self, revocations: t.Sequence[Revocation]) -> None:
        keys = [revocation.key for revocation in revocations]
        # The store has the keys by now, so a copy that begins later reads them. The next
        # copy comes first because a rebuild may end here and make it the present one.
        for copy in (self._next, self._copy):
            if copy is not None:
                copy.insert(keys)

    def _sync(self, asked_at: float) -> _Copy | None:
        """Read what changed. Return ``None`` if that is more than one page."""
        if self._copy.is_behind:
            return None
        with self._lock():
            copy = self._copy
            if not copy.is_behind and asked_at >= copy.synced_at + self._bound:
                # A check that waited for another one's failure does not try as well.
                if self._failed_at > asked_at:
                    raise StoreUnavailableError("cannot read what changed in the store")
                self._read_news(copy)
        return None if copy.is_behind else copy

    def _read_news(self, copy: _Copy) -> None:
        try:
            self._read(copy)
        except StoreUnavailableError:
            self._failed_at = self._clock()
            raise

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
            self._read(copy)
        except StoreUnavailableError as e:
            self._due = self._clock() + RETRY_AFTER.total_seconds()
            logger.warning("cannot fill the in-memory mirror, will retry: %s", e)

    def _read(self, copy: _Copy) -> None:
        copy.read(self._store, self._clock)
        if copy is self._next and not copy.is_behind:
            self._copy, self._next = copy, None
        elif copy is self._copy and copy.is_outdated:
            fresh = self._next or _Copy(self._clock(), copy.scanned)
            self._copy, self._next = fresh, None
        self._plan()

    def _plan(self) -> None:
        now, copy = self._clock(), self._copy
        rebuild_at = copy.born_at + REBUILD_EVERY.total_seconds()
        due = {
            Phase.FILLING: now,
            Phase.SERVING: now if copy.is_full else rebuild_at,
            Phase.REBUILDING: now + PAUSE.total_seconds(),
        }
        self._due = due[self.phase]
        copy.settled_until = min(copy.synced_at + self._bound, self._due)


class _Copy:
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


class _Inspection:
    """The inspection of the mirrored store. Clearing it clears the copy as well."""

    def __init__(self, inner: Inspection, forget: t.Callable[[], None]) -> None:
        self._inner = inner
        self._forget = forget

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._inner, name)

    def clear(self) -> None:
        self._inner.clear()
        self._forget()
