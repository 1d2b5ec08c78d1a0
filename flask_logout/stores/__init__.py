"""The protocols that every store of revocations implements."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from types import EllipsisType

from ..domain.revocation import Kind
from ..domain.revocation import Revocation

if t.TYPE_CHECKING:
    from sqlalchemy.orm import scoped_session
    from sqlalchemy.orm import Session

    from ..domain.rotation import Policy
    from .sessions import SessionStore

    AppSession = Session | scoped_session[t.Any]


LONGEST_WRITE = timedelta(seconds=10)
"""The longest time from the start of a write to the end of its commit. In-memory mirrors
can miss a write that takes longer."""


@dataclass(frozen=True)
class Page:
    """A batch of revocation keys that an in-memory mirror reads from a store.

    A run is a sequence of pages that ends with the first one whose ``has_more`` is
    ``False``.
    """

    keys: t.Sequence[bytes]
    """Keys that may be revoked."""

    cursor: object
    """Pass this to :meth:`Store.changes` to read the next page. Opaque to callers."""

    has_more: bool
    """Whether the run continues. If ``False``, this run and the earlier ones together
    contain every key that the store acknowledged before it read the first page of this
    run."""

    total: int | None = None
    """The approximate number of keys in the store, on the first page of a full scan. A
    store that can't tell what changed scans everything again and sets this again."""


class Store(t.Protocol):
    """Stores revocations for all workers of an app.

    Every method raises :exc:`.StoreUnavailableError` if the store doesn't answer.
    """

    def add(self, revocations: t.Sequence[Revocation]) -> None:
        """Store all of the revocations or none, and commit them.

        Adding a revocation twice changes nothing. If two have the same key, the later
        cutoff and the later ``expires_at`` are stored.
        """

    def remember(self, revocations: t.Sequence[Revocation]) -> None:
        """Take revocations into account that were stored by other means than this store.

        An in-memory mirror needs this. Other stores do nothing.
        """

    def join(self, session: AppSession) -> Joined:
        """Join the transaction of one of the app's database sessions, without a flush.

        :raises ConfigError: the session is connected to another database, or the store
            isn't in one of the app's databases.
        """

    def find(
        self, keys: t.Collection[bytes], *, subject: str | None | EllipsisType = ...
    ) -> list[Revocation]:
        """Find the revocations under any of these keys, in one round trip.

        :param keys: 1 or more keys.
        :param subject: the subject of the token that the keys belong to, or ``None`` if
            it has none. A store that is spread over several servers needs the subject
            to choose a server.
        :returns: the revocations, in no particular order.
        """

    def changes(self, cursor: object | None) -> Page:
        """Read a page of the keys that changed since a cursor, for an in-memory mirror.

        No key is missed, see :attr:`Page.has_more`. A key may occur twice.

        :param cursor: the cursor of the previous page, or ``None`` to read all current
            keys from the beginning.
        """

    def purge(self, now: datetime, *, batch: int) -> int:
        """Delete expired revocations, at most ``batch`` of them.

        :param now: the current time, aware UTC.
        :param batch: the largest number to delete, 1 or more.
        :returns: the number deleted. If it is less than ``batch``, none are left.
        """

    def open_sessions(self, policy: Policy) -> SessionStore:
        """Open the store of sessions beside the revocations, without connecting to it.

        :param policy: how the app rotates its refresh tokens.
        :raises ConfigError: the store can't have sessions.
        """

    def inspect(self) -> Inspection:
        """Return the administrative view of this store."""

    def close(self) -> None:
        """Close all connections. The next use opens new ones."""


class Joined(t.Protocol):
    """Stores revocations in a transaction that the app controls."""

    is_certain: bool
    """Whether the writes certainly go to the server that checks read from. If not, the
    database session may be connected to another server."""

    def add(self, revocations: t.Sequence[Revocation]) -> None:
        """Store all of the revocations or none. The app commits or rolls back."""

    def around_commit(
        self, *, before: t.Callable[[], None], after: t.Callable[[], None]
    ) -> None:
        """Call back around the commit of the stored revocations.

        Neither function is called if the app rolls back.

        :param before: is called right before the commit.
        :param after: is called right after the commit.
        """


@dataclass(frozen=True)
class Tally:
    """Counts the revocations of one kind in a store."""

    live: int = 0
    """The number that have not expired."""

    expired: int = 0
    """The number that have expired, so that they may be deleted."""

    oldest: datetime | None = None
    """When the first one was stored, by the store's clock, aware UTC."""

    newest: datetime | None = None
    """When the last one was stored, by the store's clock, aware UTC."""


class Inspection(t.Protocol):
    """The administrative view of a store, for the command line and for tests.

    Every method raises :exc:`.StoreUnavailableError` if the store doesn't answer.
    """

    place: str
    """The name of the store in messages, without credentials."""

    def create(self) -> str:
        """Create the table if it is missing.

        :returns: a sentence that says what was done.
        """

    def clear(self) -> None:
        """Delete every revocation. Only the tests of apps use this."""

    def count_kinds(self, now: datetime) -> dict[Kind, Tally]:
        """Count the revocations of each kind. This reads all of them.

        :param now: the current time, aware UTC.
        :returns: a tally for every :data:`.Kind`.
        """

    def count_expired(self, now: datetime) -> int:
        """Count the revocations that have expired.

        :param now: the current time, aware UTC.
        """

    def read_clock(self) -> datetime:
        """Read the current time of the store, aware UTC."""

    def read_last_expiry(self) -> datetime | None:
        """Read when the revocation with the longest retention expires.

        :returns: aware UTC, or ``None`` if no revocation expires, or if the store can't
            tell without reading all of them.
        """

    def list_problems(self) -> list[str]:
        """List what is wrong with the configuration of the store.

        :returns: a line for each problem, which says what to do.
        """
