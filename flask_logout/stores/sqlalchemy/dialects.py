"""SQL types and functions that differ between databases."""

from __future__ import annotations

import sqlite3
import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from ...domain.revocation_keys import KEY_SIZE
from ...exceptions import ConfigError

DIALECTS = {
    "cockroachdb": "postgresql",
    "mariadb": "mysql",
    "mysql": "mysql",
    "postgresql": "postgresql",
    "sqlite": "sqlite",
}
"""The supported dialects, each with the dialect whose upsert syntax it uses."""

KEY = sa.LargeBinary(KEY_SIZE).with_variant(mysql.BINARY(KEY_SIZE), "mysql", "mariadb")
"""The type of a revocation key."""

INSTANT = sa.DateTime(timezone=True).with_variant(
    mysql.DATETIME(fsp=6), "mysql", "mariadb"
)
"""The type of an instant, with microseconds."""

NOW = {
    # CURRENT_TIMESTAMP would return the start of the app's transaction.
    "postgresql": sa.text("clock_timestamp()"),
    "sqlite": sa.text("strftime('%Y-%m-%d %H:%M:%f000', 'now')"),
    "mysql": sa.text("utc_timestamp(6)"),
}
"""The current time of the database, in UTC with microseconds."""

_STATEMENT_NOW: dict[str, t.Any] = {
    "postgresql": sa.func.statement_timestamp(),
    "mysql": sa.func.utc_timestamp(sa.literal_column("6")),
}

_AGO = {
    "postgresql": "statement_timestamp() - interval '%f seconds'",
    "sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:%%f000', 'now', '-%f seconds')",
    "mysql": "utc_timestamp(6) - interval %f second",
}


def require_returning(dialect: sa.Dialect) -> None:
    """Reject versions of SQLite without RETURNING.

    :raises ConfigError: if Python uses one.
    """
    if dialect.name == "sqlite" and sqlite3.sqlite_version_info < (3, 35):
        raise ConfigError(
            f"LOGOUT_SESSIONS needs SQLite 3.35 or later, but Python uses"
            f" {sqlite3.sqlite_version}. Upgrade SQLite, or store sessions in another"
            " database, see LOGOUT_STORE_URI."
        )


def statement_now(dialect: str) -> sa.ColumnElement[t.Any]:
    """Return SQL for the time at which the statement began, by the database's clock.

    It has one value per statement, so the database can use an index to compare with it.
    On SQLite, it is this machine's clock, which may be read after the statement began.

    :param dialect: one of the values of :data:`DIALECTS`.
    """
    now: sa.ColumnElement[t.Any] = _STATEMENT_NOW.get(dialect, NOW[dialect])
    return now


def made_within(
    instant: sa.ColumnElement[t.Any], duration: timedelta, dialect: str
) -> sa.ColumnElement[bool]:
    """Return the SQL condition that an instant is less than a duration ago.

    :param instant: a column with the database's time. ``NULL`` is not within it.
    :param duration: 0 or more.
    :param dialect: one of the values of :data:`DIALECTS`.
    """
    if not duration:
        return sa.false()
    # Literals, because the statement is built once.
    since: sa.TextClause = sa.text(_AGO[dialect] % duration.total_seconds())
    return instant > since


def has_passed(
    instant: sa.ColumnElement[datetime], now: datetime, dialect: str
) -> sa.ColumnElement[bool]:
    """Return the SQL condition that an instant has passed by two clocks.

    The clocks are those of this machine and of the database. On SQLite, only this
    machine's clock counts.

    :param now: the current time by this machine's clock, aware UTC.
    :param dialect: one of the values of :data:`DIALECTS`.
    """
    ours = instant < now
    if dialect == "sqlite":
        return ours
    return sa.and_(ours, instant < statement_now(dialect))


def to_utc(instant: datetime) -> datetime:
    """Convert an instant that a database returned to aware UTC.

    :param instant: naive UTC from SQLite and MySQL, any time zone from PostgreSQL.
    """
    if instant.tzinfo is None:
        return instant.replace(tzinfo=timezone.utc)
    return instant.astimezone(timezone.utc)
