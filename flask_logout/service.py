"""What the extension does for one app: check tokens, revoke them, and log out."""

from __future__ import annotations

import time
import typing as t
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from itertools import count

from flask import current_app
from flask import Flask

from . import audit
from . import clock
from . import jwt_extended
from . import login
from . import signals
from . import upstreams
from .claims import Claims
from .claims import lookup_of
from .config import Settings
from .exceptions import ConfigError
from .exceptions import ExternalAPIError
from .exceptions import StoreUnavailableError
from .making import require_text
from .making import RevocationMaker
from .pair import LogoutTokens
from .pair import owner_of
from .reporting import report_revoked
from .reporting import report_unavailable
from .reporting import reporting
from .revocation import covers
from .revocation import merge
from .revocation import Revocation
from .revocation import shown
from .stores import Store

if t.TYPE_CHECKING:
    from .stores import AppSession

EXTENSION = "logout"
"""The key of the service in ``app.extensions``."""

PURGE_BATCH = 1000
"""The largest number of revocations that one statement deletes."""

PURGE_SPELL = 0.3
"""How many seconds a purge works before it rests."""

PURGE_REST = 0.1
"""How many seconds it rests. A connection that waits for the lock of a SQLite file polls it
at least every tenth of a second, so every waiter gets a turn."""

current_app_object: t.Callable[[], Flask] = t.cast(
    t.Any, current_app
)._get_current_object
"""Returns the current app itself. Its proxy is slow, and can't be a sender of signals."""


def get_service() -> LogoutService:
    """Return the service of the current app.

    :raises ConfigError: the app has no extension.
    """
    try:
        return t.cast(LogoutService, current_app.extensions[EXTENSION])
    except KeyError:
        raise ConfigError(
            "the current app has no LogoutExtension. Call init_app(app) first."
        ) from None


@dataclass(frozen=True)
class LogoutService:
    """One per app, in ``app.extensions["logout"]``; it never changes.

    :class:`.LogoutExtension` documents the verbs.
    """

    settings: Settings
    """The settings of the app."""

    store: Store
    """Where the revocations of the app are kept."""

    upstreams: t.Sequence[upstreams.Upstream]
    """What else has to end a login."""

    config: t.Mapping[str, t.Any] = field(repr=False)
    """The configuration of the app, in which there are secrets."""

    make: RevocationMaker
    """Makes revocations, to be passed to :meth:`revoke`."""

    counter: t.Iterator[int] = field(default_factory=lambda: count(1), repr=False)
    """Counts the revocations of this worker, for housekeeping."""

    def is_revoked(self, claims: Claims) -> bool:
        """See :meth:`.LogoutExtension.is_revoked`."""
        # Every request comes here, so this does no more than it must.
        keys, subject = lookup_of(claims, self.config["JWT_IDENTITY_CLAIM"])
        try:
            found = self.store.find(keys, subject=subject)
        except StoreUnavailableError as e:
            report_unavailable(e, current_app_object())
            raise
        if not found:
            return False
        return any(covers(revocation, claims) for revocation in found)

    def log_out(self, pair: LogoutTokens) -> None:
        """Call the upstreams, then revoke the tokens in one statement.

        :param pair: the verified tokens.
        :raises ExternalAPIError: an upstream failed; nothing is revoked.
        :raises StoreUnavailableError: the store did not answer.
        """
        called = 0
        try:
            for upstream in self.upstreams:
                upstreams.call(current_app.ensure_sync(upstream), pair)
                called += 1
            self._revoke_pair(pair)
        except (ExternalAPIError, StoreUnavailableError):
            if called:
                audit.log_logout_incomplete(owner_of(pair.access)[1], called)
            raise
        jwt_extended.forget_token()

    def _revoke_pair(self, pair: LogoutTokens) -> None:
        sent = [x for x in (pair.access, pair.refresh) if x is not None]
        self.make.notice(sent[-1])
        app, revocations = current_app_object(), merge(self.make.of_logins(*sent))
        commits = self.settings.commit_app_session
        session = app.extensions["sqlalchemy"].session if commits else None
        actor = revocations[0].subject
        self.revoke(revocations, session=session, reason="logout", actor=actor)
        if session is not None:
            from .app_session import commit

            commit(app, session, revocations)
        signals.send(signals.logged_out, app, access=pair.access, refresh=pair.refresh)

    def revoke(
        self,
        revocations: t.Sequence[Revocation],
        *,
        session: AppSession | None = None,
        reason: str | None = None,
        actor: str | None = None,
    ) -> None:
        """Keep revocations, then log them, then signal them."""
        reason, actor = _shown("reason", reason), _shown("actor", actor)
        kept = [replace(x, reason=reason, actor=actor) for x in revocations]
        app = current_app_object()
        if session is not None:
            from .app_session import SharedTransaction

            is_mirrored = bool(self.settings.max_staleness)
            shared = SharedTransaction(
                app, self.store, session, is_mirrored=is_mirrored
            )
            shared.revoke(kept)
            return
        with reporting(app, writing=kept):
            self.store.add(kept)
        _begin_after(kept)
        report_revoked(app, kept)
        self._keep_house(len(kept))

    def purge(self) -> t.Iterator[int]:
        """Forget batch by batch, and tell after each how many went."""
        rest_at = time.monotonic() + PURGE_SPELL
        while True:
            with reporting(current_app_object()):
                forgotten = self.store.purge(clock.now(), batch=PURGE_BATCH)
            yield forgotten
            if forgotten < PURGE_BATCH:
                return
            if time.monotonic() > rest_at:
                time.sleep(PURGE_REST)
                rest_at = time.monotonic() + PURGE_SPELL

    def _keep_house(self, added: int) -> None:
        """Forget a little now and then, so that nobody has to remember to purge."""
        every = self.settings.purge_every
        numbers = [next(self.counter) for _ in range(added)]
        if every and any(number % every == 0 for number in numbers):
            # What was revoked is revoked, whatever becomes of the tidying.
            app = current_app_object()
            with suppress(StoreUnavailableError), reporting(app):
                self.store.purge(clock.now(), batch=PURGE_BATCH)


def _shown(name: str, value: str | None) -> str | None:
    return shown(require_text(name, value))


def _begin_after(revocations: t.Sequence[Revocation]) -> None:
    """Let the request that has revoked a user log that user in again."""
    cutoffs = [x.cutoff for x in revocations if x.cutoff is not None]
    if cutoffs:
        login.begin_after(max(cutoffs))
