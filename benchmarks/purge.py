"""How fast the expired go, and what the checks of other workers feel of it.

Half of the rows have expired. One or more processes purge them in batches of a thousand,
as ``flask logout purge`` does, while this process asks the store as a worker would. The
p99 of the checks is compared with the p99 before the purge. "left" is what must be 0.
SQLite is measured with a write-ahead log, without which a writer keeps readers waiting.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import typing as t
from multiprocessing.connection import Connection

from flask import Flask

from .databases import new_database
from .filling import fill
from .measuring import percentile
from .recipes import make_app
from .reporting import make_parser
from .reporting import report
from .reporting import Row

SPEED_TARGET = 20_000
"""Rows a second that must go, at least."""

P99_TARGET = 3.0
"""What the p99 of checks may rise to, as a multiple of its idle value."""

_IDLE_SECONDS = 5
_PAUSE = 0.002


def measure(database: str, url: str, *, rows: int, purgers: int) -> Row:
    """Measure on one database.

    :param database: its name.
    :param url: where it is, empty.
    :param rows: how many rows, half of them expired, 2 or more.
    :param purgers: how many processes purge side by side, 1 or more.
    :returns: a line.
    """
    app = make_app("Flask-Logout", url)
    fill(app, rows, expired_percent=50)
    crew = [_Purger(url) for _ in range(purgers)]
    idle_until = time.perf_counter() + _IDLE_SECONDS
    idle = _check_while(app, lambda: time.perf_counter() < idle_until)
    for purger in crew:
        purger.start()
    busy = _check_while(app, lambda: any(purger.is_busy() for purger in crew))
    results = [purger.result() for purger in crew]
    gone, seconds = sum(x[0] for x in results), max(x[1] for x in results)
    rise = percentile(busy, 99) / percentile(idle, 99)
    return {
        "database": database,
        "purgers": purgers,
        "rows": rows,
        "purged": gone,
        "left": rows // 2 - gone,
        "rows_per_s": gone / seconds,
        "checks": len(busy),
        "p99_idle_us": percentile(idle, 99) * 1e6,
        "p99_purging_us": percentile(busy, 99) * 1e6,
        "p99_ratio": rise,
        # Of several side by side, only that none fails and nothing is left.
        "met": gone == rows // 2
        and (purgers > 1 or (gone / seconds >= SPEED_TARGET and rise <= P99_TARGET)),
    }


def _check_while(app: Flask, goes_on: t.Callable[[], bool]) -> list[float]:
    """Ask the store again and again, and give the seconds of each check, ascending."""
    store = app.extensions["logout"].store
    times: list[float] = []
    with app.app_context():
        while goes_on():
            keys = [os.urandom(16) for _ in range(3)]
            start = time.perf_counter()
            store.find(keys)
            times.append(time.perf_counter() - start)
            # A worker with something else to do: the purge is not to be starved.
            time.sleep(_PAUSE)
    return sorted(times)


class _Purger:
    """A process that purges a database until nothing expired is left."""

    def __init__(self, url: str) -> None:
        # Nothing open may be carried over, so not by a fork.
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_purge, args=(url, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._ours.recv()

    def start(self) -> None:
        self._ours.send(None)

    def is_busy(self) -> bool:
        return not self._ours.poll()

    def result(self) -> tuple[int, float]:
        result: tuple[int, float] = self._ours.recv()
        self._process.join()
        return result


def _purge(url: str, parent: Connection) -> None:
    app = make_app("Flask-Logout", url)
    state = app.extensions["logout"]
    with app.app_context():
        # The connection is there before the clock runs.
        state.store.find([bytes(16)])
        parent.send(None)
        parent.recv()
        start = time.perf_counter()
        gone = sum(state.purge())
        parent.send((gone, time.perf_counter() - start))


def main() -> None:
    """Run the benchmark."""
    parser = make_parser(__doc__, full="a million of two million rows: minutes")
    parser.add_argument("--rows", type=int, default=400_000, help="default: 400,000")
    parser.add_argument("--purgers", type=int, default=1, help="default: 1")
    names = ("SQLite WAL", "PostgreSQL")
    choices = (*names, "SQLite", "MariaDB")
    parser.add_argument("--database", choices=choices, action="append")
    options = parser.parse_args()
    rows = 2_000_000 if options.full else options.rows
    lines: list[Row] = []
    for name in options.database or names:
        with new_database(name) as url:
            if url is not None:
                lines.append(measure(name, url, rows=rows, purgers=options.purgers))
    report("purge", lines, options.json)


if __name__ == "__main__":
    main()
