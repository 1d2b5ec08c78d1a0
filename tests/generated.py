"""The number of examples that the generated tests try."""

from __future__ import annotations

import os

FEWER = 4


def examples(count: int) -> int:
    """Return how many examples to try: all of them under CI, elsewhere a quarter."""
    return count if os.environ.get("CI") == "true" else count // FEWER
