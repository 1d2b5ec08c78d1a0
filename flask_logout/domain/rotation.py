"""Defines sessions, and what happens when a refresh token is presented (RFC 9700 4.14).

A session counts the generations of its refresh token. Only the current generation and,
for a short time, the one before it can be exchanged for new tokens.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from datetime import timedelta

from .revocation import Revocation

Outcome = t.Literal["adopted", "rotated", "repeated", "replaced", "refused", "reuse"]
"""What happens to a refresh token: the session has no record yet, its generation is
counted, the same generation is issued again, a successor that got lost is replaced, the
session belongs to another user, or the token has been used before."""

REJECTED: frozenset[Outcome] = frozenset({"refused", "reuse"})
"""The outcomes without new tokens."""


@dataclass(frozen=True)
class Session:
    """One login of a user. Times are aware and in UTC."""

    sid: str
    """Identifies the session: the ``sid`` claim of its tokens, up to 255 characters."""

    subject: str | None
    """The subject of its tokens, up to 255 characters."""

    created_at: datetime
    """When the login began."""

    last_seen_at: datetime | None = None
    """The time of the last login or refresh, by the store's clock. ``None`` if it isn't
    stored yet."""

    expires_at: datetime | None = None
    """When the current refresh token expires. ``None`` if never."""

    user_agent: str | None = None
    """The browser or program, if :confval:`LOGOUT_SESSION_DETAILS` allows it."""

    ip_address: str | None = None
    """The address of the client, if :confval:`LOGOUT_SESSION_DETAILS` allows it."""

    label: str | None = None
    """A name for the session, from the app."""

    key: bytes = field(default=b"", repr=False)
    """The revocation key of the session, with the issuer of its tokens."""

    any_issuer_key: bytes = field(default=b"", repr=False)
    """The revocation key of the session, for tokens of any issuer."""

    subject_key: bytes = field(default=b"", repr=False)
    """The revocation key of the subject, with the issuer of its tokens."""

    generation: int = field(default=0, repr=False)
    """The current generation of the refresh token, 0 at login."""

    parent: int | None = field(default=None, repr=False)
    """The generation from which the current one was made. ``None`` at login."""

    kept_until: datetime | None = field(default=None, repr=False)
    """When the record may be deleted. ``None`` if never."""


class Record(t.NamedTuple):
    """What a store knows about a session when a refresh token is presented."""

    subject_key: bytes
    """The key of the user to whom the session belongs."""

    generation: int
    """The current generation."""

    parent: int | None
    """The generation from which the current one was made."""

    is_young: bool
    """Whether the current generation was made within the grace period."""


class Rotation(t.NamedTuple):
    """The result of presenting a refresh token."""

    outcome: Outcome
    """What happened."""

    generation: int
    """The generation of the new tokens. Meaningless for :data:`REJECTED` outcomes."""


@dataclass(frozen=True)
class Policy:
    """How an app rotates its refresh tokens."""

    grace: timedelta
    """How long a generation and the one before it can be presented again, 0 or more."""

    late_retry: bool
    """Whether the generation before can be presented later, to replace the current one."""


def judge(
    record: Record | None, subject_key: bytes, generation: int, policy: Policy
) -> Outcome:
    """Decide what presenting a refresh token means.

    :param record: the session, or ``None`` if the store doesn't have it.
    :param subject_key: the key of the token's subject.
    :param generation: the token's generation.
    :param policy: how the app rotates.
    :returns: the outcome.
    """
    if record is None:
        return "adopted"
    if record.subject_key != subject_key:
        return "refused"
    if record.is_young and generation in (record.generation, record.parent):
        return "repeated"
    if generation >= record.generation:
        return "rotated"
    if generation == record.parent and policy.late_retry:
        return "replaced"
    return "reuse"


def rotate(
    record: Record | None, subject_key: bytes, generation: int, policy: Policy
) -> Rotation:
    """Decide what presenting a refresh token means, and which generation follows.

    :param record: the session, or ``None`` if the store doesn't have it.
    :param subject_key: the key of the token's subject.
    :param generation: the token's generation.
    :param policy: how the app rotates.
    :returns: the outcome and the generation of the new tokens.
    """
    outcome = judge(record, subject_key, generation, policy)
    current = generation if record is None else record.generation
    following = {
        "adopted": generation + 1,
        "rotated": generation + 1,
        "replaced": current + 1,
    }
    return Rotation(outcome, following.get(outcome, current))


def is_ended(session: Session, revocations: t.Iterable[Revocation]) -> bool:
    """Check whether a revocation covers every token of a session.

    :param session: the session.
    :param revocations: revocations of this session, its user or everyone.
    :returns: ``True`` if one of them covers it.
    """
    return any(_ends(x, session) for x in revocations)


def _ends(revocation: Revocation, session: Session) -> bool:
    if revocation.cutoff is None:
        return True
    if session.created_at > revocation.cutoff:
        return False
    if revocation.spared_session not in (session.key, session.any_issuer_key):
        return True
    after = revocation.spared_after
    return after is not None and session.created_at <= after
