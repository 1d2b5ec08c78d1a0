"""What no machine is needed for: a simulated month, and the arithmetic of many users."""

from __future__ import annotations

import math
import random
from heapq import heappop
from heapq import heappush
from importlib.util import find_spec

from .reporting import Row


def make_line(question: str, of: str, value: float, unit: str) -> Row:
    """Give an answer.

    :param question: what is asked.
    :param of: for what.
    :param value: the answer.
    :param unit: its unit.
    :returns: a line.
    """
    return {"question": question, "of": of, "value": value, "unit": unit}


def simulate_month(logouts_per_day: int, *, purge_every: int, batch: int) -> list[Row]:
    """Let a month of logouts pass, and see how far the table exceeds what is live.

    Half of the tokens die within an hour, half within thirty days; after every so many
    revocations a worker forgets a batch of expired ones, the oldest first.

    :param logouts_per_day: how many, 1 or more; each writes two rows.
    :param purge_every: revocations between two purges, 1 or more.
    :param batch: how many a purge forgets at most, 1 or more.
    :returns: a line.
    """
    chooser = random.Random(0)
    table: list[float] = []
    worst, day = 1.0, 86_400.0
    count = logouts_per_day * 60
    for i in range(count):
        now = i * 60 * day / count
        for lifetime in (chooser.uniform(0, day / 24), chooser.uniform(0, 30 * day)):
            heappush(table, now + lifetime)
        if i % (purge_every // 2) == 0:
            gone = 0
            while gone < batch and table and table[0] < now:
                heappop(table)
                gone += 1
        if now > 30 * day and i % 1000 == 0:
            live = sum(expiry >= now for expiry in table)
            worst = max(worst, len(table) / live)
    of = f"{logouts_per_day:,} logouts a day, the second month"
    return [make_line("rows in the table, at most", of, worst, "x live rows")]


def measure_mirror() -> list[Row]:
    """Measure what a key takes in the copy in memory.

    :returns: a line per size; none without the library.
    """
    if find_spec("rbloom") is None:
        return []
    from rbloom import Bloom

    sizes = (1_000_000, 10_000_000, 100_000_000)
    taken = {size: Bloom(size, 0.001).size_in_bits / 8 / 1e6 for size in sizes}
    return [
        make_line("memory of the mirror", f"{size:,} keys", megabytes, "MB per worker")
        for size, megabytes in taken.items()
    ]


def work_out(users: int) -> list[Row]:
    """Do the arithmetic for a number of users.

    :param users: how many, 1 or more.
    :returns: the lines.
    """
    # Each logs out every tenth day; the rest of a session's life is half of 30 days.
    logouts_per_day = users / 10
    live = logouts_per_day * 15
    bits_per_key = -math.log(0.001) / math.log(2) ** 2
    peak = 3 * logouts_per_day / 86_400
    of = f"{users:,} users"
    return [
        make_line("logouts", of, logouts_per_day / 86_400, "a second"),
        make_line("logouts at the peak, three times as many", of, peak, "a second"),
        make_line("live rows, one per logout (session_claims)", of, live, "rows"),
        make_line(
            "memory of the mirror", of, live * bits_per_key / 8 / 1e9, "GB per worker"
        ),
        make_line(
            "syncs of 1,000 workers, 1 s staleness", of, 1000, "queries a second"
        ),
    ]
