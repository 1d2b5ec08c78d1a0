"""What the tests do differently under CI, where everything that they need is installed."""

from __future__ import annotations

import os
import typing as t

import pytest

IS_CI = os.environ.get("CI") == "true"


def skip_or_fail(reason: str) -> t.NoReturn:
    """Skip a test because something is missing, or fail it in CI."""
    if IS_CI:
        pytest.fail(reason)
    pytest.skip(reason)


def examples(count: int) -> int:
    """Return how many examples to try: all of them in CI, and a quarter elsewhere."""
    return count if IS_CI else count // 4
