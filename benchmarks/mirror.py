"""What the mirror costs: per request, per worker in memory, and until it is filled.

Each size is measured in a process of its own, as a worker would be. "request_ratio" is a
protected request with the mirror over the same request of an app without any hook, taken
in turns in that process, for a token that comes again and again; syncs are part of it.
"crowd" is the same for 5,000 tokens in turn, "served" for one over HTTP, from workers of
gunicorn that serve both apps. "memory" is what the process grew by: with the copy, and at
most while a rebuild makes a second one beside it.
"""

from __future__ import annotations

import os
import time
import typing as t
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

from flask import Flask

from flask_logout import Revocation
from flask_logout.stores import mirror as mirror_module
from flask_logout.stores.mirror import Mirror
from flask_logout.stores.sqlalchemy.server_clock import OVERLAP

from .databases import new_database
from .filling import fill
from .measuring import alternate
from .measuring import paired_ratio
from .measuring import Samples
from .measuring import spread
from .recipes import make_app
from .recipes import make_caller
from .reporting import make_parser
from .reporting import report
from .reporting import Row
from .serving import served

TARGET_RATIO = 1.02
"""The most that a request with the mirror may cost, over one with no hook."""

TARGET_KEYS_PER_S = 200_000
TARGET_MEMORY_MB = 40

_PAGE_SIZE_OF_MEMORY = os.sysconf("SC_PAGE_SIZE")
# One call each in turn: what is to be told apart is a hundredth.
_CALLS = 1
_WARM_UP = 5000
_CROWD = 5000
_SERVERS = 4


def measure(database: str, size: int, *, rounds: int) -> list[Row]:
    """Measure one size on one kind of database.

    :param database: its name.
    :param size: how many live revocations there are, 1 or more.
    :param rounds: how many rounds of requests, 1 or more.
    :returns: one line; none without such a server.
    """
    with new_database(database) as url:
        if url is None:
            return []
        _prepare(url, size)
        context = get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as worker:
            measured = worker.submit(measure_worker, url, rounds).result()
    return [{"database": database, "revocations": size, **measured}]


def measure_worker(url: str, rounds: int) -> Row:
    """Measure in this process, which has done nothing else.

    :param url: a database whose table is filled.
    :param rounds: how many rounds of requests, 1 or more.
    :returns: the figures.
    """
    app, plain = make_app("Flask-Logout, mirror on", url), make_app("none", url)
    apps = {"none": plain, "Flask-Logout, mirror on": app}
    mirror = t.cast(Mirror, app.extensions["logout"].store)
    with app.app_context():
        # What a worker without a mirror has, too: a connection and its cache.
        for _ in range(_WARM_UP):
            mirror._store.find([_random_key() for _ in range(3)])
        before = _memory_mb()
        seconds = _fill(mirror)
        keys_per_s = mirror._copy.scanned / seconds
        after = _memory_mb()
        peak = _rebuild(mirror)
        false_positives = _count_false_positives(mirror)
    samples = _ask(apps, rounds)
    quotient = paired_ratio(samples["Flask-Logout, mirror on"], samples["none"])
    crowd = _ask(apps, rounds, visitors=_CROWD)
    crowd_quotient = paired_ratio(crowd["Flask-Logout, mirror on"], crowd["none"])
    served_samples = _ask_served(apps, rounds)
    served_quotient = paired_ratio(
        served_samples["Flask-Logout, mirror on"], served_samples["none"]
    )
    check_us = _time_check(app, mirror) * 1e6
    return {
        "fill_keys_per_s": keys_per_s,
        "memory_mb": after - before,
        "memory_rebuild_mb": peak - before,
        "false_positives": false_positives,
        "find_us": check_us,
        "request_us": spread(samples["none"]).median * 1e6,
        "request_ratio": quotient.median,
        "ratio_low": quotient.low,
        "ratio_high": quotient.high,
        "crowd_ratio": crowd_quotient.median,
        "crowd_low": crowd_quotient.low,
        "crowd_high": crowd_quotient.high,
        "served_us": spread(served_samples["none"]).median * 1e6,
        "served_ratio": served_quotient.median,
        "served_low": served_quotient.low,
        "served_high": served_quotient.high,
        "met": max(quotient.median, served_quotient.median) <= TARGET_RATIO
        and keys_per_s >= TARGET_KEYS_PER_S
        and peak - before <= TARGET_MEMORY_MB,
    }


def _ask(apps: t.Mapping[str, Flask], rounds: int, visitors: int = 1) -> Samples:
    callers = {name: make_caller(app, visitors) for name, app in apps.items()}
    return alternate(callers, rounds=rounds, calls=_CALLS)


def _ask_served(apps: t.Mapping[str, Flask], rounds: int) -> Samples:
    """Take requests over HTTP in turns, from several servers one after the other."""
    samples: Samples = {name: [] for name in apps}
    for _ in range(_SERVERS):
        with served(apps) as callers:
            for name, times in alternate(callers, rounds=rounds, calls=_CALLS).items():
                samples[name] += times
    return samples


def _prepare(url: str, size: int) -> None:
    app = make_app("Flask-Logout, mirror on", url)
    start = time.monotonic()
    fill(app, size)
    # The table was filled within an instant, as no app does: news begin after it.
    time.sleep(max(0, start + OVERLAP.total_seconds() + 1 - time.monotonic()))
    with app.app_context():
        app.extensions["logout"].store.add([Revocation(_random_key(), "token", None)])
        app.extensions["sqlalchemy"].engine.dispose()


def _fill(mirror: Mirror) -> float:
    """Let checks come until the copy is complete; tell how many seconds it took."""
    start = time.perf_counter()
    while mirror._copy.is_behind:
        mirror.find([_random_key()])
    return time.perf_counter() - start


def _rebuild(mirror: Mirror) -> float:
    """Make a second copy beside the first; tell the most memory there was."""
    before, peak = mirror._copy, 0.0
    every, pause = mirror_module.REBUILD_EVERY, mirror_module.PAUSE
    mirror_module.REBUILD_EVERY = mirror_module.PAUSE = timedelta(0)
    mirror._plan()
    while mirror._copy is before:
        mirror.find([_random_key()])
        peak = max(peak, _memory_mb())
    mirror_module.REBUILD_EVERY, mirror_module.PAUSE = every, pause
    mirror._plan()
    return peak


def _count_false_positives(mirror: Mirror) -> float:
    keys = [_random_key() for _ in range(100_000)]
    return len(mirror._copy.choose(keys)) / len(keys)


def _time_check(app: Flask, mirror: Mirror) -> float:
    keys = [[_random_key() for _ in range(3)] for _ in range(1000)]
    with app.app_context():
        start = time.perf_counter()
        for three in keys:
            mirror.find(three)
        return (time.perf_counter() - start) / len(keys)


def _random_key() -> bytes:
    return os.urandom(16)


def _memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * _PAGE_SIZE_OF_MEMORY / 1e6


def main() -> None:
    """Run the benchmark."""
    parser = make_parser(__doc__, full="10 million revocations: minutes")
    parser.add_argument("--rows", type=int, action="append", help="default: 1,000,000")
    parser.add_argument("--rounds", type=int, default=5000, help="default: 5000")
    names = ("SQLite", "PostgreSQL")
    choices = (*names, "MariaDB")
    parser.add_argument("--database", choices=choices, action="append")
    options = parser.parse_args()
    sizes = [10_000_000] if options.full else options.rows or [1_000_000]
    lines: list[Row] = []
    for name in options.database or names:
        for size in sizes:
            lines += measure(name, size, rounds=options.rounds)
    report("mirror", lines, options.json)


if __name__ == "__main__":
    main()
