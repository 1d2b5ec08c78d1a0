"""The clock of the database, compared with the uptime of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta

from .. import LONGEST_WRITE

TOLERANCE = timedelta(seconds=5)
"""How much time the clock may lose between two readings."""

OVERLAP = LONGEST_WRITE + TOLERANCE
"""How far before the last reading a row may lie that was not visible to it."""


@dataclass(frozen=True)
class Reading:
    """One reading of the database's clock."""

    now: datetime
    """What the clock said, aware UTC."""

    began_at: float
    """The uptime before the reading, in seconds."""

    ended_at: float
    """The uptime after the reading, in seconds."""

    def is_behind(self, earlier: Reading) -> bool:
        """Tell whether the clock has gone back, or lost time, since an earlier reading.

        A clock that was set does so, and so does the clock of another server after a
        failover. It shows even if the clock is later than at the earlier reading,
        because the uptime has advanced by more.

        :param earlier: the earlier reading.
        :returns: ``False``: it has lost no more than the tolerance.
        """
        elapsed = timedelta(seconds=self.ended_at - earlier.began_at)
        return self.now - earlier.now < elapsed - TOLERANCE
