"""A user with three tabs who reloads often, on a network that delays and loses responses.

The simulation uses the rules of rotation with a clock of its own.
"""

from __future__ import annotations

import heapq
import random
from datetime import timedelta

import pytest

from flask_logout.domain.rotation import Policy
from flask_logout.domain.rotation import Record
from flask_logout.domain.rotation import REJECTED
from flask_logout.domain.rotation import rotate

LOADS = 100_000
TABS = 3
USER = b"user"
GRACE = 30.0


class Row:
    """The record of a session, with a clock in seconds."""

    def __init__(self) -> None:
        self.generation = 0
        self.parent: int | None = None
        self.rotated_at = -1e9
        self.policy = Policy(timedelta(seconds=GRACE), late_retry=False)

    def present(self, generation: int, now: float) -> int | None:
        """Present a token, and return the generation of the new one."""
        is_young = now - self.rotated_at < GRACE
        record = Record(USER, self.generation, self.parent, is_young)
        outcome, new = rotate(record, USER, generation, self.policy)
        if outcome in REJECTED:
            return None
        if outcome == "rotated":
            self.generation, self.parent, self.rotated_at = new, generation, now
        return new


def simulate(keeps_newest: bool) -> int:
    """Load pages, and return how often the user has to log in again."""
    chance, row, held, logouts = random.Random(1), Row(), 0, 0
    # Responses under way: when they arrive, and the generation.
    under_way: list[tuple[float, int, int, Row]] = []
    for number in range(LOADS):
        now = 0.5 * number / TABS
        while under_way and under_way[0][0] <= now:
            _, _, arrived, of = heapq.heappop(under_way)
            if of is row:
                held = max(held, arrived) if keeps_newest else arrived
        new = row.present(held, now)
        if new is None:
            row, held, logouts, under_way = Row(), 0, logouts + 1, []
        elif chance.random() > 0.05:
            delay = chance.expovariate(1 / 2)
            heapq.heappush(under_way, (now + min(delay, 20), number, new, row))
    return logouts


@pytest.mark.parametrize(("keeps_newest", "most"), [(True, 0), (False, LOADS // 500)])
def test_a_user_who_reloads_often_stays_logged_in(
    keeps_newest: bool, most: int
) -> None:
    assert simulate(keeps_newest) <= most


def test_the_simulation_notices_a_missing_grace_period(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{__name__}.GRACE", 0.0)
    assert simulate(keeps_newest=True) > LOADS // 500
