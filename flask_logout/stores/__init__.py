"""Where revocations are kept: the protocol that every engine fulfils."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from types import EllipsisType

from ..revocation import Kind
from ..revocation import Revocation

if t.TYPE_CHECKING:
    from sqlalchemy.orm import scoped_session
    from sqlalchemy.orm import Session

    AppSession = Session | scoped_session[t.Any]


LONGEST_WRITE = timedelta(seconds=10)
"""How long a write may take, from before its statement to after its commit."""


@dataclass(frozen=True)
class Page:
    """A part of what a store keeps, for an in-memory mirror.

    Pages come in runs. A run ends with the first page that has no more behind it.
    """

    keys: t.Sequence[bytes]
    """Keys that may be revoked."""

    cursor: object
    """Where the next page begins. Only the store knows what is in it."""

    has_more: bool
    """Whether the run goes on. ``False``: this run and those before it have every key
    that the store acknowledged before the first page of this run was read."""

    total: int | None = None
    """On the first page of all keys, about how many there are. A store that cannot tell
    what changed starts over and sets it again."""


class Store(t.Protocol):
    """Four verbs, and a look from outside.

    Each raises :exc:`.StoreUnavailableError` where it cannot know.
    """

    def add(self, revocations: t.Sequence[Revocation]) -> None:
        """Store them all, or none. They are committed when this returns.

        Adding one twice changes nothing. If two have the same key, the later cutoff and
        the later ``expires_at`` are stored.

        :param revocations: what to store.
        """

    def join(self, session: AppSession) -> Joined:
        """Join the transaction of a session of the app, without a flush.

        :param session: the session.
        :returns: what stores revocations in that transaction.
        :raises ConfigError: the session is connected to another database, or the store
            is no database of the app's.
        """

    def find(
        self, keys: t.Collection[bytes], *, subject: str | None | EllipsisType = ...
    ) -> list[Revocation]:
        """Find what is revoked under any of these keys, in one round trip.

        :param keys: 1 or more keys.
        :param subject: whose token they belong to, ``None`` where nobody is named; a
            store on many servers needs it to know which of them to ask.
        :returns: the revocations, in no order.
        """

    def changes(self, cursor: object | None) -> Page:
        """Read a page of what changed since a cursor, for an in-memory mirror.

        Nothing is missed, see :attr:`Page.has_more`. A key may come twice.

        :param cursor: the cursor of the page before; ``None``: from the beginning, all
            that is live.
        :returns: the page.
        """

    def purge(self, now: datetime, *, batch: int) -> int:
        """Forget some of what no living token needs.

        :param now: the present, aware UTC.
        :param batch: how many to forget at most, 1 or more.
        :returns: how many were forgotten; fewer than ``batch``: no more are left.
        """

    def inspect(self) -> Inspection:
        """Give what the command line asks of a store.

        :returns: the store seen from outside.
        """


class Joined(t.Protocol):
    """A store that writes in a transaction of the app."""

    is_certain: bool
    """Whether checks certainly find what it writes. If not, the session may be
    connected to another server."""

    def add(self, revocations: t.Sequence[Revocation]) -> None:
        """Store them all, or none. The app commits them, or rolls them back.

        :param revocations: what to store.
        """

    def around_commit(
        self, *, before: t.Callable[[], None], after: t.Callable[[], None]
    ) -> None:
        """Call back around the commit of what has been stored, unless it is undone.

        :param before: what to call right before the commit.
        :param after: what to call right after it.
        """


@dataclass(frozen=True)
class Tally:
    """What a store holds of one kind of revocation."""

    live: int = 0
    """How many are still needed."""

    expired: int = 0
    """How many may be forgotten."""

    oldest: datetime | None = None
    """When the first was kept, by the store's clock, aware UTC; ``None``: none."""

    newest: datetime | None = None
    """When the last was kept, by the store's clock, aware UTC; ``None``: none."""


class Inspection(t.Protocol):
    """What the command line asks of a store. Each raises as the four verbs do."""

    place: str
    """What the store is called in messages, without credentials."""

    def create(self) -> str:
        """Create the table if it is missing.

        :returns: what it did, in a sentence.
        """

    def clear(self) -> None:
        """Forget everything, for the tests of apps alone."""

    def count_kinds(self, now: datetime) -> dict[Kind, Tally]:
        """Count what is kept, kind by kind; it reads everything.

        :param now: the present, aware UTC.
        :returns: a tally for each :data:`.Kind`, empty ones included.
        """

    def count_expired(self, now: datetime) -> int:
        """Count what may be forgotten.

        :param now: the present, aware UTC.
        :returns: how many revocations no living token needs.
        """

    def read_clock(self) -> datetime:
        """Read the clock of the store.

        :returns: its present, aware UTC.
        """

    def read_last_expiry(self) -> datetime | None:
        """Read until when the revocation that is kept longest is kept.

        :returns: aware UTC. ``None``: none has an end, or the store cannot tell without
            reading everything.
        """

    def list_problems(self) -> list[str]:
        """Say what is wrong with the place where revocations are kept.

        :returns: what is wrong and what to do, a line each; nothing where all is well.
        """
