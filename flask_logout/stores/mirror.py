"""An in-memory mirror of the revocation keys, so that most checks need no round trip.

The mirror keeps a copy of the keys in a Bloom filter. A key that is not in the copy is
not revoked. A key that may be in the copy is looked up in the store. There is no
background thread. Instead, a check that finds the copy older than the bound first reads
what changed.
"""

from __future__ import annotations

import logging
import math
import typing as t
from datetime import datetime
from datetime import timedelta
from enum import Enum
from types import EllipsisType

from ..domain.revocation import Revocation
from ..exceptions import StoreUnavailableError
from . import Inspection
from . import Joined
from . import Page
from . import Store
from .bloom import Copy
from .fork_safety import ProcessLock
from .monotonic import Clock
from .monotonic import read_uptime

if t.TYPE_CHECKING:
    from ..domain.rotation import Policy
    from . import AppSession
    from .sessions import SessionStore

REBUILD_EVERY = timedelta(hours=1)
"""How often the mirror builds a new copy, to drop the keys that the store has deleted."""

PAUSE = timedelta(seconds=0.25)
"""The pause between two pages of a rebuild, so that it doesn't slow down requests."""

RETRY_AFTER = timedelta(seconds=1)
"""The pause before the mirror retries a page that failed."""

logger = logging.getLogger("flask_logout")


class Phase(Enum):
    """How the mirror answers checks, and which copy it reads."""

    FILLING = "filling"
    """Checks query the store. Each one also reads a page of the copy, until the copy is
    complete. The mirror returns to this phase if more than a page changed."""

    SERVING = "serving"
    """The copy answers checks. Once per bound, a check first reads what changed."""

    REBUILDING = "rebuilding"
    """The copy answers checks, while they read a new copy page by page."""


class Mirror:
    """Answers from memory unless a key may be revoked, and then queries the store.

    A check finds every revocation that was acknowledged at least ``max_staleness`` before
    the check began, and the revocations of its own worker immediately.

    :param store: the store to mirror.
    :param max_staleness: the largest age of a copy that answers checks, more than 0.
    :param clock: a monotonic clock, in seconds.
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
        if self._copy.is_behind:
            return Phase.FILLING
        return Phase.SERVING if self._next is None else Phase.REBUILDING

    @property
    def age(self) -> float | None:
        """How old the copy is that answers checks, in seconds. ``None`` while filling."""
        copy = self._copy
        return None if copy.is_behind else self._clock() - copy.synced_at

    @property
    def keys(self) -> int:
        """The number of keys in the copy that answers checks."""
        return self._copy.count

    def add(self, revocations: t.Sequence[Revocation]) -> None:
        try:
            self._store.add(revocations)
        finally:
            # Also on failure, because the store may have committed them anyway.
            self.remember(revocations)

    def remember(self, revocations: t.Sequence[Revocation]) -> None:
        keys = [revocation.key for revocation in revocations]
        # The store has the keys by now, so a copy that is created later reads them. Insert
        # into the next copy first, because a rebuild may end here and make it current.
        for copy in (self._next, self._copy):
            if copy is not None:
                copy.insert(keys)

    def join(self, session: AppSession) -> Joined:
        """Join a transaction. After its commit, :meth:`add` the same revocations."""
        return self._store.join(session)

    def find(
        self, keys: t.Collection[bytes], *, subject: str | None | EllipsisType = ...
    ) -> list[Revocation]:
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
        return self._store.changes(cursor)

    def purge(self, now: datetime, *, batch: int) -> int:
        # The next rebuild drops the deleted keys from the copy.
        return self._store.purge(now, batch=batch)

    def open_sessions(self, policy: Policy) -> SessionStore:
        return self._store.open_sessions(policy)

    def close(self) -> None:
        self._store.close()

    def inspect(self) -> Inspection:
        return t.cast(Inspection, _Inspection(self._store.inspect(), self._reset))

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
        self._copy = Copy(self._clock())
        self._next: Copy | None = None
        # The earliest time at which a check may read the next page.
        self._due = -math.inf
        self._failed_at = -math.inf

    def _reset(self) -> None:
        with self._lock():
            self._begin()

    def _sync(self, asked_at: float) -> Copy | None:
        """Read one page of changes. Return ``None`` if the copy is still behind."""
        if self._copy.is_behind:
            return None
        with self._lock():
            copy = self._copy
            if not copy.is_behind and asked_at >= copy.synced_at + self._bound:
                # Threads that waited on a failed sync share its failure, without a retry.
                if self._failed_at > asked_at:
                    raise StoreUnavailableError(
                        "the in-memory mirror can't read what changed"
                    )
                self._read_news(copy)
        return None if copy.is_behind else copy

    def _read_news(self, copy: Copy) -> None:
        try:
            self._read(copy)
        except StoreUnavailableError:
            self._failed_at = self._clock()
            raise

    def _read_ahead(self, now: float) -> None:
        """Read a page to fill or rebuild a copy, unless another thread is reading one."""
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
            copy = self._next = self._next or Copy(self._clock(), copy.scanned)
        try:
            self._read(copy)
        except StoreUnavailableError as e:
            self._due = self._clock() + RETRY_AFTER.total_seconds()
            logger.warning("cannot fill the in-memory mirror, will retry: %s", e)

    def _read(self, copy: Copy) -> None:
        copy.read(self._store, self._clock)
        if copy is self._next and not copy.is_behind:
            self._copy, self._next = copy, None
        elif copy is self._copy and copy.is_outdated:
            fresh = self._next or Copy(self._clock(), copy.scanned)
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


class _Inspection:
    """Inspects the mirrored store. Clearing the store also resets the mirror."""

    def __init__(self, inner: Inspection, reset: t.Callable[[], None]) -> None:
        self._inner = inner
        self._reset = reset

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._inner, name)

    def clear(self) -> None:
        self._inner.clear()
        self._reset()
