"""The service of one app: checks tokens, revokes them, and logs out."""

from __future__ import annotations

import typing as t
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from itertools import count

from flask import current_app

from . import audit
from . import clock
from . import jwt_extended
from . import signals
from . import upstreams
from .config import Settings
from .domain.claims import Claims
from .domain.claims import lookup_of
from .domain.claims import session_of
from .domain.revocation import covers
from .domain.revocation import merge
from .domain.revocation import Revocation
from .exceptions import ConfigError
from .exceptions import ExternalAPIError
from .exceptions import InvalidRequestError
from .exceptions import StoreUnavailableError
from .purging import current_app_object
from .purging import PURGE_BATCH
from .purging import purge_in_batches
from .registered_loaders import Loaders
from .reporting import report_revoked
from .reporting import report_unavailable
from .reporting import reporting
from .request_validation import error_item
from .revocation_factory import complete
from .revocation_factory import RevocationMaker
from .stores import Store
from .tokens import login_claims
from .tokens.pair import LogoutTokens
from .tokens.pair import owner_of

if t.TYPE_CHECKING:
    from .backchannel import BackchannelService
    from .sessions import SessionService
    from .stores import AppSession
    from .stores.sessions import SessionStore

EXTENSION = "logout"
"""The key of the service in ``app.extensions``."""


def get_service() -> LogoutService:
    """Return the service of the current app.

    :raises ConfigError: if the app has no extension.
    """
    try:
        return t.cast(LogoutService, current_app.extensions[EXTENSION])
    except KeyError:
        raise ConfigError(
            "The current app has no LogoutExtension. Call init_app(app) first."
        ) from None


@dataclass(frozen=True)
class LogoutService:
    """Implements :class:`.LogoutExtension` for one app.

    It is in ``app.extensions["logout"]``.
    """

    settings: Settings

    store: Store

    upstreams: t.Sequence[upstreams.Upstream]
    """Callbacks that end a login in other systems."""

    config: t.Mapping[str, t.Any] = field(repr=False)
    """The app's config, hidden from the ``repr`` because it contains secrets."""

    make: RevocationMaker
    """Makes the revocations to pass to :meth:`revoke`."""

    loaders: Loaders
    """The app's functions for the endpoints of other systems."""

    sessions: SessionService | None = None
    """The sessions, if they are enabled."""

    backchannel: BackchannelService | None = None
    """Receives the logouts of identity providers, if that is enabled."""

    counter: t.Iterator[int] = field(default_factory=lambda: count(1), repr=False)
    """Numbers the revocations of this worker, for the automatic purge."""

    def is_revoked(self, claims: Claims) -> bool:
        """Check whether a token is revoked, with at most one round trip to the store."""
        # This runs on every request with a token, so it does as little as possible.
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
        """Call the upstreams, then revoke both tokens in one statement.

        :param pair: the verified tokens.
        :raises ExternalAPIError: if an upstream failed. Nothing is revoked.
        :raises StoreUnavailableError: if the store can't be reached.
        """

        def make() -> list[Revocation]:
            sent = [x for x in (pair.access, pair.refresh) if x is not None]
            self.make.notice(sent[-1])
            return merge(self.make.of_logins(*sent))

        self._log_out(pair, make)

    def log_out_everywhere(self, access: Claims, *, keep_current: bool = False) -> None:
        """Revoke every login of a user, or every other one.

        Call the upstreams first, unless the current login stays.

        :param access: the claims of the user's access token, which is verified.
        :param keep_current: whether the login of that token stays valid.
        :raises InvalidRequestError: if it should stay, but the token has no session.
        :raises ExternalAPIError: if an upstream failed. Nothing is revoked.
        :raises StoreUnavailableError: if the store can't be reached.
        """
        self.make.notice(access)
        if not keep_current:
            pair = LogoutTokens(access, None, None)
            self._log_out(pair, lambda: self.make.of_owner(access))
            return
        if session_of(access) is None:
            item = error_item("keep_current", "session_required", keep_current)
            raise InvalidRequestError([item])
        self.revoke_in_request(self.make.of_owner(access, keep_current=True))

    def _log_out(
        self, pair: LogoutTokens, make: t.Callable[[], list[Revocation]]
    ) -> None:
        called = 0
        try:
            for upstream in self.upstreams:
                upstreams.call(current_app.ensure_sync(upstream), pair)
                called += 1
            self.revoke_in_request(make())
        except (ExternalAPIError, StoreUnavailableError):
            if called:
                audit.log_logout_incomplete(owner_of(pair.access)[1], called)
            raise
        sent = {"access": pair.access, "refresh": pair.refresh}
        signals.send(signals.logged_out, current_app_object(), **sent)
        jwt_extended.clear_token()

    def revoke_in_request(
        self,
        revocations: t.Sequence[Revocation],
        *,
        reason: str = "logout",
        actor: str | None = None,
    ) -> None:
        """Store revocations for an endpoint, with ``db.session`` if the app wants that.

        :param actor: who revokes, by default the subject of the first revocation.
        """
        app, commits = current_app_object(), self.settings.commit_app_session
        session = app.extensions["sqlalchemy"].session if commits else None
        actor = revocations[0].subject if actor is None else actor
        self.revoke(revocations, session=session, reason=reason, actor=actor)
        if session is not None:
            from .app_transaction import commit

            commit(app, session, revocations)

    def revoke(
        self,
        revocations: t.Sequence[Revocation],
        *,
        session: AppSession | None = None,
        reason: str | None = None,
        actor: str | None = None,
        record: t.Sequence[Revocation] = (),
    ) -> None:
        """Store revocations, then log them and send the signal.

        :param record: revocations to store with them, but not to report.
        """
        made = [complete(x, reason=reason, actor=actor) for x in revocations]
        app = current_app_object()
        if session is not None:
            from .app_transaction import SharedTransaction

            is_mirrored = bool(self.settings.max_staleness)
            shared = SharedTransaction(
                app, self.store, session, is_mirrored=is_mirrored
            )
            shared.revoke(made)
            return
        with reporting(app, writing=made):
            self.store.add([*made, *record])
        _allow_new_logins(made)
        report_revoked(app, made)
        self.purge_occasionally(len(made))

    def purge(self) -> t.Iterator[int]:
        """Delete expired records in batches, and yield the size of each batch.

        These are revocations and, if sessions are enabled, sessions.
        """
        for store in self.stores():
            yield from purge_in_batches(store)

    def purge_occasionally(self, added: int) -> None:
        """Delete a batch of expired records after a number of additions."""
        every = self.settings.purge_every
        numbers = [next(self.counter) for _ in range(added)]
        if every and any(number % every == 0 for number in numbers):
            # The records are stored already, so a failed purge must not raise.
            app = current_app_object()
            with suppress(StoreUnavailableError), reporting(app):
                for store in self.stores():
                    store.purge(clock.now(), batch=PURGE_BATCH)

    def stores(self) -> list[Store | SessionStore]:
        """List the store of revocations and, if sessions are enabled, that of sessions."""
        return [self.store, *([self.sessions.store] if self.sessions else [])]


def _allow_new_logins(revocations: t.Sequence[Revocation]) -> None:
    """Let the request that has revoked a user log that user in again."""
    cutoffs = [x.cutoff for x in revocations if x.cutoff is not None]
    if cutoffs:
        login_claims.begin_after(max(cutoffs))
