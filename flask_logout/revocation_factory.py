"""Makes revocations of a token, a session, a user, or everyone."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from . import clock
from .config import jwt_settings
from .config import Settings
from .domain.claims import Claims
from .domain.claims import session_of
from .domain.claims import subject_of
from .domain.claims import text
from .domain.revocation import covers
from .domain.revocation import Kind
from .domain.revocation import Retention
from .domain.revocation import Revocation
from .domain.revocation import revoke_login
from .domain.revocation import revoke_one
from .domain.revocation import storable
from .domain.revocation_keys import ANY_ISSUER
from .domain.revocation_keys import Issuer
from .domain.revocation_keys import make_key
from .tokens.longest_lifetime import LongestLifetime


class RevocationMaker:
    """Makes the revocations of one app, with the retention that its tokens need."""

    def __init__(self, settings: Settings, config: t.Mapping[str, t.Any]) -> None:
        self._settings = settings
        self._config = config
        self._lifetime = LongestLifetime()

    def notice(self, claims: Claims) -> None:
        """Take the lifetime of a valid token into account for later revocations."""
        self._lifetime.notice(claims, self._configured_retention)

    def of_token(self, claims: Claims) -> list[Revocation]:
        """Make a revocation of one token."""
        retention, name = self.retention(), self._config["JWT_IDENTITY_CLAIM"]
        return [revoke_one(claims, retention=retention, identity_claim=name)]

    def of_logins(self, *claims: Claims) -> list[Revocation]:
        """Make a revocation of each token's login, or of the token if it has none."""
        now, retention = clock.now(), self.retention()
        name = self._config["JWT_IDENTITY_CLAIM"]
        return [
            revoke_login(x, now=now, retention=retention, identity_claim=name)
            for x in claims
        ]

    def of_session(self, sid: str) -> list[Revocation]:
        """Make the revocations of a session, one for each accepted issuer."""
        if not require_text("sid", sid):
            raise ValueError("The sid is empty. Expected the sid claim of a token.")
        return self._of_kind("session", sid)

    def of_stored_session(
        self, key: bytes, sid: str, subject: str | None
    ) -> Revocation:
        """Make the revocation of a session that the store knows by its key."""
        return Revocation(
            key,
            "session",
            self.retention().of_lifetime(clock.now()),
            subject=storable(subject),
            token_id=storable(sid),
        )

    def of_subject(
        self, subject: str, *, keep_session: str | None = None
    ) -> list[Revocation]:
        """Make the revocations of a subject, given as it appears in the tokens."""
        require_text("keep_session", keep_session)
        return self._of_kind("subject", subject, keep_session=keep_session)

    def of_owner(
        self, claims: Claims, *, keep_current: bool = False
    ) -> list[Revocation]:
        """Make the revocations of a token's subject, for the token's issuer alone.

        With ``keep_current``, they spare the session of the token.
        """
        subject = subject_of(claims, self._config["JWT_IDENTITY_CLAIM"])
        issuer = text(claims.get("iss"))
        made = self._of_kind(
            "subject",
            subject,
            keep_session=session_of(claims) if keep_current else None,
            # Checks look up no subject under the key for tokens without an issuer.
            issuers=(ANY_ISSUER if issuer is None else issuer,),
        )
        is_covered = subject is not None and all(covers(x, claims) for x in made)
        # The token has no subject, or the clock of the worker that made it is ahead.
        return made if keep_current or is_covered else [*made, *self.of_logins(claims)]

    def of_issuer(self, kind: Kind, issuer: str, value: str | None) -> list[Revocation]:
        """Make the revocation of a session or a subject of one issuer."""
        return self._of_kind(kind, value, issuers=(issuer,))

    def of_everyone(self) -> list[Revocation]:
        """Make the revocations of all tokens, one for each accepted issuer."""
        return self._of_kind("everyone", None)

    def _of_kind(
        self,
        kind: Kind,
        value: str | None,
        *,
        keep_session: str | None = None,
        issuers: t.Sequence[Issuer] | None = None,
    ) -> list[Revocation]:
        now = clock.now()
        made = Revocation(
            b"",
            kind,
            self.retention().of_lifetime(now),
            cutoff=None if kind == "session" else now,
            subject=storable(value) if kind == "subject" else None,
            token_id=storable(value) if kind == "session" else None,
        )
        return [
            replace(
                made,
                key=make_key(kind, issuer, value),
                spared_session=make_key("session", issuer, keep_session)
                if keep_session
                else None,
            )
            for issuer in issuers or jwt_settings.accepted_issuers()
        ]

    def retention(self) -> Retention:
        """Return how long revocations of the app must be kept."""
        return self._lifetime.extend(self._configured_retention())

    def _configured_retention(self) -> Retention:
        settings = self._settings
        return jwt_settings.retention(
            settings.purge_margin, settings.max_token_lifetime
        )


def complete(
    revocation: Revocation, *, reason: str | None = None, actor: str | None = None
) -> Revocation:
    """Add to a revocation why it is made, and by whom."""
    return replace(
        revocation,
        reason=storable(require_text("reason", reason)),
        actor=storable(require_text("actor", actor)),
    )


def require_text(name: str, value: str | None) -> str | None:
    """Return the value of an argument, if it is a string or ``None``.

    :raises TypeError: if it has another type.
    """
    if value is None or isinstance(value, str):
        return value
    raise TypeError(
        f"Invalid {name} of type {type(value).__name__}. Expected a string."
    )
