"""Compare the clock of the database with the uptime of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta

from .. import LONGEST_WRITE

TOLERANCE = timedelta(seconds=5)
"""The largest amount by which the clock may fall behind between two readings."""

OVERLAP = LONGEST_WRITE + TOLERANCE
"""The largest age that a row can have when it becomes visible."""


@dataclass(frozen=True)
class Reading:
    """A reading of the database's clock."""

    now: datetime
    """The time of the database, aware UTC."""

    began_at: float
    """The uptime before the reading, in seconds."""

    ended_at: float
    """The uptime after the reading, in seconds."""

    def is_behind(self, earlier: Reading) -> bool:
        """Whether the clock fell behind the uptime by more than the tolerance.

        That happens if somebody sets the clock, or if another server with another clock
        takes over. The comparison with the uptime detects it even if the clock still
        shows a later time than in the earlier reading.
        """
        elapsed = timedelta(seconds=self.ended_at - earlier.began_at)
        return self.now - earlier.now < elapsed - TOLERANCE
