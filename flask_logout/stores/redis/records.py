"""How a revocation is written in Redis: the name of its key, and the value."""

from __future__ import annotations

import json
import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

from ...claims import KEY_SIZE
from ...exceptions import StoreUnavailableError
from ...revocation import Revocation

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
# Digits of the microseconds from 1970 to now: from 2001 to 2286 they are this many.
_CLOCK_SIZE = 16


class Names:
    """The names of an app's keys in Redis.

    :param table_name: ``LOGOUT_TABLE_NAME``, which tells apps in one database apart.
    """

    def __init__(self, table_name: str) -> None:
        self._start = table_name.encode() + b":{"
        self.pattern = self._start + b"*"
        """Matches every name of this app, and no other."""
        self._size = len(self.make(0, b"")) + KEY_SIZE

    def make(self, slot: int, tail: bytes) -> bytes:
        """Name a key of Redis.

        :param slot: 0 to 99; what has the same slot is on the same server.
        :param tail: what tells it from the others there.
        :returns: the name.
        """
        # The braces make a Cluster put what has the same number in the same place.
        return b"%b%02d}%b" % (self._start, slot, tail)

    def key_in(self, name: bytes) -> bytes | None:
        """Find the key of a revocation in the name of its key of Redis.

        :param name: a name that matches the pattern.
        :returns: 16 bytes, or ``None`` if it is no revocation.
        """
        return name[-KEY_SIZE:] if len(name) == self._size else None


def encode(revocation: Revocation) -> bytes:
    """Write a revocation, but for its key, and for the clock that the server adds.

    :param revocation: what to write.
    :returns: JSON.
    """
    spared = revocation.spared_session
    values = (
        revocation.kind,
        _to_number(revocation.expires_at),
        _to_number(revocation.cutoff),
        None if spared is None else spared.hex(),
        _to_number(revocation.spared_after),
        revocation.subject,
        revocation.token_id,
        revocation.reason,
        revocation.actor,
    )
    return json.dumps(values, separators=(",", ":")).encode()


def decode(key: bytes, value: bytes) -> Revocation:
    """Read what was written.

    :param key: the key of the revocation.
    :param value: the server's clock, and what :func:`encode` made.
    :returns: the revocation.
    :raises StoreUnavailableError: it was written by something else.
    """
    try:
        values = json.loads(value[_CLOCK_SIZE:])
        kind, expires_at, cutoff, spared, spared_after, *texts = values
        subject, token_id, reason, actor = texts
        return Revocation(
            key,
            kind,
            _to_instant(expires_at),
            cutoff=_to_instant(cutoff),
            spared_session=None if spared is None else bytes.fromhex(spared),
            spared_after=_to_instant(spared_after),
            subject=subject,
            token_id=token_id,
            reason=reason,
            actor=actor,
            revoked_at=_to_instant(int(value[:_CLOCK_SIZE])),
        )
    except (ValueError, TypeError, OverflowError) as e:
        raise StoreUnavailableError(
            "A key in Redis that starts with LOGOUT_TABLE_NAME was not written by"
            " Flask-Logout. Change LOGOUT_TABLE_NAME, or give the app a database of its"
            " own"
        ) from e


def to_milliseconds(instant: datetime) -> int:
    """Tell Redis when to forget: never too early.

    :param instant: aware UTC.
    :returns: milliseconds since 1970, 1 or more.
    """
    return max(1, -((instant - _EPOCH) // -timedelta(milliseconds=1)))


def from_clock(time: t.Sequence[int]) -> datetime:
    """Read what Redis answers to TIME.

    :param time: seconds since 1970, and microseconds.
    :returns: aware UTC.
    """
    return _EPOCH + timedelta(seconds=time[0], microseconds=time[1])


def _to_number(instant: datetime | None) -> int | None:
    return None if instant is None else (instant - _EPOCH) // _MICROSECOND


def _to_instant(number: int | None) -> datetime | None:
    return None if number is None else _EPOCH + number * _MICROSECOND
