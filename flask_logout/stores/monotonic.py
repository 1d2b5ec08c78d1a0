"""The uptime of this machine, which never jumps and includes the time in suspend."""

from __future__ import annotations

import sys
import time
import typing as t
from functools import partial

Clock = t.Callable[[], float]

read_uptime: Clock = (
    # CLOCK_BOOTTIME keeps counting during suspend. time.monotonic() doesn't on Linux.
    partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if sys.platform == "linux"
    else time.monotonic
)
"""Return the uptime in seconds. It is the same in every process of a machine."""
