"""Revokes tokens in a transaction of the app, for ``session=db.session``."""

from __future__ import annotations

import typing as t
from datetime import timedelta

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from . import clock
from .domain.revocation import postpone
from .domain.revocation import Revocation
from .exceptions import OutcomeUnknownError
from .exceptions import StoreUnavailableError
from .reporting import report_revoked
from .reporting import report_unavailable
from .reporting import reporting
from .stores import LONGEST_WRITE
from .stores import Store
from .stores.monotonic import read_uptime
from .stores.sqlalchemy.app_transaction import explain_commit

if t.TYPE_CHECKING:
    from .stores import AppSession

# The resolution of the timestamps that the databases store.
_TICK = timedelta(microseconds=1)

_NOT_REPEATED = (
    "The app's transaction committed the revocation, but writing it again after the"
    " commit failed. A login that began during the commit may stay valid, so revoke"
    " again. The error was: %s"
)
_MAY_BE_MISSING = (
    "The app's transaction was committed, but writing the revocation again after the"
    " commit failed, so checks may miss it. Revoke again. The error was: %s"
)


class SharedTransaction:
    """Writes revocations in the app's transaction, at its commit, and again after it.

    A login can read the old password until the commit of the transaction that changes
    it. So the cutoff has to be renewed at the commit and after it.

    :param app: the app.
    :param store: the store of the app.
    :param session: the database session, such as ``db.session``.
    :param is_mirrored: whether other workers read the store through a mirror.
    """

    def __init__(
        self, app: Flask, store: Store, session: AppSession, *, is_mirrored: bool
    ) -> None:
        self._app = app
        self._store = store
        self._is_mirrored = is_mirrored
        self._written_at = 0.0
        with reporting(app):
            self._joined = store.join(session)

    def revoke(self, revocations: t.Sequence[Revocation]) -> None:
        """Write revocations, and report them after the commit.

        :param revocations: 1 or more revocations.
        :raises StoreUnavailableError: if the database can't be reached.
        """
        cutoffs = (x.cutoff for x in revocations if x.cutoff is not None)
        made_at = next(cutoffs, clock.now())

        def renew() -> list[Revocation]:
            # Even if the clock was set back meanwhile, cutoffs must move forward.
            return postpone(revocations, max(_TICK, clock.now() - made_at))

        def write() -> None:
            self._written_at = read_uptime()
            with reporting(self._app):
                self._joined.add(renew())

        def repeat() -> None:
            self._repeat(renew())

        write()
        self._joined.around_commit(before=write, after=repeat)

    def _repeat(self, revocations: t.Sequence[Revocation]) -> None:
        took = read_uptime() - self._written_at
        # A mirror misses rows that are committed later than LONGEST_WRITE.
        is_late = self._is_mirrored and took > LONGEST_WRITE.total_seconds()
        try:
            self._store.add(revocations)
        except StoreUnavailableError as e:
            if is_late or not self._joined.is_certain:
                unknown = OutcomeUnknownError(_MAY_BE_MISSING % e)
                report_unavailable(unknown, self._app, revocations)
                raise unknown from e
            missed = StoreUnavailableError(_NOT_REPEATED % e)
            report_unavailable(missed, self._app)
        report_revoked(self._app, revocations)


def commit(
    app: Flask, session: AppSession, revocations: t.Sequence[Revocation]
) -> None:
    """Commit a database session, or roll it back if the commit fails.

    :param app: the app.
    :param session: the database session.
    :param revocations: the revocations in its transaction.
    :raises StoreUnavailableError: if the commit failed.
    """
    try:
        session.commit()
    except StoreUnavailableError:
        session.rollback()
        raise
    except (SQLAlchemyError, OSError) as e:
        session.rollback()
        with reporting(app, writing=revocations):
            raise explain_commit(e) from e
