"""What is spelled differently from database to database."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timezone

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from ...claims import KEY_SIZE

DIALECTS = {
    "cockroachdb": "postgresql",
    "mariadb": "mysql",
    "mysql": "mysql",
    "postgresql": "postgresql",
    "sqlite": "sqlite",
}
"""The dialects that are supported, and whose upsert each of them speaks."""

KEY = sa.LargeBinary(KEY_SIZE).with_variant(mysql.BINARY(KEY_SIZE), "mysql", "mariadb")
"""The type of a key."""

INSTANT = sa.DateTime(timezone=True).with_variant(
    mysql.DATETIME(fsp=6), "mysql", "mariadb"
)
"""The type of an instant, to the microsecond."""

NOW = {
    # CURRENT_TIMESTAMP would be the start of the app's transaction.
    "postgresql": sa.text("clock_timestamp()"),
    "sqlite": sa.text("strftime('%Y-%m-%d %H:%M:%f000', 'now')"),
    "mysql": sa.text("utc_timestamp(6)"),
}
"""The clock of the database, in UTC and in microseconds."""

_STATEMENT_NOW: dict[str, t.Any] = {
    "postgresql": sa.func.statement_timestamp(),
    "mysql": sa.func.utc_timestamp(sa.literal_column("6")),
}


def statement_now(dialect: str) -> sa.ColumnElement[t.Any]:
    """Give the database's clock as it was before a statement read anything.

    It has one value per statement, so that an index can be searched for it.

    :param dialect: one of the values of :data:`DIALECTS`.
    :returns: the SQL. On SQLite, the clock is this machine's, and may be read later.
    """
    now: sa.ColumnElement[t.Any] = _STATEMENT_NOW.get(dialect, NOW[dialect])
    return now


def has_passed(
    instant: sa.ColumnElement[datetime], now: datetime, dialect: str
) -> sa.ColumnElement[bool]:
    """Say in SQL that an instant has passed by this machine's clock and the database's.

    :param instant: a column.
    :param now: the present by this machine's clock, aware UTC.
    :param dialect: one of the values of :data:`DIALECTS`.
    :returns: the condition; on SQLite, this machine's clock alone decides.
    """
    ours = instant < now
    if dialect == "sqlite":
        return ours
    return sa.and_(ours, instant < statement_now(dialect))


def to_utc(instant: datetime) -> datetime:
    """Make an instant that a database gave aware UTC.

    :param instant: naive UTC of SQLite and MySQL, any time zone of PostgreSQL.
    :returns: aware UTC.
    """
    if instant.tzinfo is None:
        return instant.replace(tzinfo=timezone.utc)
    return instant.astimezone(timezone.utc)
