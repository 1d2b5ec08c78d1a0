"""Counts on the path of every request, at almost no cost."""

from __future__ import annotations

from itertools import count


class Tally:
    """Counts without a lock, which a forked process could inherit locked."""

    def __init__(self) -> None:
        # next() is atomic, so no call is lost. A thread that is interrupted before it
        # stores the number may make the number smaller for a moment.
        self._next = count(1).__next__
        self._number = 0
        self._highest = 0

    def add(self) -> int:
        """Count, and return the number."""
        self._number = number = self._next()
        return number

    def read(self) -> int:
        """Return the number, which never decreases."""
        self._highest = max(self._highest, self._number)
        return self._highest
