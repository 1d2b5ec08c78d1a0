"""Reads the clock of this worker."""

from __future__ import annotations

from datetime import datetime
from datetime import timezone


def now() -> datetime:
    """Return the current time, aware UTC."""
    return datetime.now(timezone.utc)
