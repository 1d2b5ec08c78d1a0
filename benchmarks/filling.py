"""Fill tables with millions of rows, by the database's own means."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import sqlalchemy as sa
from flask import Flask

from .databases import run
from .recipes import RECIPE_TABLE

_CHUNK = 1_000_000

# A random key, a jti of the usual length, and what a logout writes beside them.
_ROWS = {
    "sqlite": """
        WITH RECURSIVE numbers(i) AS
            (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {rows})
        INSERT INTO {table} {columns}
        SELECT randomblob(16) AS key, 'token', 'user-' || i, lower(hex(randomblob(18))),
            'logout', 'user-' || i, '{now}',
            CASE WHEN i - i / 100 * 100 < {expired} THEN '{past}' ELSE '{future}' END
        FROM numbers""",
    "postgresql": """
        INSERT INTO {table} {columns}
        SELECT decode(md5(random()::text || i), 'hex'), 'token', 'user-' || i,
            gen_random_uuid()::text, 'logout', 'user-' || i, timestamptz '{now}+00',
            CASE WHEN mod(i, 100) < {expired} THEN timestamptz '{past}+00'
                ELSE timestamptz '{future}+00' END
                + random() * interval '1 hour'
        FROM generate_series(1, {rows}) i""",
    "mysql": """
        INSERT INTO {table} {columns}
        SELECT unhex(md5(concat(rand(), seq))), 'token', concat('user-', seq), uuid(),
            'logout', concat('user-', seq), '{now}',
            CASE WHEN mod(seq, 100) < {expired} THEN '{past}' ELSE '{future}' END
        FROM seq_1_to_{rows}""",
}
_COLUMNS = "({key}, kind, subject, token_id, reason, actor, revoked_at, expires_at)"
_RECIPE_ROWS = {
    "sqlite": """
        WITH RECURSIVE numbers(i) AS
            (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {rows})
        INSERT INTO {table} (jti, created_at)
        SELECT lower(hex(randomblob(18))), '{now}' FROM numbers""",
    "postgresql": """
        INSERT INTO {table} (jti, created_at)
        SELECT gen_random_uuid()::text, timestamp '{now}'
        FROM generate_series(1, {rows})""",
    "mysql": """
        INSERT INTO {table} (jti, created_at)
        SELECT uuid(), '{now}' FROM seq_1_to_{rows}""",
}


def fill(app: Flask, rows: int, *, expired_percent: int = 0) -> None:
    """Fill the table of our app, with no index in the way but the primary key.

    :param app: an app with the extension, its table created and empty.
    :param rows: how many, 1 or more.
    :param expired_percent: how many of a hundred may be forgotten, 0 to 100.
    """
    with app.app_context():
        db = app.extensions["sqlalchemy"]
        name = app.config.get("LOGOUT_TABLE_NAME", "logout_revocation")
        table: sa.Table = db.metadata.tables[name]
        indexes = sorted(table.indexes, key=lambda x: str(x.name))
        with db.engine.begin() as connection:
            for index in indexes:
                index.drop(connection)
        _insert(db.engine, _ROWS, table, rows, expired_percent)
        with db.engine.begin() as connection:
            for index in indexes:
                index.create(connection)
        _settle(db.engine, table.name)
        db.engine.dispose()


def fill_recipe(app: Flask, rows: int) -> None:
    """Fill the table of the database recipe.

    :param app: an app with that recipe.
    :param rows: how many, 1 or more.
    """
    with app.app_context():
        db = app.extensions["sqlalchemy"]
        table = db.metadata.tables[RECIPE_TABLE]
        _insert(db.engine, _RECIPE_ROWS, table, rows, 0)
        _settle(db.engine, table.name)
        db.engine.dispose()


def _insert(
    engine: sa.Engine,
    statements: t.Mapping[str, str],
    table: sa.Table,
    rows: int,
    expired_percent: int,
) -> None:
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    dialect = engine.dialect
    quote = dialect.identifier_preparer.quote
    # SQLite is slow to put random keys into an index that its cache does not hold.
    prelude = ["PRAGMA cache_size = -1000000"] if dialect.name == "sqlite" else []
    url = engine.url.render_as_string(hide_password=False)
    for start in range(0, rows, _CHUNK):
        statement = statements[_family(dialect)]
        values = {
            "table": table.name,
            "columns": _COLUMNS.format(key=quote("key")),
            "rows": min(_CHUNK, rows - start),
            "expired": expired_percent,
            # Long enough ago that no copy in memory still looks there for late commits.
            "now": now - timedelta(hours=2),
            "past": now - timedelta(days=1),
            "future": now + timedelta(days=30),
        }
        run(url, *prelude, statement.format(**values))


def _family(dialect: sa.Dialect) -> str:
    return "mysql" if dialect.name == "mariadb" else dialect.name


def _settle(engine: sa.Engine, table: str) -> None:
    """Let the database learn what is in the table, as it would in a day of service."""
    url = engine.url.render_as_string(hide_password=False)
    prefix = {"postgresql": "VACUUM ANALYZE", "sqlite": "ANALYZE"}
    run(url, f"{prefix.get(engine.dialect.name, 'ANALYZE TABLE')} {table}")
    if engine.dialect.name == "postgresql":
        # What was filled is written now, not while something is measured.
        run(url, "CHECKPOINT")
