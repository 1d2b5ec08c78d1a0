"""Build the statements that store, rotate, list and end sessions."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite

from ...domain.rotation import Outcome
from ...domain.rotation import Policy
from .dialects import INSTANT
from .dialects import KEY
from .dialects import made_within
from .dialects import NOW
from .dialects import statement_now
from .statements import is_covered

# On MySQL, a statement answers with one number: the generation, and one of these.
OUTCOMES: tuple[Outcome, ...] = ("adopted", "rotated", "repeated", "replaced")
_ROTATED, _REPEATED, _REPLACED = 1, 2, 3

# Differs from every time that NOW writes.
_ODD_NOW = sa.text("strftime('%Y-%m-%d %H:%M:%f001', 'now')")
_LATER = sa.text("interval '1 microsecond'")


def make_insert_once(
    table: sa.Table, now: t.Collection[str], dialect: str
) -> sa.Insert:
    """Build an INSERT that does nothing if a row with the same key exists.

    :param table: a table whose primary key is ``key``.
    :param now: the columns that are set to the current time of the database.
    :param dialect: one of the values of :data:`.DIALECTS`.
    """
    row = {
        x.name: statement_now(dialect) if x.name in now else _bind(x)
        for x in table.columns
    }
    if dialect == "mysql":
        # With ON DUPLICATE KEY UPDATE, some drivers don't tell whether a row is new.
        return mysql.insert(table).values(row).prefix_with("IGNORE")
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    once = insert(table).values(row).on_conflict_do_nothing(index_elements=["key"])
    # Old versions of SQLAlchemy don't count the rows of an INSERT.
    return once.returning(table.c.key)


def make_rotate(
    table: sa.Table, revocations: sa.Table, policy: Policy, dialect: str, covering: int
) -> sa.Update:
    """Build the compare-and-swap of a refresh.

    It changes no row if the session is unknown, or if the token must be rejected. It
    returns the generation, and whether this statement has made it. On MySQL, the last
    inserted id is the generation times 4 plus the index of the outcome.

    :param table: the table of sessions.
    :param revocations: the table of revocations.
    :param policy: how the app rotates.
    :param dialect: one of the values of :data:`.DIALECTS`.
    :param covering: the number of keys under which the token can be revoked, or 0 if that
        has been checked.
    """
    column = table.c
    # Evaluate the clock once. Otherwise two conditions could see two times.
    presented = _bind(column.parent)
    is_young = made_within(column.rotated_at, policy.grace, dialect)
    is_parent = column.parent == presented
    is_repeated = sa.and_(is_young, sa.or_(column.generation == presented, is_parent))
    is_current = presented >= column.generation
    may_retry = is_parent if policy.late_retry else sa.and_(is_parent, is_young)
    mine = sa.and_(
        column.key == sa.bindparam("session_key", type_=KEY),
        column.subject_key == sa.bindparam("owner", type_=KEY),
        sa.or_(is_current, may_retry),
    )
    if covering:
        own = _bind(column.key), _bind(column.any_issuer_key)
        began_at = sa.bindparam("began_at", type_=INSTANT)
        mine &= ~is_covered(revocations, covering, began_at, own)
    following = sa.case((is_current, presented + 1), else_=column.generation + 1)
    generation = sa.case((is_repeated, column.generation), else_=following)
    parent = sa.case((is_repeated, column.parent), else_=presented)
    now = statement_now(dialect)
    rotated_at = sa.case((is_repeated, column.rotated_at), else_=now)
    kept = _bind(column.kept_until)
    longer = sa.or_(kept.is_(None), kept > column.kept_until)
    longer = sa.and_(column.kept_until.is_not(None), longer)
    values = {
        "expires_at": _bind(column.expires_at),
        "kept_until": sa.case((longer, kept), else_=column.kept_until),
    }
    if dialect != "mysql":
        # Two statements can begin at the same time.
        odd: t.Any = sa.func.greatest(now, column.rotated_at + _LATER)
        odd = _ODD_NOW if dialect == "sqlite" else odd
        values |= {
            "generation": generation,
            "parent": parent,
            "rotated_at": rotated_at,
            "last_seen_at": sa.case((is_repeated, odd), else_=now),
        }
        is_new = (column.rotated_at == column.last_seen_at).label("is_new")
        return (
            sa.update(table)
            .where(mine)
            .values(values)
            .returning(column.generation, is_new)
        )
    # MySQL sets the columns one by one, and later ones would read the new values of
    # earlier ones. So read the old values in a subquery, which locks the row.
    outcome = sa.case((is_repeated, _REPEATED), (is_current, _ROTATED), else_=_REPLACED)
    answer = generation * 4 + outcome
    old = (
        sa.select(
            column.key,
            answer.label("answer"),
            parent.label("parent"),
            rotated_at.label("rotated_at"),
        )
        .where(mine)
        .limit(1)  # MySQL must not merge the subquery into the statement.
        .with_for_update()
        .subquery("old")
    )
    values |= {
        "generation": sa.func.last_insert_id(old.c.answer).op("DIV")(4),
        "parent": old.c.parent,
        "rotated_at": old.c.rotated_at,
        "last_seen_at": now,
    }
    return sa.update(table).where(column.key == old.c.key).values(values)


def make_find_session(
    table: sa.Table, policy: Policy, dialect: str
) -> sa.Select[t.Any]:
    """Build the query for what decides about a refresh token.

    :param table: the table of sessions.
    :param policy: how the app rotates.
    :param dialect: one of the values of :data:`.DIALECTS`.
    """
    column = table.c
    is_young = made_within(column.rotated_at, policy.grace, dialect)
    return sa.select(
        column.subject_key,
        column.generation,
        column.parent,
        sa.case((is_young, 1), else_=0).label("is_young"),
    ).where(column.key == sa.bindparam("session_key", type_=KEY))


def make_list(
    table: sa.Table, revocations: sa.Table, covering: int, is_first: bool
) -> sa.Select[t.Any]:
    """Build the query for a page of the active sessions of a user.

    :param table: the table of sessions.
    :param revocations: the table of revocations.
    :param covering: the number of keys under which all sessions can be revoked.
    :param is_first: whether it is the first page.
    """
    column, revoked = table.c, revocations.c
    keys = column.key, column.any_issuer_key
    own = [sa.exists().where(revoked.key == key) for key in keys]
    now = sa.bindparam("now", type_=INSTANT)
    query = sa.select(table).where(
        column.subject_key == sa.bindparam("owner", type_=KEY),
        sa.or_(column.expires_at.is_(None), column.expires_at > now),
        *(~x for x in own),
        ~is_covered(revocations, covering, column.created_at, keys),
    )
    if not is_first:
        created_at = sa.bindparam("created_at", type_=INSTANT)
        key = sa.bindparam("session_key", type_=KEY)
        query = query.where(
            sa.or_(
                column.created_at < created_at,
                sa.and_(column.created_at == created_at, column.key < key),
            )
        )
    query = query.order_by(column.created_at.desc(), column.key.desc())
    return query.limit(sa.bindparam("page_size", type_=sa.Integer))


def make_end(table: sa.Table, revocations: sa.Table, dialect: str) -> sa.Insert:
    """Build the statement that revokes a session if it belongs to a user.

    :param table: the table of sessions.
    :param revocations: the table of revocations.
    :param dialect: one of the values of :data:`.DIALECTS`.
    """
    row: dict[str, t.Any] = {
        x.name: NOW[dialect] if x.name == "revoked_at" else _bind(x)
        for x in revocations.columns
    }
    is_theirs = sa.and_(
        table.c.key == sa.bindparam("session_key", type_=KEY),
        table.c.subject_key == sa.bindparam("owner", type_=KEY),
    )
    values: list[t.Any] = [
        sa.type_coerce(x, revocations.c[name].type) for name, x in row.items()
    ]
    source = sa.select(*values).select_from(table).where(is_theirs)
    old, kept = revocations.c.expires_at, row["expires_at"]
    longer = sa.or_(kept.is_(None), kept > old)
    longer = sa.and_(old.is_not(None), longer)
    changes = {
        "revoked_at": NOW[dialect],
        "expires_at": sa.case((longer, kept), else_=old),
    }
    if dialect == "mysql":
        insert = mysql.insert(revocations).from_select(list(row), source)
        return insert.on_duplicate_key_update(changes)
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    upsert = make(revocations).from_select(list(row), source)
    upsert = upsert.on_conflict_do_update(index_elements=["key"], set_=changes)
    return upsert.returning(revocations.c.key)


def bind_values(values: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the parameters of a statement of this module that sets columns.

    SQLAlchemy reserves the names of the columns for itself.

    :param values: the values by the names of the columns.
    """
    return {f"new_{name}": value for name, value in values.items()}


def _bind(column: sa.Column[t.Any]) -> sa.BindParameter[t.Any]:
    return sa.bindparam(f"new_{column.name}", type_=column.type)
