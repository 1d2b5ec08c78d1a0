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

from ..exceptions import StoreUnavailableError
from ..revocation import Revocation
from . import Inspection
from . import Joined
from . import Page
from . import Store
from .copy import Copy
from .forking import ProcessLock
from .uptime import Clock
from .uptime import read_uptime

if t.TYPE_CHECKING:
    from . import AppSession

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
        self._copy = Copy(self._clock())
        self._next: Copy | None = None
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

    def _sync(self, asked_at: float) -> Copy | None:
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

    def _read_news(self, copy: Copy) -> None:
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
    """The inspection of the mirrored store. Clearing it clears the copy as well."""

    def __init__(self, inner: Inspection, forget: t.Callable[[], None]) -> None:
        self._inner = inner
        self._forget = forget

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._inner, name)

    def clear(self) -> None:
        self._inner.clear()
        self._forget()
