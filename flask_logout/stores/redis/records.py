"""Encode revocations as Redis keys and values."""

from __future__ import annotations

import json
import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

from ...domain.revocation import Revocation
from ...domain.revocation_keys import KEY_SIZE
from ...exceptions import StoreUnavailableError

FOREIGN = (
    "Redis has a key that starts with LOGOUT_TABLE_NAME but was not written by"
    " Flask-Logout. Change LOGOUT_TABLE_NAME or use another Redis database"
)
"""The message of the error if another program has written a value."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
# The number of digits of the microseconds since 1970, from 2001 to 2286.
_CLOCK_SIZE = 16
# What precedes a key in the names of other keys than those of revocations.
_SESSION, _SESSIONS_OF_USER = b"s", b"u"


class Names:
    """Makes and reads the names of an app's keys in Redis.

    :param table_name: ``LOGOUT_TABLE_NAME``, the prefix of every name. Apps that share a
        database need different ones.
    """

    def __init__(self, table_name: str) -> None:
        self._start = table_name.encode() + b":{"
        self.pattern = self._start + b"*"
        """A pattern that matches the names of this app only."""
        self._size = len(self.make(0, b"")) + KEY_SIZE

    def make(self, slot: int, tail: bytes) -> bytes:
        """Make the name of a key.

        :param slot: 0 to 99. Keys with the same slot are on the same server.
        :param tail: the rest of the name, unique within the slot.
        """
        # A Cluster chooses the server by the part between the braces.
        return b"%b%02d}%b" % (self._start, slot, tail)

    def make_session(self, slot: int, key: bytes) -> bytes:
        """Make the name of a session.

        :param slot: the slot of its user.
        :param key: the key of the session.
        """
        return self.make(slot, _SESSION + key)

    def make_sessions_of(self, slot: int, subject_key: bytes) -> bytes:
        """Make the name of the sorted set of the sessions of a user.

        :param slot: the slot of the user.
        :param subject_key: the key of the user.
        """
        return self.make(slot, _SESSIONS_OF_USER + subject_key)

    def is_session(self, name: bytes) -> bool:
        """Check whether a name that matches the pattern is that of a session."""
        return self._has_mark(name, _SESSION)

    def is_of_sessions(self, name: bytes) -> bool:
        """Check whether a name that matches the pattern is used for sessions only."""
        return self._has_mark(name, _SESSION, _SESSIONS_OF_USER)

    def _has_mark(self, name: bytes, *marks: bytes) -> bool:
        start = -KEY_SIZE - 1
        return len(name) == self._size + 1 and name[start:-KEY_SIZE] in marks

    def key_in(self, name: bytes) -> bytes | None:
        """Return the revocation key in a name, or ``None`` if it names something else.

        :param name: a name that matches the pattern.
        """
        return name[-KEY_SIZE:] if len(name) == self._size else None


def encode(revocation: Revocation) -> bytes:
    """Encode a revocation as JSON, without its key and without ``revoked_at``.

    The key is part of the name in Redis, and the server adds ``revoked_at``.
    """
    spared = revocation.spared_session
    values = (
        revocation.kind,
        to_number(revocation.expires_at),
        to_number(revocation.cutoff),
        None if spared is None else spared.hex(),
        to_number(revocation.spared_after),
        revocation.subject,
        revocation.token_id,
        revocation.reason,
        revocation.actor,
    )
    return json.dumps(values, separators=(",", ":")).encode()


def decode(key: bytes, value: bytes) -> Revocation:
    """Decode a revocation.

    :param key: the key of the revocation.
    :param value: the server's time of the write, followed by the encoded revocation.
    :raises StoreUnavailableError: another program wrote the value.
    """
    try:
        values = json.loads(value[_CLOCK_SIZE:])
        kind, expires_at, cutoff, spared, spared_after, *texts = values
        subject, token_id, reason, actor = texts
        return Revocation(
            key,
            kind,
            to_instant(expires_at),
            cutoff=to_instant(cutoff),
            spared_session=None if spared is None else bytes.fromhex(spared),
            spared_after=to_instant(spared_after),
            subject=subject,
            token_id=token_id,
            reason=reason,
            actor=actor,
            revoked_at=to_instant(int(value[:_CLOCK_SIZE])),
        )
    except (ValueError, TypeError, OverflowError) as e:
        raise StoreUnavailableError(FOREIGN) from e


def to_milliseconds(instant: datetime) -> int:
    """Convert an instant to milliseconds since 1970, rounded up, 1 or more.

    Rounding down would let Redis delete a revocation too early.
    """
    return max(1, -((instant - _EPOCH) // -timedelta(milliseconds=1)))


def from_clock(time: t.Sequence[int]) -> datetime:
    """Convert the reply to TIME, which is seconds since 1970 and microseconds."""
    return _EPOCH + timedelta(seconds=time[0], microseconds=time[1])


def to_number(instant: datetime | None) -> int | None:
    """Convert an instant to microseconds since 1970."""
    return None if instant is None else (instant - _EPOCH) // _MICROSECOND


def to_instant(number: int | None) -> datetime | None:
    """Convert microseconds since 1970 to an instant."""
    return None if number is None else _EPOCH + number * _MICROSECOND
