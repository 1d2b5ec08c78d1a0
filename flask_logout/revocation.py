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

from .claims import began_at
from .claims import Claims
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
    """Logins that began later are not covered, aware UTC; ``None``: all are."""

    spared_session: bytes | None = None
    """The key of the one session that is not covered."""

    spared_after: datetime | None = None
    """The spared session is covered all the same if it began up to then, because an
    earlier revocation ended it, aware UTC; ``None``: it is not covered."""

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
    began = began_at(claims)
    # Nothing proves that a token without login_at and iat is newer, so reject it.
    if began is not None and began > revocation.cutoff.timestamp():
        return False
    return not _is_spared(revocation, claims, began)


def revoke_login(
    claims: Claims, *, now: datetime, retention: Retention, identity_claim: str = "sub"
) -> Revocation:
    """Make the revocation of the login that a token belongs to.

    It covers every token of the login, those of later refreshes as well. If the token
    belongs to no login, see :func:`.session_of`, it covers that token.

    :param claims: the claims of the token.
    :param now: the present, aware UTC.
    :param retention: how long it must be kept.
    :param identity_claim: the claim that holds the subject.
    :returns: a revocation of kind ``session`` or ``token``.
    """
    sid = session_of(claims)
    if sid is None:
        return revoke_one(claims, retention=retention, identity_claim=identity_claim)
    return Revocation(
        make_key("session", text(claims.get("iss")), sid),
        "session",
        latest(retention.of_token(claims), retention.of_lifetime(now)),
        subject=shown(subject_of(claims, identity_claim)),
        token_id=shown(sid),
    )


def revoke_one(
    claims: Claims, *, retention: Retention, identity_claim: str = "sub"
) -> Revocation:
    """Make the revocation of one token.

    :param claims: the claims of the token.
    :param retention: how long it must be kept.
    :param identity_claim: the claim that holds the subject.
    :returns: a revocation of kind ``token``.
    """
    return Revocation(
        token_key(claims),
        "token",
        retention.of_token(claims),
        subject=shown(subject_of(claims, identity_claim)),
        token_id=shown(text(claims.get("jti"))),
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
    # A session that the earlier one did not spare was ended by it, and stays ended.
    is_same = old.spared_session == new.spared_session
    ends = (late.spared_after, early.spared_after if is_same else early.cutoff)
    spared_after = max((x for x in ends if x is not None), default=None)
    return replace(late, expires_at=expires_at, spared_after=spared_after)
