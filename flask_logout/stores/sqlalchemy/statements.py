"""Build the statements that find and store revocations."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite

from .compiled import Query
from .dialects import KEY
from .dialects import NOW


def make_find(table: sa.Table, count: int, dialect: str) -> Query:
    """Build the query for the revocations under ``count`` keys.

    :param dialect: one of the values of :data:`.DIALECTS`.
    """
    # Select only the columns that decide whether a token is covered, because each column
    # costs the driver time.
    names = ("key", "kind", "cutoff", "spared_session", "spared_after")
    select = sa.select(*(table.c[name] for name in names))
    # Bind each key by itself, because an expanding IN is rendered at every execution.
    keys = [sa.bindparam(f"key_{i}", type_=KEY) for i in range(count)]
    if dialect == "mysql":
        return select.where(table.c.key.in_(keys))
    # For IN, PostgreSQL scans all of a table with a few hundred rows, and SQLite builds a
    # temporary table of the keys.
    return sa.union_all(*(select.where(table.c.key == key) for key in keys))


def is_covered(
    table: sa.Table,
    count: int,
    began_at: sa.ColumnElement[t.Any],
    own: t.Sequence[sa.ColumnElement[t.Any]],
) -> sa.Exists:
    """Express :func:`.is_ended` in SQL, for the revocations under ``count`` keys.

    :param began_at: when the session began.
    :param own: the keys of the session.
    """
    revoked = table.c
    is_spared = sa.and_(
        revoked.spared_session.in_(own),
        sa.or_(revoked.spared_after.is_(None), began_at > revoked.spared_after),
    )
    return sa.exists().where(
        revoked.key.in_(sa.bindparam(f"key_{i}", type_=KEY) for i in range(count)),
        sa.or_(
            revoked.cutoff.is_(None),
            sa.and_(
                began_at <= revoked.cutoff,
                # Comparisons with NULL are neither true nor false.
                sa.func.coalesce(sa.case((is_spared, 0)), 1) == 1,
            ),
        ),
    )


def bind_keys(keys: t.Collection[bytes]) -> dict[str, t.Any]:
    """Return the parameters of a statement of this module or with :func:`is_covered`."""
    return {f"key_{i}": key for i, key in enumerate(keys)}


def make_add(table: sa.Table, count: int, dialect: str) -> sa.Insert:
    """Build the upsert of ``count`` revocations.

    :param dialect: one of the values of :data:`.DIALECTS`.
    """
    rows = [
        {
            column.name: NOW[dialect]
            if column.name == "revoked_at"
            else sa.bindparam(f"{column.name}_{i}", type_=column.type)
            for column in table.columns
        }
        for i in range(count)
    ]
    if dialect == "mysql":
        statement = mysql.insert(table).values(rows)
        return statement.on_duplicate_key_update(_merged(table.c, statement.inserted))
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    upsert = insert(table).values(rows)
    return upsert.on_conflict_do_update(
        index_elements=["key"], set_=dict(_merged(table.c, upsert.excluded))
    )


def _merged(old: t.Any, new: t.Any) -> list[tuple[str, sa.ColumnElement[t.Any]]]:
    """Express :func:`.merge` in SQL.

    MySQL sets the columns one by one, so no column is read after it is set.
    """
    later = new.cutoff > old.cutoff
    longer = sa.or_(new.expires_at.is_(None), new.expires_at > old.expires_at)
    longer = sa.and_(old.expires_at.is_not(None), longer)
    same_spared = old.spared_session.is_not_distinct_from(new.spared_session)
    # Logins of the spared session that began by then are covered nevertheless: according
    # to the row with the later cutoff, and according to the other row.
    own_end = sa.case((later, new.spared_after), else_=old.spared_after)
    other_end = sa.case(
        (sa.and_(same_spared, later), old.spared_after),
        (same_spared, new.spared_after),
        (later, old.cutoff),
        else_=new.cutoff,
    )
    spared_after = sa.case(
        (own_end.is_(None), other_end), (own_end < other_end, other_end), else_=own_end
    )
    return [
        # Always set it, because in-memory mirrors may have missed the earlier write.
        ("revoked_at", new.revoked_at),
        ("spared_after", spared_after),
        *(
            (name, sa.case((later, new[name]), else_=old[name]))
            for name in ("spared_session", "reason", "actor", "cutoff")
        ),
        ("expires_at", sa.case((longer, new.expires_at), else_=old.expires_at)),
    ]
