"""Defines revocations, which tokens they cover, and how long to keep them."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone

from .claims import began_at
from .claims import Claims
from .claims import issuers_of
from .claims import session_of
from .claims import subject_of
from .claims import text
from .claims import token_key
from .revocation_keys import make_key

Kind = t.Literal["token", "session", "subject", "everyone"]
KINDS: tuple[Kind, ...] = t.get_args(Kind)

TEXT_SIZE = 255
"""Maximum length of the texts in a revocation, in characters."""

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class Revocation:
    """A record that says which tokens to reject. Times are aware and in UTC."""

    key: bytes
    """Identifies the revoked tokens: a 16-byte digest of the kind, issuer and value."""

    kind: Kind
    """What is revoked: ``token``, ``session``, ``subject`` or ``everyone``."""

    expires_at: datetime | None = None
    """When it may be deleted. ``None`` if never."""

    cutoff: datetime | None = None
    """Logins that began after this time are not covered. ``None`` if all are covered."""

    spared_session: bytes | None = None
    """The key of one session that is not covered. ``None`` if there is none."""

    spared_after: datetime | None = None
    """The spared session is covered if it began at or before this time, because an earlier
    revocation ended it. ``None`` if it is not covered."""

    subject: str | None = None
    """The subject of the tokens, for information only, up to 255 characters."""

    token_id: str | None = None
    """The ``jti`` or ``sid``, for information only, up to 255 characters."""

    reason: str | None = None
    """Why the tokens were revoked, up to 255 characters."""

    actor: str | None = None
    """Who revoked the tokens, up to 255 characters."""

    revoked_at: datetime | None = None
    """When it was stored, by the store's clock. ``None`` if it isn't stored yet."""


@dataclass(frozen=True)
class Retention:
    """How long to keep revocations, so that revoked tokens don't become valid again."""

    leeway: timedelta
    """How long a token is still accepted after ``exp``."""

    margin: timedelta
    """How much longer to keep revocations, because clocks differ and requests take time."""

    max_lifetime: timedelta | None
    """The longest lifetime of any token, or ``None`` if some never expire."""

    def of_token(self, claims: Claims) -> datetime | None:
        """Return when the revocation of a token may be deleted, or ``None`` if never."""
        try:
            exp = datetime.fromtimestamp(float(claims["exp"]), timezone.utc)
            return exp + self.leeway + self.margin
        except (KeyError, TypeError, ValueError, OverflowError, OSError):
            return None

    def of_lifetime(self, now: datetime) -> datetime | None:
        """Return when a revocation made now may be deleted, whatever tokens it covers.

        :param now: the current time, aware UTC.
        :returns: aware UTC, or ``None`` if never.
        """
        if self.max_lifetime is None:
            return None
        try:
            return now + self.max_lifetime + self.leeway + self.margin
        except OverflowError:
            return None


def covers(revocation: Revocation, claims: Claims) -> bool:
    """Check whether a revocation covers a token.

    :param revocation: a revocation that was found under one of the token's keys.
    :param claims: the claims of the token.
    :returns: ``True`` if the token must be rejected.
    """
    if revocation.cutoff is None:
        return True
    began = began_at(claims)
    # Nothing proves that a token without login_at and iat is newer than the cutoff.
    if began is not None and began > revocation.cutoff.timestamp():
        return False
    return not _is_spared(revocation, claims, began)


def revoke_login(
    claims: Claims, *, now: datetime, retention: Retention, identity_claim: str = "sub"
) -> Revocation:
    """Make a revocation of all tokens of a login, including those of later refreshes.

    :param claims: the claims of a token of the login. If it belongs to no login (see
        :func:`.session_of`), only this token is covered.
    :param now: the current time, aware UTC.
    :param retention: how long to keep the revocation.
    :param identity_claim: the name of the claim that holds the subject.
    :returns: a revocation of kind ``session`` or ``token``.
    """
    sid = session_of(claims)
    if sid is None:
        return revoke_one(claims, retention=retention, identity_claim=identity_claim)
    return Revocation(
        make_key("session", text(claims.get("iss")), sid),
        "session",
        latest(retention.of_token(claims), retention.of_lifetime(now)),
        subject=storable(subject_of(claims, identity_claim)),
        # A replacement for a sid means nothing to people.
        token_id=storable(sid if sid == claims.get("sid") else text(claims.get("jti"))),
    )


def revoke_one(
    claims: Claims, *, retention: Retention, identity_claim: str = "sub"
) -> Revocation:
    """Make a revocation of one token.

    :param claims: the claims of the token.
    :param retention: how long to keep the revocation.
    :param identity_claim: the name of the claim that holds the subject.
    :returns: a revocation of kind ``token``.
    """
    return Revocation(
        token_key(claims),
        "token",
        retention.of_token(claims),
        subject=storable(subject_of(claims, identity_claim)),
        token_id=storable(text(claims.get("jti"))),
    )


def merge(revocations: t.Iterable[Revocation]) -> list[Revocation]:
    """Merge the revocations that have the same key.

    :param revocations: the revocations, the older ones of a key first.
    :returns: one revocation for each key, which covers what any of them covers.
    """
    merged: dict[bytes, Revocation] = {}
    for new in revocations:
        old = merged.get(new.key)
        merged[new.key] = new if old is None else _merge_two(old, new)
    return list(merged.values())


def postpone(revocations: t.Iterable[Revocation], by: timedelta) -> list[Revocation]:
    """Return revocations as they would be if they had been made later.

    :param revocations: the original revocations.
    :param by: how much later, 0 or more.
    :returns: copies with a later cutoff and expiry.
    """
    return [
        replace(
            x,
            cutoff=None if x.cutoff is None else x.cutoff + by,
            expires_at=_later(x.expires_at, by),
        )
        for x in revocations
    ]


def latest(first: datetime | None, second: datetime | None) -> datetime | None:
    """Return the later of two expiry times, where ``None`` means never.

    :param first: aware UTC or ``None``.
    :param second: aware UTC or ``None``.
    :returns: aware UTC or ``None``, which is later than any time.
    """
    return None if first is None or second is None else max(first, second)


def storable(value: str | None) -> str | None:
    """Make a text safe to store and to log.

    :param value: any text, or ``None``.
    :returns: the text with control characters replaced, cut to 255 characters.
    """
    return None if value is None else _UNPRINTABLE.sub("\ufffd", value)[:TEXT_SIZE]


def _later(expires_at: datetime | None, by: timedelta) -> datetime | None:
    try:
        return None if expires_at is None else expires_at + by
    except OverflowError:
        return None


def _is_spared(revocation: Revocation, claims: Claims, began: float | None) -> bool:
    sid = session_of(claims)
    if revocation.spared_session is None or sid is None:
        return False
    keys = [make_key("session", issuer, sid) for issuer in issuers_of(claims)]
    if revocation.spared_session not in keys:
        return False
    if revocation.spared_after is None:
        return True
    return began is not None and began > revocation.spared_after.timestamp()


def _merge_two(old: Revocation, new: Revocation) -> Revocation:
    expires_at = latest(old.expires_at, new.expires_at)
    if old.cutoff is None or new.cutoff is None:
        return replace(old if old.cutoff is None else new, expires_at=expires_at)
    late, early = (new, old) if new.cutoff > old.cutoff else (old, new)
    # If the earlier one ended a session, the later one must not spare it.
    is_same = old.spared_session == new.spared_session
    ends = (late.spared_after, early.spared_after if is_same else early.cutoff)
    spared_after = max((x for x in ends if x is not None), default=None)
    return replace(late, expires_at=expires_at, spared_after=spared_after)
