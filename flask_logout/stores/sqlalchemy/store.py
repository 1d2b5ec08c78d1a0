"""Revocations in a table of the app's database: all SQL of this package."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timedelta
from functools import lru_cache
from types import EllipsisType

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite

from ...exceptions import ConfigError
from ...exceptions import OutcomeUnknownError
from ...exceptions import StoreUnavailableError
from ...revocation import merge
from ...revocation import Revocation
from .. import LONGEST_WRITE
from .. import Page
from ..uptime import read_uptime
from .compiled import Query
from .dialects import DIALECTS
from .dialects import has_passed
from .dialects import KEY
from .dialects import NOW
from .dialects import to_utc
from .engine import OwnEngine
from .joining import BLOCKED
from .joining import JoinedTable
from .joining import may_block
from .pages import Cursor
from .pages import Pages
from .texts import Texts

if t.TYPE_CHECKING:
    from sqlalchemy.orm import scoped_session

    from .. import AppSession
    from .inspection import SQLAlchemyInspection

# How often a revocation is written that takes too long to commit.
_ATTEMPTS = 2

_REST_OF_SECOND = timedelta(microseconds=999_999)


class SQLAlchemyStore:
    """The four verbs of :class:`.Store` on SQLite, PostgreSQL, MySQL and MariaDB.

    :param table: the table, of :func:`make_table`.
    :param engine: our own engine.
    :param app_session: the app's session, if the table is in a database of the app.
    """

    def __init__(
        self,
        table: sa.Table,
        engine: OwnEngine,
        *,
        app_session: scoped_session[t.Any] | None = None,
    ) -> None:
        self.table = table
        self.engine = engine
        self._app_session = app_session
        self._pages = Pages(table, engine)
        self._texts = Texts(table, engine)
        # The same objects at every call, so that each is compiled once.
        self._find = lru_cache(maxsize=64)(self._make_find)
        self._add = lru_cache(maxsize=64)(self._make_add)

    def add(self, revocations: t.Sequence[Revocation]) -> None:
        """See :meth:`.Store.add`."""
        # A mirror misses a write that commits later than it expects.
        for _ in range(_ATTEMPTS):
            began_at = read_uptime()
            self._write(revocations)
            if read_uptime() - began_at <= LONGEST_WRITE.total_seconds():
                return
        raise OutcomeUnknownError(
            f"The database took longer than {LONGEST_WRITE.total_seconds():g} seconds to"
            f" commit, {_ATTEMPTS} times. In-memory mirrors may miss the revocation."
        )

    def _write(self, revocations: t.Sequence[Revocation]) -> None:
        try:
            self.engine.change(*self._upsert(revocations))
        except StoreUnavailableError as e:
            session = self._app_session
            is_unknown = isinstance(e, OutcomeUnknownError)
            if (
                session is not None
                and not is_unknown
                and may_block(session, self.table)
            ):
                raise StoreUnavailableError(BLOCKED % e) from e.__cause__
            raise

    def join(self, session: AppSession) -> JoinedTable:
        """See :meth:`.Store.join`."""
        if "bind_key" not in self.table.metadata.info:
            raise ConfigError(
                "session= needs the revocations in a database of the app's, and"
                " LOGOUT_STORE_URI names another one. Leave one of the two out."
            )
        return JoinedTable(session, self.table, self.engine, self._upsert)

    def find(
        self, keys: t.Collection[bytes], *, subject: str | None | EllipsisType = ...
    ) -> list[Revocation]:
        """See :meth:`.Store.find`."""
        bound = {f"key_{i}": key for i, key in enumerate(keys)}
        speaks = DIALECTS[self.engine.dialect.name]
        rows = self.engine.query(self._find(len(bound), speaks), bound)
        return [_to_revocation(row) for row in rows]

    def changes(self, cursor: object | None) -> Page:
        """See :meth:`.Store.changes`."""
        return self._pages.read(t.cast(t.Optional[Cursor], cursor))

    def purge(self, now: datetime, *, batch: int) -> int:
        """See :meth:`.Store.purge`."""
        column = self.table.c
        dialect = self.engine.dialect
        dead = has_passed(column.expires_at, now, DIALECTS[dialect.name])
        oldest = sa.select(column.key).where(dead).order_by(column.expires_at)
        oldest = oldest.limit(batch)
        if _skips_locked(dialect):
            # What another purge is at is left to it.
            oldest = oldest.with_for_update(skip_locked=True)
        if DIALECTS[dialect.name] == "mysql":
            # MySQL takes no IN of a LIMIT. IS TRUE: by the index on it, it would wait for
            # the rows of another purge.
            dead = dead.is_(sa.true())
            is_old = column.key == oldest.subquery().c.key
        else:
            is_old = column.key.in_(oldest)
        # Asked again, since a later expiry may have been stored meanwhile.
        return self.engine.execute(sa.delete(self.table).where(dead, is_old))[1]

    def inspect(self) -> SQLAlchemyInspection:
        """See :meth:`.Store.inspect`."""
        from .inspection import SQLAlchemyInspection

        return SQLAlchemyInspection(self.table, self.engine)

    def _upsert(
        self, revocations: t.Sequence[Revocation]
    ) -> tuple[sa.Insert, dict[str, t.Any]]:
        # In the order of the keys, so that two statements cannot wait for each other.
        rows = sorted(merge(self._texts.fit(revocations)), key=lambda x: x.key)
        return self._add(len(rows), DIALECTS[self.engine.dialect.name]), _bind(rows)

    def _make_find(self, count: int, speaks: str) -> Query:
        # Only what tells whether a token is covered: each column costs the driver time.
        names = ("key", "kind", "cutoff", "spared_session", "spared_after")
        select = sa.select(*(self.table.c[name] for name in names))
        # Named one by one: an expanding IN is written anew at every execution.
        keys = [sa.bindparam(f"key_{i}", type_=KEY) for i in range(count)]
        if speaks == "mysql":
            return select.where(self.table.c.key.in_(keys))
        # For an IN, PostgreSQL reads all of a table of some hundred rows, and SQLite
        # makes a table of the keys.
        return sa.union_all(*(select.where(self.table.c.key == key) for key in keys))

    def _make_add(self, count: int, speaks: str) -> sa.Insert:
        rows = [
            {
                column.name: NOW[speaks]
                if column.name == "revoked_at"
                else sa.bindparam(f"{column.name}_{i}", type_=column.type)
                for column in self.table.columns
            }
            for i in range(count)
        ]
        if speaks == "mysql":
            statement = mysql.insert(self.table).values(rows)
            return statement.on_duplicate_key_update(
                _merged(self.table.c, statement.inserted)
            )
        insert = postgresql.insert if speaks == "postgresql" else sqlite.insert
        upsert = insert(self.table).values(rows)
        return upsert.on_conflict_do_update(
            index_elements=["key"], set_=dict(_merged(self.table.c, upsert.excluded))
        )


def _skips_locked(dialect: t.Any) -> bool:
    """Whether a database knows SKIP LOCKED; a MySQL that has not been asked yet: no."""
    if dialect.name == "postgresql":
        return True
    if DIALECTS[dialect.name] != "mysql" or not dialect.server_version_info:
        return False
    least = (10, 6) if dialect.is_mariadb else (8, 0, 1)
    return bool(dialect.server_version_info >= least)


def _bind(revocations: t.Sequence[Revocation]) -> dict[str, t.Any]:
    return {
        f"{name}_{i}": value
        for i, revocation in enumerate(revocations)
        for name, value in vars(revocation).items()
        if name != "revoked_at"
    }


def _merged(old: t.Any, new: t.Any) -> list[tuple[str, sa.ColumnElement[t.Any]]]:
    """Say in SQL what :func:`.merge` says in Python.

    In an order in which nothing is read after it is set: MySQL sets one by one.
    """
    later = new.cutoff > old.cutoff
    longer = sa.or_(new.expires_at.is_(None), new.expires_at > old.expires_at)
    longer = sa.and_(old.expires_at.is_not(None), longer)
    same_spared = old.spared_session.is_not_distinct_from(new.spared_session)
    # What the row with the later cutoff says of the session that it spares, and what the
    # other row says of it.
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
        # Even if nothing changes: in-memory mirrors may have missed the earlier write.
        ("revoked_at", new.revoked_at),
        ("spared_after", spared_after),
        *(
            (name, sa.case((later, new[name]), else_=old[name]))
            for name in ("spared_session", "reason", "actor", "cutoff")
        ),
        ("expires_at", sa.case((longer, new.expires_at), else_=old.expires_at)),
    ]


def _to_revocation(row: t.Sequence[t.Any]) -> Revocation:
    key, kind, cutoff, spared_session, spared_after = row
    return Revocation(
        bytes(key),
        kind,
        cutoff=_round_up(cutoff),
        spared_session=spared_session and bytes(spared_session),
        spared_after=_round_up(spared_after),
    )


def _round_up(instant: datetime | None) -> datetime | None:
    """Cover the whole second, in case the column has lost its fraction."""
    if instant is None:
        return None
    utc = to_utc(instant)
    return utc if utc.microsecond else utc + _REST_OF_SECOND
