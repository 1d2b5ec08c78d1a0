"""What a check costs: the protected request with the hook less the one without it.

The app without a hook, the recipe of Flask-JWT-Extended's documentation and this package
take turns on one server, in one process. The ratio is our median overhead divided by the
recipe's; "low" and "high" hold nine in ten resamplings of the rounds.
"""

from __future__ import annotations

import typing as t

from .databases import DATABASES
from .databases import new_database
from .filling import fill
from .filling import fill_recipe
from .measuring import alternate
from .measuring import overheads
from .measuring import ratio
from .measuring import spread
from .recipes import Kind
from .recipes import make_app
from .recipes import make_caller
from .reporting import make_parser
from .reporting import report
from .reporting import Row

TARGETS = {"SQLite": 0.25, "PostgreSQL": 0.33, "MariaDB": 0.40, "Redis": 1.15}
"""The most that our overhead may be, as a part of the recipe's."""


def measure(database: str, url: str, *, rows: int, rounds: int) -> list[Row]:
    """Measure on one database.

    :param database: its name.
    :param url: where it is, empty.
    :param rows: how many revocations each table holds, 1 or more.
    :param rounds: how many rounds, 1 or more.
    :returns: a line for the recipe and one for us.
    """
    recipe: Kind = "redis recipe" if database == "Redis" else "database recipe"
    kinds: list[Kind] = ["none", recipe, "Flask-Logout"]
    apps = {kind: make_app(kind, url) for kind in kinds}
    if database != "Redis":
        fill_recipe(apps[recipe], rows)
        fill(apps["Flask-Logout"], rows)
    callers: dict[str, t.Callable[[], None]] = {
        kind: make_caller(app) for kind, app in apps.items()
    }
    samples = alternate(callers, rounds=rounds, calls=10)
    base = overheads(samples, recipe, "none")
    return [
        _line(database, kind, samples[kind], overheads(samples, kind, "none"), base)
        for kind in (recipe, "Flask-Logout")
    ]


def _line(
    database: str,
    kind: Kind,
    requests: t.Sequence[float],
    overhead: t.Sequence[float],
    base: t.Sequence[float],
) -> Row:
    quotient = ratio(overhead, base)
    target = TARGETS[database] if kind == "Flask-Logout" else None
    return {
        "database": database,
        "check": kind,
        "request_us": spread(requests).median * 1e6,
        "overhead_us": spread(overhead).median * 1e6,
        "ratio": quotient.median,
        "ratio_low": quotient.low,
        "ratio_high": quotient.high,
        "target": target,
        "met": None if target is None else quotient.median <= target,
    }


def main() -> None:
    """Run the benchmark."""
    parser = make_parser(__doc__)
    names = (*DATABASES, "Redis")
    parser.add_argument("--database", choices=names, action="append")
    parser.add_argument("--rows", type=int, default=10_000, help="default: 10,000")
    parser.add_argument("--rounds", type=int, default=300, help="default: 300")
    options = parser.parse_args()
    lines: list[Row] = []
    for name in options.database or names:
        with new_database(name) as url:
            if url is not None:
                lines += measure(name, url, rows=options.rows, rounds=options.rounds)
    report("check_cost", lines, options.json)


if __name__ == "__main__":
    main()
