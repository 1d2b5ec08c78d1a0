"""What a whole logout costs: one request of ours, or the recipe's one for each token.

After each the access token and the refresh token of one login are revoked. The apps take
turns on one server, in one process, each logout with a fresh pair.
"""

from __future__ import annotations

import typing as t

from .databases import DATABASES
from .databases import new_database
from .measuring import alternate
from .measuring import ratio
from .measuring import spread
from .recipes import Kind
from .recipes import make_app
from .recipes import make_logout
from .reporting import make_parser
from .reporting import report
from .reporting import Row

_CALLS = 5


def measure(database: str, url: str, *, rounds: int) -> list[Row]:
    """Measure on one database.

    :param database: its name.
    :param url: where it is, empty.
    :param rounds: how many rounds, 1 or more.
    :returns: a line for the recipe and one for us.
    """
    recipe: Kind = "redis recipe" if database == "Redis" else "database recipe"
    apps = {kind: make_app(kind, url) for kind in (recipe, "Flask-Logout")}
    count = (rounds + 1) * _CALLS
    callers: dict[str, t.Callable[[], None]] = {
        kind: make_logout(app, kind, count) for kind, app in apps.items()
    }
    samples = alternate(callers, rounds=rounds, calls=_CALLS)
    lines: list[Row] = []
    for kind, times in samples.items():
        middle, quotient = spread(times), ratio(times, samples[recipe])
        lines.append(
            {
                "database": database,
                "logout": kind,
                "requests": 1 if kind == "Flask-Logout" else 2,
                "logout_us": middle.median * 1e6,
                "us_low": middle.low * 1e6,
                "us_high": middle.high * 1e6,
                "ratio": quotient.median,
                "ratio_low": quotient.low,
                "ratio_high": quotient.high,
            }
        )
    return lines


def main() -> None:
    """Run the benchmark."""
    parser = make_parser(__doc__)
    names = (*DATABASES, "Redis")
    parser.add_argument("--database", choices=names, action="append")
    parser.add_argument("--rounds", type=int, default=120, help="default: 120")
    options = parser.parse_args()
    lines: list[Row] = []
    for name in options.database or names:
        with new_database(name) as url:
            if url is not None:
                lines += measure(name, url, rounds=options.rounds)
    report("logout_cost", lines, options.json)


if __name__ == "__main__":
    main()
