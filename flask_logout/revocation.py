"""The domain: what a revocation is, how long it is kept, and what it covers.

No Flask, no SQL, no clock: every function here depends on its arguments alone.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone

from .claims import Claims
from .claims import issued_at
from .claims import issuers_of
from .claims import make_key
from .claims import session_of
from .claims import subject_of
from .claims import text
from .claims import token_key

Kind = t.Literal["token", "session", "subject", "everyone"]
KINDS: tuple[Kind, ...] = t.get_args(Kind)

TEXT_SIZE = 255
"""Longest text that a revocation keeps for people to read, in characters."""

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class Revocation:
    """Tokens that are refused from now on: one key, and since when."""

    key: bytes
    """What is revoked: a digest of kind, issuer and value, 16 bytes."""

    kind: Kind
    """Which of a token's keys it names."""

    expires_at: datetime | None = None
    """When it may be forgotten, aware UTC; ``None``: never."""

    cutoff: datetime | None = None
    """Tokens issued later are not covered, aware UTC; ``None``: all are covered."""

    spared_session: bytes | None = None
    """The key of the one session that is not covered."""

    spared_after: datetime | None = None
    """Tokens of the spared session issued up to then are covered all the same, since
    an earlier revocation ended them, aware UTC; ``None``: none are."""

    subject: str | None = None
    """Whose tokens these are, for people to read, up to 255 characters."""

    token_id: str | None = None
    """The ``jti`` or ``sid`` it names, for people to read, up to 255 characters."""

    reason: str | None = None
    """Why it was revoked, up to 255 characters."""

    actor: str | None = None
    """Who revoked it, up to 255 characters."""

    revoked_at: datetime | None = None
    """When the store kept it, by the store's clock, aware UTC; ``None``: not yet."""


@dataclass(frozen=True)
class Retention:
    """How long a revocation must be kept so that nothing comes back to life."""

    leeway: timedelta
    """How long after ``exp`` a token is still taken."""

    margin: timedelta
    """What is added for skewed clocks and requests under way."""

    max_lifetime: timedelta | None
    """The longest life of any token the app issues; ``None``: endless."""

    def of_token(self, claims: Claims) -> datetime | None:
        """Tell when one token can no longer be alive.

        :param claims: the claims of the token.
        :returns: aware UTC, or ``None`` where it never expires.
        """
        try:
            exp = datetime.fromtimestamp(float(claims["exp"]), timezone.utc)
            return exp + self.leeway + self.margin
        except (KeyError, TypeError, ValueError, OverflowError, OSError):
            return None

    def of_lifetime(self, now: datetime) -> datetime | None:
        """Tell when every token issued up to an instant can no longer be alive.

        :param now: that instant, aware UTC.
        :returns: aware UTC, or ``None`` where tokens live for ever.
        """
        if self.max_lifetime is None:
            return None
        try:
            return now + self.max_lifetime + self.leeway + self.margin
        except OverflowError:
            return None


def covers(revocation: Revocation, claims: Claims) -> bool:
    """Tell whether a revocation found under one of a token's keys ends that token.

    :param revocation: the revocation that was found.
    :param claims: the claims of the token.
    :returns: ``True``: refuse the token.
    """
    if revocation.cutoff is None:
        return True
    issued = issued_at(claims)
    # Without an iat nothing proves that the token is newer, so it is refused.
    if issued is not None and issued > revocation.cutoff.timestamp():
        return False
    return not _is_spared(revocation, claims, issued)


def revoke_claims(
    claims: Claims, *, now: datetime, retention: Retention, identity_claim: str = "sub"
) -> Revocation:
    """Make the revocation that a logout with a token means.

    A token with a ``sid`` takes its whole session with it, the tokens that later
    refreshes issued included; one without a ``sid`` goes alone.

    :param claims: the claims of the token.
    :param now: the present, aware UTC.
    :param retention: how long it must be kept.
    :param identity_claim: the claim that holds the subject.
    :returns: a revocation of kind ``session`` or ``token``.
    """
    sid, subject = session_of(claims), shown(subject_of(claims, identity_claim))
    expires_at = retention.of_token(claims)
    if sid is None:
        jti = shown(text(claims.get("jti")))
        key = token_key(claims)
        return Revocation(key, "token", expires_at, subject=subject, token_id=jti)
    return Revocation(
        make_key("session", text(claims.get("iss")), sid),
        "session",
        latest(expires_at, retention.of_lifetime(now)),
        subject=subject,
        token_id=shown(sid),
    )


def merge(revocations: t.Iterable[Revocation]) -> list[Revocation]:
    """Make one revocation of those that share a key: what any of them covers, it covers.

    :param revocations: the revocations, the stored one of a key before the new one.
    :returns: one revocation per key.
    """
    merged: dict[bytes, Revocation] = {}
    for new in revocations:
        old = merged.get(new.key)
        merged[new.key] = new if old is None else _merge_two(old, new)
    return list(merged.values())


def postpone(revocations: t.Iterable[Revocation], by: timedelta) -> list[Revocation]:
    """Make revocations as if they had been made later.

    :param revocations: the revocations.
    :param by: how much later, 0 or more.
    :returns: the same with later cutoffs, kept longer.
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
    """Choose the later of two instants at which something may be forgotten.

    :param first: aware UTC, or ``None`` for never.
    :param second: aware UTC, or ``None`` for never.
    :returns: the later one; ``None`` is later than any.
    """
    return None if first is None or second is None else max(first, second)


def shown(value: str | None) -> str | None:
    """Make a text safe to keep and to log, for people to read.

    :param value: any text.
    :returns: the same, without control characters, at most 255 characters long.
    """
    return None if value is None else _UNPRINTABLE.sub("\ufffd", value)[:TEXT_SIZE]


def _later(expires_at: datetime | None, by: timedelta) -> datetime | None:
    try:
        return None if expires_at is None else expires_at + by
    except OverflowError:
        return None


def _is_spared(revocation: Revocation, claims: Claims, issued: float | None) -> bool:
    sid = session_of(claims)
    if revocation.spared_session is None or sid is None:
        return False
    keys = [make_key("session", issuer, sid) for issuer in issuers_of(claims)]
    if revocation.spared_session not in keys:
        return False
    if revocation.spared_after is None:
        return True
    return issued is not None and issued > revocation.spared_after.timestamp()


def _merge_two(old: Revocation, new: Revocation) -> Revocation:
    expires_at = latest(old.expires_at, new.expires_at)
    if old.cutoff is None or new.cutoff is None:
        return replace(old if old.cutoff is None else new, expires_at=expires_at)
    late, early = (new, old) if new.cutoff > old.cutoff else (old, new)
    spared_after = old.spared_after
    # A session that the earlier one did not spare was ended by it, and stays ended.
    if old.spared_session != new.spared_session and early.cutoff is not None:
        spared_after = max(late.spared_after or early.cutoff, early.cutoff)
    return replace(late, expires_at=expires_at, spared_after=spared_after)
