"""The clock of this worker."""

from __future__ import annotations

from datetime import datetime
from datetime import timezone


def now() -> datetime:
    """Read the clock of this worker, aware UTC."""
    return datetime.now(timezone.utc)
