"""What metrics add to a check.

"check" is what a check costs: the protected request with the hook less the one without it.
"added" is what metrics add to it: one app checks tokens in turns with and without them, in
one process. The ratio is the sum of both divided by the check. Once nothing reads the
numbers, once the SDK of OpenTelemetry does.
"""

from __future__ import annotations

import typing as t
from dataclasses import fields

from flask import Flask
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from flask_logout import LogoutExtension
from flask_logout.service import LogoutService

from .databases import DATABASES
from .databases import new_database
from .measuring import alternate
from .measuring import overheads
from .measuring import spread
from .recipes import Kind
from .recipes import make_app
from .recipes import make_caller
from .recipes import SECRET
from .reporting import make_parser
from .reporting import report
from .reporting import Row

TARGET = 1.01
"""The most that a check may take with metrics, as a multiple of one without."""

_CLAIMS = {"jti": "1", "sub": "ada", "type": "access", "iat": 1.0, "exp": 9_000_000_000}


def make_checks(url: str) -> dict[str, t.Callable[[], None]]:
    """Make checks that can be called again and again.

    Both use the same connection, because two connections can differ by more than metrics
    cost.

    :param url: the SQLAlchemy URL of the database.
    :returns: functions that check a token which isn't revoked, without metrics and with.
    """
    app = Flask("benchmarks")
    app.config.update(JWT_SECRET_KEY=SECRET, SQLALCHEMY_DATABASE_URI=url)
    app.config["LOGOUT_METRICS"] = True
    db = SQLAlchemy(app)
    JWTManager(app)
    LogoutExtension(app)
    context = app.app_context()
    context.push()
    db.create_all()
    measured = app.extensions["logout"]
    names = [field.name for field in fields(LogoutService)]
    values = {name: getattr(measured, name) for name in names}
    plain = LogoutService(**{**values, "store": measured.store._inner})
    return {
        "without": lambda: plain.is_revoked(_CLAIMS),
        "with": lambda: measured.is_revoked(_CLAIMS),
    }


def measure(database: str, url: str, *, rounds: int, reads: bool) -> Row:
    """Measure on one database.

    :param database: its name.
    :param url: where it is, empty.
    :param rounds: how many rounds, 1 or more.
    :param reads: whether the SDK of OpenTelemetry reads the numbers.
    :returns: a line.
    """
    kinds: list[Kind] = ["none", "Flask-Logout"]
    requests = alternate(
        {kind: make_caller(make_app(kind, url)) for kind in kinds},
        rounds=rounds // 4,
        calls=10,
    )
    check = spread(overheads(requests, "Flask-Logout", "none")).median
    samples = alternate(make_checks(url), rounds=rounds, calls=50)
    added = spread(overheads(samples, "with", "without")).median
    quotient = 1 + added / check
    return {
        "database": database,
        "SDK": "yes" if reads else "no",
        "check_us": check * 1e6,
        "added_us": added * 1e6,
        "ratio": quotient,
        "target": TARGET,
        "met": quotient <= TARGET,
    }


def main() -> None:
    """Run the benchmark."""
    parser = make_parser(__doc__)
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--rounds", type=int, default=400, help="default: 400")
    options = parser.parse_args()
    lines: list[Row] = []
    for reads in (False, True):
        if reads:
            readers = [InMemoryMetricReader()]
            metrics.set_meter_provider(MeterProvider(metric_readers=readers))
        for name in options.database or DATABASES:
            with new_database(name) as url:
                if url is not None:
                    rounds = options.rounds
                    lines.append(measure(name, url, rounds=rounds, reads=reads))
    report("metrics", lines, options.json)


if __name__ == "__main__":
    main()
