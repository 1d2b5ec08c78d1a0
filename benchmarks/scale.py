"""Does a check get dearer as the table grows? A small and a large table take turns.

Each check asks for a token that is not revoked, never the same twice, so that every
look-up goes its own way through the index. "request" is what the check adds to a protected
request, over the same request with no check; "store.find" is the query in it by itself.
"""

from __future__ import annotations

import os
import time
import typing as t
from contextlib import ExitStack

from flask import Flask

from flask_logout.domain.revocation_keys import make_key

from .databases import new_database
from .filling import fill
from .measuring import alternate
from .measuring import overheads
from .measuring import ratio
from .measuring import spread
from .recipes import make_app
from .recipes import make_caller
from .reporting import make_parser
from .reporting import report
from .reporting import Row

SMALL = 10_000
TARGET = 1.25
"""The most that a check in the large table may cost, as a multiple of the small one."""

_CALLS = 1
_NONE = "none"


def measure(database: str, sizes: t.Sequence[int], *, rounds: int) -> list[Row]:
    """Measure on one kind of database.

    :param database: its name.
    :param sizes: how many rows the tables have, the smallest one first.
    :param rounds: how many rounds, 1 or more.
    :returns: a line per size and way of asking; none without such a server.
    """
    with ExitStack() as stack:
        apps: dict[int, Flask] = {}
        seconds: dict[int, float] = {}
        for size in sizes:
            url = stack.enter_context(new_database(database))
            if url is None:
                return []
            apps[size] = make_app("Flask-Logout", url)
            start = time.perf_counter()
            fill(apps[size], size)
            seconds[size] = time.perf_counter() - start
        found = alternate(
            {str(size): _make_find(app) for size, app in apps.items()},
            rounds=rounds,
            calls=_CALLS,
        )
        count = (rounds + 1) * _CALLS
        asked = alternate(
            {
                _NONE: make_caller(make_app("none", "sqlite://"), count),
                **{str(size): make_caller(x, count) for size, x in apps.items()},
            },
            rounds=rounds,
            calls=_CALLS,
        )
        added = {str(size): overheads(asked, str(size), _NONE) for size in sizes}
        return [
            *_lines(database, "request", added, seconds, target=TARGET),
            *_lines(database, "store.find", found, seconds),
        ]


def _lines(
    database: str,
    what: str,
    times: t.Mapping[str, t.Sequence[float]],
    seconds: t.Mapping[int, float],
    *,
    target: float | None = None,
) -> t.Iterator[Row]:
    smallest = next(iter(times.values()))
    for name, values in times.items():
        quotient = ratio(values, smallest)
        yield {
            "database": database,
            "asked_by": what,
            "rows": int(name),
            "filled_in_s": seconds[int(name)],
            "check_us": spread(values).median * 1e6,
            "ratio": quotient.median,
            "ratio_low": quotient.low,
            "ratio_high": quotient.high,
            "target": target,
            "met": None if target is None else quotient.median <= target,
        }


def _make_find(app: Flask) -> t.Callable[[], None]:
    store = app.extensions["logout"].store
    context = app.app_context()
    everyone = make_key("everyone", None, None)

    def find() -> None:
        with context:
            # As for a token: its own key, that of its user, and that of everyone.
            if store.find([os.urandom(16), os.urandom(16), everyone]):
                raise RuntimeError("a random key was found")

    return find


def main() -> None:
    """Run the benchmark."""
    parser = make_parser(__doc__, full="the large table has 10 million rows: minutes")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="default: 1,000,000"
    )
    parser.add_argument("--rounds", type=int, default=3000, help="default: 3000")
    names = ("SQLite", "PostgreSQL")
    choices = (*names, "MariaDB")
    parser.add_argument("--database", choices=choices, action="append")
    options = parser.parse_args()
    sizes = (SMALL, 10_000_000 if options.full else options.rows)
    lines: list[Row] = []
    for name in options.database or names:
        lines += measure(name, sizes, rounds=options.rounds)
    report("scale", lines, options.json)


if __name__ == "__main__":
    main()
