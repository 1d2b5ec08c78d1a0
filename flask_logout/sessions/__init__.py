"""Sessions of one app: starts, refreshes, lists and ends them.

Only apps that enable sessions import this module. Whether a session is active is not
stored in it: a session is active unless it has expired or a revocation covers it.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import replace

from .. import clock
from .. import tokens
from ..config import Settings
from ..domain.claims import began_at
from ..domain.claims import Claims
from ..domain.claims import generation_of
from ..domain.claims import lookup_of
from ..domain.revocation_keys import make_key
from ..domain.rotation import judge
from ..domain.rotation import Policy
from ..domain.rotation import REJECTED
from ..domain.rotation import Rotation
from ..domain.rotation import Session
from ..purging import current_app_object
from ..reporting import report_revoked
from ..reporting import reporting
from ..revocation_factory import complete
from ..revocation_factory import require_text
from ..service import get_service
from ..stores.monotonic import read_uptime
from ..stores.sessions import SessionStore
from ..tokens import minting
from ..tokens import RefreshRejectedError
from ..tokens.minting import Plan
from ..tokens.minting import TokenPair
from . import events
from .listing import list_of
from .listing import list_page
from .listing import PAGE
from .records import describe
from .records import key_of
from .records import Owner
from .records import owner_of
from .records import read_details


@dataclass(frozen=True)
class SessionService:
    """The sessions of one app. It is the attribute ``sessions`` of the service."""

    settings: Settings

    store: SessionStore

    policy: Policy

    def start(
        self,
        identity: t.Any,
        *,
        label: str | None,
        fresh: t.Any,
        additional_claims: Claims | None,
    ) -> TokenPair:
        """Log a user in, with one round trip, or two if the sessions are limited."""
        require_text("label", label)
        plan = minting.plan_login(
            identity, additional_claims, self.settings.session_lifetime
        )
        pair = minting.mint(plan, fresh=fresh)
        # The app's loaders may have set the issuer, so read what the token says.
        claims = minting.read(pair.refresh_token)
        session = replace(
            self._describe(claims, plan, label), generation=0, parent=None
        )
        app = current_app_object()
        with reporting(app):
            self.store.start(session)
        events.report_started(app, session)
        if self.settings.max_sessions is not None:
            self._end_oldest(owner_of(claims), self.settings.max_sessions)
        get_service().purge_occasionally(1)
        return pair

    def refresh(
        self,
        claims: Claims,
        *,
        checked_at: float | None,
        additional_claims: Claims | None = None,
    ) -> TokenPair:
        """Exchange a refresh token for a new pair, with one round trip.

        On some stores, it takes another one to check whether the token is revoked.

        :param claims: the claims of the refresh token, which is verified.
        :param checked_at: the uptime when the token was found not to be revoked, or
            ``None`` if it hasn't been checked.
        :param additional_claims: the app's own claims for both tokens.
        :returns: the new tokens.
        :raises RefreshRejectedError: if the token has been used, or its session is over.
        """
        self.check_lifetime(claims)
        plan = minting.plan_refresh(
            claims, additional_claims, self.settings.session_lifetime
        )
        app = current_app_object()
        session = self._describe(claims, plan)
        started_at = read_uptime() if checked_at is None else checked_at
        outcome, generation = self._rotate(
            claims, session, is_checked=checked_at is not None
        )
        if outcome == "reuse":
            self._end_reused(claims)
        events.report_refreshed(app, session, outcome)
        if outcome in REJECTED:
            raise RefreshRejectedError(claims, _DESCRIPTIONS[outcome])
        if self._is_late(started_at):
            _reject_revoked(claims)
        return minting.mint(plan, generation=generation)

    def check_lifetime(self, claims: Claims) -> None:
        """Reject a refresh token whose session has lasted too long (ASVS 5.0 7.3.2).

        :param claims: the claims of the refresh token.
        :raises RefreshRejectedError: if it has.
        """
        limit = self.settings.session_lifetime
        if limit is None:
            return
        age = clock.now().timestamp() - (began_at(claims) or 0)
        if age >= limit.total_seconds():
            raise RefreshRejectedError(claims, "Session has expired")

    def is_stale(self, claims: Claims) -> bool:
        """Check whether a refresh token has been used, with one round trip.

        If it has, its session is ended.

        :param claims: the claims of a verified token.
        :returns: ``True`` if every route must reject it. ``False`` for access tokens.
        """
        if claims.get("type") != "refresh":
            return False
        owner, key = owner_of(claims), key_of(claims)
        with reporting(current_app_object()):
            record = self.store.find(key, subject=owner.subject)
        generation = generation_of(claims)
        if judge(record, owner.key, generation, self.policy) != "reuse":
            return False
        self._end_reused(claims)
        return True

    def list_of(self, subject: str) -> list[Session]:
        """List the active sessions of a subject, newest first."""
        return list_of(self.store, subject)

    def end(self, owner: Owner, sid: str) -> bool:
        """End a session of a user, with one round trip.

        :param owner: the user.
        :param sid: the ``sid`` of the session.
        :returns: ``False`` if the user has no such session.
        """
        service, app = get_service(), current_app_object()
        made = service.make.of_stored_session(
            make_key("session", owner.issuer, sid), sid, owner.subject
        )
        revocation = complete(made, reason="logout", actor=owner.subject)
        with reporting(app, writing=[revocation]):
            is_ended = self.store.end(revocation, owner.key)
        if is_ended:
            service.store.remember([revocation])
            report_revoked(app, [revocation])
        return is_ended

    def _describe(
        self, claims: Claims, plan: Plan, label: str | None = None
    ) -> Session:
        return describe(
            claims,
            plan.session["login_at"],
            plan.expires_at,
            get_service().make.retention(),
            read_details(self.settings.session_details, label),
        )

    def _end_reused(self, claims: Claims) -> None:
        service, app = get_service(), current_app_object()
        made = service.make.of_logins(claims)[0]
        revocation = complete(made, reason="token_reuse")
        with reporting(app, writing=[revocation]):
            is_new = self.store.revoke_once(revocation)
        service.store.remember([revocation])
        if is_new:
            events.report_reuse(app, revocation, claims)
            report_revoked(app, [revocation])

    def _end_oldest(self, owner: Owner, limit: int) -> None:
        service = get_service()
        while True:
            found = list_page(self.store, owner, limit + PAGE)
            surplus = found[limit:]
            if surplus:
                service.revoke(
                    [
                        service.make.of_stored_session(x.key, x.sid, owner.subject)
                        for x in surplus
                    ],
                    reason="max_sessions",
                )
            if len(surplus) < PAGE:
                return

    def _rotate(
        self, claims: Claims, session: Session, *, is_checked: bool
    ) -> Rotation:
        app = current_app_object()
        if not is_checked:
            keys, _ = lookup_of(claims, tokens.identity_claim())
            with reporting(app):
                rotation = self.store.rotate_unrevoked(session, keys)
            if rotation is not None:
                return rotation
            _reject_revoked(claims)
        with reporting(app):
            return self.store.rotate(session, is_second=not is_checked)

    def _is_late(self, checked_at: float) -> bool:
        margin = self.settings.purge_margin.total_seconds()
        return read_uptime() - checked_at > margin / 2


def _reject_revoked(claims: Claims) -> None:
    if get_service().is_revoked(claims):
        raise RefreshRejectedError(claims, "Token has been revoked")


_DESCRIPTIONS = {
    "reuse": "Refresh token has been used",
    "refused": "Refresh token belongs to another session",
}
