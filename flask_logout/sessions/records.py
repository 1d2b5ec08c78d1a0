"""Describes sessions for the store: whose they are, and what they tell about the client."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timezone

from flask import has_request_context
from flask import request

from .. import tokens
from ..config.value_types import Detail
from ..domain.claims import Claims
from ..domain.claims import generation_of
from ..domain.claims import session_of
from ..domain.claims import subject_of
from ..domain.claims import text
from ..domain.revocation import latest
from ..domain.revocation import Retention
from ..domain.revocation import storable
from ..domain.revocation_keys import ANY_ISSUER
from ..domain.revocation_keys import make_key
from ..domain.rotation import Session

_DETAILS: tuple[Detail, ...] = t.get_args(Detail)
_EPOCH = datetime.fromtimestamp(0, timezone.utc)


class Owner(t.NamedTuple):
    """The user to whom sessions belong."""

    issuer: str | None
    """The ``iss`` claim of the user's tokens."""

    subject: str | None
    """The subject of the user's tokens."""

    @property
    def key(self) -> bytes:
        """The key with which the store finds the user's sessions."""
        return make_key("subject", self.issuer, self.subject)


def owner_of(claims: Claims) -> Owner:
    """Return the user of a token."""
    subject = subject_of(claims, tokens.identity_claim())
    return Owner(text(claims.get("iss")), subject)


def key_of(claims: Claims) -> bytes:
    """Return the key of the session of a refresh token."""
    return make_key("session", text(claims.get("iss")), session_of(claims))


def read_details(allowed: t.Collection[Detail], label: str | None) -> dict[str, t.Any]:
    """Read the details of the client that the app wants to keep.

    The address is ``request.remote_addr``, so behind a proxy the app needs
    :class:`~werkzeug.middleware.proxy_fix.ProxyFix`.

    :param allowed: ``LOGOUT_SESSION_DETAILS``.
    :param label: the app's own name for the session, or ``None``.
    :returns: each detail, up to 255 characters, or ``None`` if it isn't kept.
    """
    known: dict[Detail, str | None] = {"label": label}
    if has_request_context():
        known["user_agent"] = request.user_agent.string or None
        known["ip_address"] = request.remote_addr
    return {x: storable(known.get(x)) if x in allowed else None for x in _DETAILS}


def describe(
    refresh: Claims,
    login_at: float,
    expires_at: datetime | None,
    retention: Retention,
    details: t.Mapping[str, t.Any],
) -> Session:
    """Describe a session as it is after a refresh token was made or exchanged.

    :param refresh: the claims of the refresh token. Its successor has the next
        generation.
    :param login_at: when the login began, in seconds since the epoch.
    :param expires_at: when the newest refresh token expires, or ``None`` if never.
    :param retention: how long the app keeps revocations, and so its sessions.
    :param details: what is kept about the client.
    :returns: the session.
    """
    sid, (issuer, subject) = t.cast(str, session_of(refresh)), owner_of(refresh)
    newest = {} if expires_at is None else {"exp": expires_at.timestamp()}
    generation = generation_of(refresh)
    return Session(
        key=make_key("session", issuer, sid),
        any_issuer_key=make_key("session", ANY_ISSUER, sid),
        subject_key=make_key("subject", issuer, subject),
        sid=t.cast(str, storable(sid)),
        subject=storable(subject),
        generation=generation + 1,
        parent=generation,
        created_at=_to_instant(login_at),
        expires_at=expires_at,
        kept_until=latest(retention.of_token(refresh), retention.of_token(newest)),
        **details,
    )


def _to_instant(seconds: float) -> datetime:
    try:
        return max(datetime.fromtimestamp(seconds, timezone.utc), _EPOCH)
    except (OverflowError, OSError, ValueError):
        return _EPOCH
