"""What a machine cannot hold, worked out from what it can: the figures of "growing".

Sizes are measured at a few hundred thousand rows and given per row. A month of logouts
is simulated in memory, with the housekeeping of the package. Partitioned tables are real:
the store adds, finds and purges in them.
"""

from __future__ import annotations

import os
import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import sqlalchemy as sa
from flask import Flask

from flask_logout import Revocation

from .arithmetic import make_line
from .arithmetic import measure_mirror
from .arithmetic import simulate_month
from .arithmetic import work_out
from .databases import DATABASES
from .databases import new_database
from .databases import run
from .filling import fill
from .measuring import alternate
from .measuring import ratio
from .recipes import make_app
from .reporting import make_parser
from .reporting import report
from .reporting import Row

_TABLE = "logout_revocation"
# Of the whole, in bytes: everything, and the indexes beside the primary key.
_SIZES = {
    "SQLite": "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    "PostgreSQL": f"SELECT pg_total_relation_size('{_TABLE}')",
    "MariaDB": "SELECT data_length + index_length FROM information_schema.tables"
    f" WHERE table_schema = database() AND table_name = '{_TABLE}'",
}
_SETTLE = {
    "PostgreSQL": (f"VACUUM ANALYZE {_TABLE}", "CHECKPOINT"),
    "MariaDB": (f"ALTER TABLE {_TABLE} ENGINE = InnoDB",),
}
_PARTITION = {
    "PostgreSQL": (
        f"ALTER TABLE {_TABLE} RENAME TO plain",
        f"CREATE TABLE {_TABLE} (LIKE plain INCLUDING DEFAULTS, PRIMARY KEY (key))"
        " PARTITION BY HASH (key)",
        *(
            f"CREATE TABLE part_{i} PARTITION OF {_TABLE}"
            f" FOR VALUES WITH (MODULUS 16, REMAINDER {i})"
            for i in range(16)
        ),
        f"INSERT INTO {_TABLE} SELECT * FROM plain",
        "DROP TABLE plain",
        f"CREATE INDEX ON {_TABLE} (expires_at)",
        f"ANALYZE {_TABLE}",
    ),
    "MariaDB": (
        f"ALTER TABLE {_TABLE} MODIFY expires_at DATETIME(6) NOT NULL,"
        " DROP PRIMARY KEY, ADD PRIMARY KEY (`key`, expires_at)",
        f"ALTER TABLE {_TABLE} PARTITION BY RANGE COLUMNS (expires_at) ("
        + ", ".join(
            f"PARTITION day_{i} VALUES LESS THAN ('{{day_{i}}}')" for i in range(32)
        )
        + ", PARTITION later VALUES LESS THAN (MAXVALUE))",
        f"ANALYZE TABLE {_TABLE}",
    ),
}
_WAYS = {"PostgreSQL": "16 parts by hash of key", "MariaDB": "33 parts by expires_at"}


def measure_row_size(database: str, rows: int) -> list[Row]:
    """Measure what a revocation takes on disk, all indexes included.

    :param database: its name.
    :param rows: how many to fill in, 1 or more.
    :returns: a line; none without such a server.
    """
    with new_database(database) as url:
        if url is None:
            return []
        fill(make_app("Flask-Logout", url), rows)
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            size = connection.scalar(sa.text(_SIZES[database])) or 0
        return [
            make_line("size of a row with its indexes", database, size / rows, "bytes")
        ]


def measure_partitions(database: str, rows: int, rounds: int) -> list[Row]:
    """Partition a table, use it, and compare the check with that in a plain one.

    :param database: its name.
    :param rows: how many rows both tables hold, 1 or more.
    :param rounds: how many rounds, 1 or more.
    :returns: a line; none without such a server.
    :raises RuntimeError: the store does not work on the partitioned table.
    """
    with new_database(database) as plain_url, new_database(database) as parted_url:
        if plain_url is None or parted_url is None:
            return []
        apps = {}
        for name, url in {"plain": plain_url, "parted": parted_url}.items():
            apps[name] = make_app("Flask-Logout", url)
            fill(apps[name], rows)
        today = datetime.now(timezone.utc).replace(tzinfo=None)
        days = {f"day_{i}": today + timedelta(days=i) for i in range(32)}
        run(parted_url, *(sql.format(**days) for sql in _PARTITION[database]))
        _use(apps["parted"])
        for url in (plain_url, parted_url):
            # Both as after a day of service, not as just filled.
            run(url, *_SETTLE[database])
        finders = {name: _make_find(app) for name, app in apps.items()}
        samples = alternate(finders, rounds=rounds, calls=20)
        quotient = ratio(samples["parted"], samples["plain"])
        of = f"{database}, {_WAYS[database]}"
        return [
            make_line("check in a partitioned table", of, quotient.median, "x plain")
        ]


def _use(app: Flask) -> None:
    """Add, find and purge, and see that each did what it should."""
    store, now = app.extensions["logout"].store, datetime.now(timezone.utc)
    keys = [os.urandom(16) for _ in range(2)]
    made = [Revocation(key, "token", now - timedelta(hours=1)) for key in keys]
    with app.app_context():
        store.add(made)
        store.add(made)
        if {x.key for x in store.find(keys)} != set(keys):
            raise RuntimeError("what was added to the partitioned table is not found")
        if store.purge(now, batch=10) != len(keys) or store.find(keys):
            raise RuntimeError("the partitioned table was not purged")


def _make_find(app: Flask) -> t.Callable[[], None]:
    store = app.extensions["logout"].store
    context = app.app_context()

    def find() -> None:
        with context:
            store.find([os.urandom(16) for _ in range(3)])

    return find


def main() -> None:
    """Run the simulation."""
    parser = make_parser(__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="default: 200,000")
    parser.add_argument("--rounds", type=int, default=60, help="default: 60")
    options = parser.parse_args()
    lines: list[Row] = []
    for database in DATABASES:
        lines += measure_row_size(database, options.rows)
    for database in _PARTITION:
        lines += measure_partitions(database, options.rows, options.rounds)
    for logouts in (100, 1_000, 10_000):
        lines += simulate_month(logouts, purge_every=100, batch=1000)
    lines += measure_mirror()
    for users in (1_000_000, 100_000_000, 1_000_000_000):
        lines += work_out(users)
    report("simulation", lines, options.json)


if __name__ == "__main__":
    main()
