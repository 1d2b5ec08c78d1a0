"""The protocol that every store of sessions implements."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime

from ..domain.revocation import Revocation
from ..domain.rotation import Record
from ..domain.rotation import Rotation
from ..domain.rotation import Session


@dataclass(frozen=True)
class Position:
    """A position in a list of sessions, which is ordered from new to old."""

    created_at: datetime
    key: bytes


class SessionStore(t.Protocol):
    """Stores sessions for all workers of an app, beside the revocations.

    Every method raises :exc:`.StoreUnavailableError` if the store doesn't answer.
    """

    def start(self, session: Session) -> None:
        """Store a new session, in one round trip. Starting it twice changes nothing."""

    def rotate(self, session: Session, *, is_second: bool = False) -> Rotation:
        """Exchange a refresh token, by one conditional statement (compare-and-swap).

        The statement is repeated after an answer that was lost only as long as the grace
        period lasts.

        :param session: the session as it is after a rotation: ``parent`` is the
            generation of the token that was presented. It is stored as it is if the store
            has no record of the session. If it has one, the expiry, the longer retention
            and ``last_seen_at`` are updated.
        :param is_second: whether :meth:`rotate_unrevoked` has just returned ``None`` for
            this session.
        :returns: the outcome, and the generation of the new tokens.
        :raises OutcomeUnknownError: the store didn't acknowledge the statement.
        """

    def rotate_unrevoked(
        self, session: Session, keys: t.Collection[bytes]
    ) -> Rotation | None:
        """Check and exchange a refresh token by one statement, in one round trip.

        :param session: as in :meth:`rotate`. Revocations with a cutoff are compared with
            its ``created_at``, which must be that of the token.
        :param keys: every key under which the token can be revoked.
        :returns: the outcome of an unrevoked token. ``None`` if nothing has changed and
            the caller has to check the token and then call :meth:`rotate`, either because
            it may be revoked, or because the store needs a statement for each.
        :raises OutcomeUnknownError: the store didn't acknowledge the statement.
        """

    def find(self, key: bytes, *, subject: str | None) -> Record | None:
        """Find the record of a session, in one round trip.

        :param key: the key of the session.
        :param subject: the subject of its tokens, with which a store that is spread over
            several servers chooses a server.
        """

    def list_active(
        self,
        subject_key: bytes,
        covering: t.Sequence[bytes],
        now: datetime,
        *,
        subject: str | None,
        after: Position | None = None,
        limit: int,
    ) -> list[Session]:
        """List the sessions of a user that have neither expired nor been revoked.

        :param subject_key: the key of the user.
        :param covering: the other keys under which all sessions of the user can be
            revoked.
        :param now: the current time, aware UTC.
        :param subject: the subject of the tokens, as in :meth:`find`.
        :param after: where the previous page ended, or ``None`` for the first page.
        :param limit: the largest number of sessions, 1 or more.
        :returns: the sessions, newest first. If there are fewer than ``limit``, the list
            is complete.
        """

    def end(self, revocation: Revocation, subject_key: bytes) -> bool:
        """Store the revocation of a session if the session belongs to a user.

        :param revocation: the revocation, of kind ``session``.
        :param subject_key: the key of the user.
        :returns: ``False`` if the user has no such session.
        :raises OutcomeUnknownError: the store didn't acknowledge the statement.
        """

    def revoke_once(self, revocation: Revocation) -> bool:
        """Store a revocation unless there is one with its key already.

        :param revocation: the revocation.
        :returns: whether this call has stored it.
        :raises OutcomeUnknownError: the store didn't acknowledge the statement.
        """

    def purge(self, now: datetime, *, batch: int) -> int:
        """Delete sessions whose ``kept_until`` has passed, at most ``batch`` of them.

        :param now: the current time, aware UTC.
        :param batch: the largest number to delete, 1 or more.
        :returns: the number deleted. If it is less than ``batch``, none are left.
        """

    def inspect(self) -> SessionInspection:
        """Return the administrative view of this store."""


@dataclass(frozen=True)
class SessionTally:
    """Counts the sessions in a store."""

    live: int = 0
    """The number whose refresh token has not expired. They may be revoked."""

    expired: int = 0
    """The number whose refresh token has expired."""


class SessionInspection(t.Protocol):
    """The administrative view of a store of sessions.

    Every method raises :exc:`.StoreUnavailableError` if the store doesn't answer.
    """

    def create(self) -> str:
        """Create the table if it is missing.

        :returns: a sentence that says what was done.
        """

    def clear(self) -> None:
        """Delete every session. Only the tests of apps use this."""

    def count(self, now: datetime) -> SessionTally:
        """Count the sessions. This reads all of them.

        :param now: the current time, aware UTC.
        """

    def list_problems(self) -> list[str]:
        """List what is wrong with the table of sessions.

        :returns: a line for each problem, which says what to do.
        """
