"""What is spelled differently from database to database."""

from __future__ import annotations

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

# One value per statement, so that an index can be searched for it. SQLite has no clock
# of its own.
_STATEMENT_NOW: dict[str, sa.ColumnElement[datetime]] = {
    "postgresql": sa.func.statement_timestamp(),
    "mysql": sa.func.utc_timestamp(sa.literal_column("6")),
}


def has_passed(
    instant: sa.ColumnElement[datetime], now: datetime, dialect: str
) -> sa.ColumnElement[bool]:
    """Say in SQL that an instant has passed by this machine's clock and the database's.

    :param instant: a column.
    :param now: the present by this machine's clock, aware UTC.
    :param dialect: one of the values of :data:`DIALECTS`.
    :returns: the condition; on SQLite, this machine's clock alone decides.
    """
    theirs = _STATEMENT_NOW.get(dialect)
    ours = instant < now
    return ours if theirs is None else sa.and_(ours, instant < theirs)


def to_utc(instant: datetime) -> datetime:
    """Make an instant that a database gave aware UTC.

    :param instant: naive UTC of SQLite and MySQL, any time zone of PostgreSQL.
    :returns: aware UTC.
    """
    if instant.tzinfo is None:
        return instant.replace(tzinfo=timezone.utc)
    return instant.astimezone(timezone.utc)
