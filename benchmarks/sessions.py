"""What a list of one user's sessions costs, with many sessions of others in the table.

A store with many sessions and one with few take turns, in one process. The ratio is the
median time of a list in the first divided by that in the second; "low" and "high" hold nine
in ten resamplings of the rounds. The last column is the number of rows of a session after a
thousand refreshes.
"""

from __future__ import annotations

import typing as t

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_logout import LogoutExtension

from .databases import DATABASES
from .databases import new_database
from .measuring import alternate
from .measuring import ratio
from .measuring import spread
from .recipes import SECRET
from .refresh import make_app as make_refresh_app
from .refresh import make_caller
from .reporting import make_parser
from .reporting import report
from .reporting import Row

FEW = 10_000
"""The number of sessions in the store that is compared with."""

TARGET = 1.25
"""The most that a list may take with many sessions, as a multiple of that with few."""

REFRESHES = 1000
_OWN = 5
_BATCH = 100_000

# For each dialect, random sessions of as many users.
_FILL = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE"
    " i < :count) INSERT INTO logout_session ({columns}) SELECT randomblob(16),"
    " randomblob(16), randomblob(16), 0, '2026-01-01', '2026-01-01' FROM n",
    "postgresql": "INSERT INTO logout_session ({columns}) SELECT"
    " decode(md5(random()::text || i), 'hex'), decode(md5(random()::text || i), 'hex'),"
    " decode(md5(random()::text || i), 'hex'), 0, now(), now()"
    " FROM generate_series(1, :count) i",
    "mysql": "INSERT INTO logout_session ({columns}) SELECT random_key(), random_key(),"
    " random_key(), 0, now(), now() FROM seq_1_to_100000 WHERE seq <= :count".replace(
        "random_key()", "unhex(md5(concat(uuid(), rand())))"
    ),
}
_COLUMNS = "key, any_issuer_key, subject_key, generation, created_at, last_seen_at"


def make_lister(url: str, rows: int) -> t.Callable[[], None]:
    """Make a list of one user's sessions that can be called again and again.

    :param url: the SQLAlchemy URL of an empty database.
    :param rows: how many sessions of others it gets.
    :returns: a function that lists the sessions.
    """
    app = Flask("benchmarks")
    app.config.update(JWT_SECRET_KEY=SECRET, SQLALCHEMY_DATABASE_URI=url)
    app.config["LOGOUT_SESSIONS"] = True
    db, logout = SQLAlchemy(app), LogoutExtension(app)
    context = app.app_context()
    context.push()
    db.create_all()
    dialect = db.engine.dialect
    columns = ", ".join(
        dialect.identifier_preparer.quote(x) for x in _COLUMNS.split(", ")
    )
    fill = sa.text(_FILL[dialect.name].format(columns=columns))
    for start in range(0, rows, _BATCH):
        with db.engine.begin() as connection:
            connection.execute(fill, {"count": min(_BATCH, rows - start)})
    for _ in range(_OWN):
        logout.start_session("ada")

    def call() -> None:
        if len(logout.sessions_of("ada")) != _OWN:
            raise RuntimeError("a session is missing")

    return call


def count_rows(url: str) -> int:
    """Refresh a session many times, and return how many rows it has.

    :param url: the SQLAlchemy URL of an empty database.
    :returns: the number of rows.
    """
    app = make_refresh_app("Flask-Logout, own view", url)
    call = make_caller(app, "Flask-Logout, own view")
    for _ in range(REFRESHES):
        call()
    with app.app_context():
        db: SQLAlchemy = app.extensions["sqlalchemy"]
        query = sa.text("SELECT count(*) FROM logout_session")
        return t.cast(int, db.session.execute(query).scalar())


def measure(database: str, *, rows: int, rounds: int) -> Row | None:
    """Measure on one database.

    :param database: its name.
    :param rows: how many sessions the large store has.
    :param rounds: how many rounds, 1 or more.
    :returns: a line, or ``None`` if no server answers.
    """
    with (
        new_database(database) as few,
        new_database(database) as many,
        new_database(database) as other,
    ):
        if few is None or many is None or other is None:
            return None
        callers = {"few": make_lister(few, FEW), "many": make_lister(many, rows)}
        samples = alternate(callers, rounds=rounds, calls=5)
        quotient = ratio(samples["many"], samples["few"])
        return {
            "database": database,
            "sessions": rows,
            "list_us": spread(samples["many"]).median * 1e6,
            "ratio": quotient.median,
            "ratio_low": quotient.low,
            "ratio_high": quotient.high,
            "target": TARGET,
            "met": quotient.median <= TARGET,
            "rows_of_a_session": count_rows(other),
        }


def main() -> None:
    """Run the benchmark."""
    parser = make_parser(__doc__)
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--full", action="store_true", help="10,000,000 sessions")
    parser.add_argument("--rounds", type=int, default=200, help="default: 200")
    options = parser.parse_args()
    rows = 10_000_000 if options.full else options.rows
    lines = [
        line
        for name in options.database or DATABASES
        for line in [measure(name, rows=rows, rounds=options.rounds)]
        if line is not None
    ]
    report("sessions", lines, options.json)


if __name__ == "__main__":
    main()
