"""Revocations made from what an app names: a token, a session, a user, or everyone."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from . import clock
from . import jwt_settings
from .claims import Claims
from .claims import make_key
from .config import Settings
from .lifetime import LongestLifetime
from .revocation import Kind
from .revocation import Retention
from .revocation import Revocation
from .revocation import revoke_login
from .revocation import revoke_one
from .revocation import shown


class RevocationMaker:
    """Makes the revocations of one app, kept for as long as its tokens are valid.

    :param settings: the settings of the app.
    :param config: the configuration of the app.
    """

    def __init__(self, settings: Settings, config: t.Mapping[str, t.Any]) -> None:
        self._settings = settings
        self._config = config
        self._lifetime = LongestLifetime()

    def notice(self, claims: Claims) -> None:
        """Learn from the claims of a genuine token how long tokens live."""
        self._lifetime.notice(claims, self._configured_retention)

    def of_token(self, claims: Claims) -> list[Revocation]:
        """Make the revocation of one token."""
        retention, name = self._retention(), self._config["JWT_IDENTITY_CLAIM"]
        return [revoke_one(claims, retention=retention, identity_claim=name)]

    def of_logins(self, *claims: Claims) -> list[Revocation]:
        """Make the revocations of the logins of tokens, or of tokens without one."""
        now, retention = clock.now(), self._retention()
        name = self._config["JWT_IDENTITY_CLAIM"]
        return [
            revoke_login(x, now=now, retention=retention, identity_claim=name)
            for x in claims
        ]

    def of_session(self, sid: str) -> list[Revocation]:
        """Make the revocations of one session, one for each issuer that is accepted."""
        if not require_text("sid", sid):
            raise ValueError("the sid is empty: pass the sid claim of a token")
        return self._of_kind("session", sid)

    def of_subject(
        self, subject: str, *, keep_session: str | None = None
    ) -> list[Revocation]:
        """Make the revocations of every token of a subject, spelled as in the tokens."""
        require_text("keep_session", keep_session)
        return self._of_kind("subject", subject, keep_session=keep_session)

    def of_everyone(self) -> list[Revocation]:
        """Make the revocations of every token, one for each issuer that is accepted."""
        return self._of_kind("everyone", None)

    def _of_kind(
        self, kind: Kind, value: str | None, *, keep_session: str | None = None
    ) -> list[Revocation]:
        now = clock.now()
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
            for issuer in jwt_settings.accepted_issuers()
        ]

    def _retention(self) -> Retention:
        return self._lifetime.extend(self._configured_retention())

    def _configured_retention(self) -> Retention:
        settings = self._settings
        return jwt_settings.retention(
            settings.purge_margin, settings.max_token_lifetime
        )


def require_text(name: str, value: str | None) -> str | None:
    """Reject an argument that is not a string.

    :raises TypeError: it is neither a string nor ``None``.
    """
    if value is None or isinstance(value, str):
        return value
    raise TypeError(
        f"Invalid {name} of type {type(value).__name__}. Expected a string."
    )
