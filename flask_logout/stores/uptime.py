"""This machine's uptime, which nobody sets and which goes on during sleep."""

from __future__ import annotations

import sys
import time
import typing as t
from functools import partial

Clock = t.Callable[[], float]

read_uptime: Clock = (
    # On Linux time.monotonic() stops while the machine sleeps.
    partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if sys.platform == "linux"
    else time.monotonic
)
"""Return the uptime in seconds. Every process of a machine reads the same."""
