"""Tracks the longest lifetime of the tokens that a worker has seen.

It exceeds the settings if they were shortened after the token was issued, or if the app
passes a longer ``expires_delta``. Revocations must be kept long enough for these tokens.
"""

from __future__ import annotations

import logging
import math
import typing as t
from dataclasses import replace
from datetime import timedelta

from .. import clock
from ..domain.claims import Claims
from ..domain.revocation import Retention

logger = logging.getLogger("flask_logout")

# exp and iat are rounded, and read from the clock at slightly different times.
_TOLERANCE = timedelta(seconds=1)


class LongestLifetime:
    """The longest lifetime of the tokens of one app that this worker has seen."""

    def __init__(self) -> None:
        self._longest: timedelta | None = timedelta(0)
        self._covered = 0.0

    def notice(self, claims: Claims, read_retention: t.Callable[[], Retention]) -> None:
        """Take a valid token into account, and warn if the settings don't cover it.

        :param claims: the claims of the token.
        :param read_retention: reads the retention that the settings define.
        """
        lifetime = _lifetime_of(claims)
        # This runs on every request, and only unusual tokens pass this comparison.
        if lifetime > self._covered:
            self._learn(lifetime, self.extend(read_retention()))

    def extend(self, retention: Retention) -> Retention:
        """Extend a retention to the longest lifetime that this worker has seen."""
        known, longest = retention.max_lifetime, self._longest
        if known is None or longest is None:
            return replace(retention, max_lifetime=None)
        return replace(retention, max_lifetime=max(known, longest))

    def _learn(self, lifetime: float, kept: Retention) -> None:
        self._cover(kept)
        if lifetime > self._covered:
            self._longest = _to_timedelta(lifetime)
            self._cover(self.extend(kept))
            _warn(self._longest, kept.max_lifetime)

    def _cover(self, kept: Retention) -> None:
        if kept.max_lifetime is None:
            self._covered = math.inf
            return
        # Add floats, because the sum of two timedeltas can overflow.
        durations = (kept.max_lifetime, kept.margin, _TOLERANCE)
        self._covered = sum(x.total_seconds() for x in durations)


def _warn(lifetime: timedelta | None, kept: timedelta | None) -> None:
    found = "never expires" if lifetime is None else f"has a lifetime of {lifetime}"
    logger.warning(
        "A valid token %s, but revocations are kept for a lifetime of %s. From now on,"
        " this worker keeps new revocations long enough. Revocations that are already"
        " stored may be deleted while their tokens are still valid. Set"
        " LOGOUT_MAX_TOKEN_LIFETIME to the longest lifetime of any token that may still"
        " be valid, and don't issue tokens without an exp claim.",
        found,
        kept,
    )


def _lifetime_of(claims: Claims) -> float:
    try:
        return t.cast(float, claims["exp"] - claims["iat"])
    except (KeyError, TypeError):
        return _remaining_of(claims)


def _remaining_of(claims: Claims) -> float:
    try:
        return float(claims["exp"]) - clock.now().timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return math.inf


def _to_timedelta(seconds: float) -> timedelta | None:
    try:
        return timedelta(minutes=math.ceil(seconds / 60))
    except OverflowError:
        return None
