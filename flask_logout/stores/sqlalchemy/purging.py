"""Delete the rows of a table whose time has passed."""

from __future__ import annotations

import typing as t
from datetime import datetime

import sqlalchemy as sa

from .dialects import DIALECTS
from .dialects import has_passed
from .engine import OwnEngine


def delete_passed(
    table: sa.Table,
    instant: sa.Column[datetime],
    now: datetime,
    batch: int,
    engine: OwnEngine,
) -> int:
    """Delete rows whose instant has passed, the oldest first.

    :param table: a table whose primary key is ``key``.
    :param instant: a column with an index.
    :param now: the current time by this machine's clock, aware UTC.
    :param batch: the largest number to delete, 1 or more.
    :returns: the number deleted.
    """
    dialect, key = engine.dialect, table.c.key
    passed = has_passed(instant, now, DIALECTS[dialect.name])
    oldest = sa.select(key).where(passed).order_by(instant).limit(batch)
    if _skips_locked(dialect):
        # Leave the rows that a concurrent purge is deleting to that purge.
        oldest = oldest.with_for_update(skip_locked=True)
    if DIALECTS[dialect.name] == "mysql":
        # MySQL forbids LIMIT inside IN. IS TRUE avoids the index on the instant, which
        # would block on a concurrent purge.
        passed = passed.is_(sa.true())
        is_old = key == oldest.subquery().c.key
    else:
        is_old = key.in_(oldest)
    # Compare again, because a later instant may have been stored meanwhile.
    return engine.execute(sa.delete(table).where(passed, is_old))[1]


def _skips_locked(dialect: t.Any) -> bool:
    """Whether the database supports SKIP LOCKED, as far as its version is known."""
    if dialect.name == "postgresql":
        return True
    if DIALECTS[dialect.name] != "mysql" or not dialect.server_version_info:
        return False
    least = (10, 6) if dialect.is_mariadb else (8, 0, 1)
    return bool(dialect.server_version_info >= least)
