"""What the extension keeps per app, and what it does with it: revoke, and ask."""

from __future__ import annotations

import time
import typing as t
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from datetime import timedelta
from itertools import count

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from . import audit
from . import login
from . import signals
from . import tokens
from .claims import Claims
from .claims import lookup_of
from .claims import make_key
from .config import Settings
from .errors import OutcomeUnknownError
from .errors import StoreUnavailableError
from .lifetime import LongestLifetime
from .revocation import covers
from .revocation import Kind
from .revocation import merge
from .revocation import postpone
from .revocation import Retention
from .revocation import Revocation
from .revocation import revoke_login
from .revocation import revoke_one
from .revocation import shown
from .stores import Store
from .stores.sqlalchemy.clock import LONGEST_WRITE
from .stores.sqlalchemy.joining import explain_commit
from .stores.uptime import read_uptime

if t.TYPE_CHECKING:
    from .stores import AppSession

EXTENSION = "logout"
"""The key of the state in ``app.extensions``."""

PURGE_BATCH = 1000
"""How many revocations one statement forgets at most."""

PURGE_SPELL = 0.3
"""How many seconds a purge works before it rests."""

PURGE_REST = 0.1
"""How many seconds it rests. Who waits for the lock of an SQLite file looks for it every
tenth of a second at least, so no rest passes anybody over."""


# The least time between two instants that a database tells apart.
_TICK = timedelta(microseconds=1)

_NOT_REPEATED = (
    "The app's transaction has committed a revocation, but writing it again after the"
    " commit failed. A login that began during the commit may stay valid, so revoke"
    " again: %s"
)
_MAY_BE_MISSING = (
    "The app's transaction is committed, but writing the revocation again after the"
    " commit failed, so checks may miss it. Revoke again: %s"
)


@dataclass(frozen=True)
class LogoutTokens:
    """A pair of verified tokens that is about to be revoked."""

    access: Claims
    """The claims of the access token."""

    refresh: Claims | None
    """The claims of the refresh token, which may have expired. ``None`` if there is none,
    which :confval:`LOGOUT_REQUIRE_REFRESH_TOKEN` may allow."""

    refresh_token: str | None = field(repr=False)
    """The refresh token itself, for an upstream that has to see it."""


Upstream = t.Callable[[LogoutTokens], object]


@dataclass(frozen=True)
class LogoutState:
    """One per app, in ``app.extensions["logout"]``; it never changes.

    :class:`.LogoutExtension` documents the verbs.
    """

    settings: Settings
    """The settings of the app."""

    store: Store
    """Where the revocations of the app are kept."""

    upstreams: t.Sequence[Upstream]
    """What else must forget the tokens of a logout."""

    config: t.Mapping[str, t.Any] = field(repr=False)
    """The configuration of the app, in which there are secrets."""

    counter: t.Iterator[int] = field(default_factory=lambda: count(1), repr=False)
    """Counts the revocations of this worker, for housekeeping."""

    lifetime: LongestLifetime = field(default_factory=LongestLifetime, repr=False)
    """How long tokens live, as far as this worker knows."""

    def is_revoked(self, claims: Claims) -> bool:
        """See :meth:`.LogoutExtension.is_revoked`."""
        # Every request comes here, so this does no more than it must.
        keys, subject = lookup_of(claims, self.config["JWT_IDENTITY_CLAIM"])
        try:
            found = self.store.find(keys, subject=subject)
        except StoreUnavailableError as e:
            _announce(e, tokens.current())
            raise
        if not found:
            return False
        return any(covers(revocation, claims) for revocation in found)

    def notice(self, claims: Claims) -> None:
        """Learn from the claims of a genuine token how long tokens live."""
        self.lifetime.notice(claims, self._configured_retention)

    def log_out(self, pair: LogoutTokens) -> None:
        """Revoke a pair of tokens, or their sessions, in one statement."""
        sent = [x for x in (pair.access, pair.refresh) if x is not None]
        self.notice(sent[-1])
        app = tokens.current()
        revocations = merge(self.of_logins(*sent))
        commits = self.settings.commit_app_session
        session = app.extensions["sqlalchemy"].session if commits else None
        self.revoke(
            revocations,
            session=session,
            reason="logout",
            actor=revocations[0].subject,
        )
        if session is not None:
            _commit(app, session, revocations)
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
        if session is None:
            with _announced(writing=kept):
                self.store.add(kept)
            _begin_after(kept)
            _tell(tokens.current(), kept)
            self._keep_house(len(kept))
        else:
            self._revoke_within(session, kept)

    def _revoke_within(self, session: AppSession, made: list[Revocation]) -> None:
        """Write in the app's transaction, again at its commit, and again after it.

        Until the commit, a login can read the password that the app is changing.
        """
        app, written_at = tokens.current(), 0.0
        # The cutoff moves from where it is, so that it never stays behind the clock.
        made_at = next((x.cutoff for x in made if x.cutoff is not None), tokens.now())

        def renew() -> list[Revocation]:
            return postpone(made, max(_TICK, tokens.now() - made_at))

        def write() -> None:
            nonlocal written_at
            written_at = read_uptime()
            with _announced(app):
                joined.add(renew())

        def repeat() -> None:
            again, took = renew(), read_uptime() - written_at
            # A mirror misses what is committed later than it expects.
            is_late = took > LONGEST_WRITE.total_seconds()
            is_seen = not (is_late and self.settings.max_staleness)
            self._repeat(app, again, is_certain=joined.is_certain and is_seen)
            _tell(app, again)

        with _announced(app):
            joined = self.store.join(session)
        write()
        joined.around_commit(before=write, after=repeat)

    def _repeat(
        self, app: Flask, revocations: t.Sequence[Revocation], *, is_certain: bool
    ) -> None:
        """Write once more what the app has committed."""
        try:
            self.store.add(revocations)
        except StoreUnavailableError as e:
            if is_certain:
                _announce(StoreUnavailableError(_NOT_REPEATED % e), app)
                return
            unknown = OutcomeUnknownError(_MAY_BE_MISSING % e)
            _announce(unknown, app, revocations)
            raise unknown from e

    def of_token(self, claims: Claims) -> list[Revocation]:
        """Make the revocation of one token."""
        retention, name = self._retention(), self.config["JWT_IDENTITY_CLAIM"]
        return [revoke_one(claims, retention=retention, identity_claim=name)]

    def of_logins(self, *claims: Claims) -> list[Revocation]:
        """Make the revocations of the logins of tokens, or of tokens without one."""
        now, retention = tokens.now(), self._retention()
        name = self.config["JWT_IDENTITY_CLAIM"]
        return [
            revoke_login(x, now=now, retention=retention, identity_claim=name)
            for x in claims
        ]

    def of_session(self, sid: str) -> list[Revocation]:
        """Make the revocations of one session, one for each issuer that is accepted."""
        if not _require_text("sid", sid):
            raise ValueError("the sid is empty: pass the sid claim of a token")
        return self._of_kind("session", sid)

    def of_subject(
        self, subject: str, *, keep_session: str | None = None
    ) -> list[Revocation]:
        """Make the revocations of every token of a subject, spelled as in the tokens."""
        _require_text("keep_session", keep_session)
        return self._of_kind("subject", subject, keep_session=keep_session)

    def of_everyone(self) -> list[Revocation]:
        """Make the revocations of every token, one for each issuer that is accepted."""
        return self._of_kind("everyone", None)

    def purge(self) -> t.Iterator[int]:
        """Forget batch by batch, and tell after each how many went."""
        rest_at = time.monotonic() + PURGE_SPELL
        while True:
            with _announced():
                forgotten = self.store.purge(tokens.now(), batch=PURGE_BATCH)
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
            with suppress(StoreUnavailableError), _announced():
                self.store.purge(tokens.now(), batch=PURGE_BATCH)

    def _of_kind(
        self, kind: Kind, value: str | None, *, keep_session: str | None = None
    ) -> list[Revocation]:
        now = tokens.now()
        made = Revocation(
            b"",
            kind,
            self._retention().of_lifetime(now),
            cutoff=None if kind == "session" else now,
            subject=shown(value) if kind == "subject" else None,
            token_id=shown(value) if kind == "session" else None,
        )
        return [
            replace(
                made,
                key=make_key(kind, issuer, value),
                spared_session=make_key("session", issuer, keep_session)
                if keep_session
                else None,
            )
            for issuer in tokens.accepted_issuers()
        ]

    def _retention(self) -> Retention:
        return self.lifetime.extend(self._configured_retention())

    def _configured_retention(self) -> Retention:
        settings = self.settings
        return tokens.retention(settings.purge_margin, settings.max_token_lifetime)


def _require_text(name: str, value: str | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(
        f"Invalid {name} of type {type(value).__name__}. Expected a string."
    )


def _shown(name: str, value: str | None) -> str | None:
    return shown(_require_text(name, value))


def _begin_after(revocations: t.Sequence[Revocation]) -> None:
    """Let the request that has revoked a user log that user in again."""
    cutoffs = [x.cutoff for x in revocations if x.cutoff is not None]
    if cutoffs:
        login.begin_after(max(cutoffs))


def _commit(
    app: Flask, session: AppSession, revocations: t.Sequence[Revocation]
) -> None:
    """Commit the app's session, or roll it back if that fails."""
    try:
        session.commit()
    except StoreUnavailableError:
        session.rollback()
        raise
    except (SQLAlchemyError, OSError) as e:
        session.rollback()
        with _announced(app, writing=revocations):
            raise explain_commit(e) from e


def _tell(app: Flask, revocations: t.Sequence[Revocation]) -> None:
    audit.log_revoked(revocations)
    why = {"reason": revocations[0].reason, "actor": revocations[0].actor}
    signals.send(signals.revoked, app, revocations=revocations, **why)


@contextmanager
def _announced(
    app: Flask | None = None, *, writing: t.Sequence[Revocation] = ()
) -> t.Iterator[None]:
    try:
        yield
    except StoreUnavailableError as e:
        _announce(e, app or tokens.current(), writing)
        raise


def _announce(
    error: StoreUnavailableError, app: Flask, writing: t.Sequence[Revocation] = ()
) -> None:
    """Log and signal a store that did not answer, and a write that may have happened."""
    audit.log_store_unavailable(error)
    signals.send(signals.store_unavailable, app, error=error)
    if writing and isinstance(error, OutcomeUnknownError):
        audit.log_outcome_unknown(writing, error)
        why = {"reason": writing[0].reason, "actor": writing[0].actor}
        signals.send(
            signals.revocation_unknown, app, revocations=writing, error=error, **why
        )
