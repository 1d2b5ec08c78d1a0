"""The store of revocations in a table of a SQL database."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timedelta
from functools import lru_cache
from functools import partial
from types import EllipsisType

import sqlalchemy as sa

from ...domain.revocation import merge
from ...domain.revocation import Revocation
from ...exceptions import ConfigError
from ...exceptions import OutcomeUnknownError
from ...exceptions import StoreUnavailableError
from .. import LONGEST_WRITE
from .. import Page
from ..monotonic import read_uptime
from .app_transaction import BLOCKED
from .app_transaction import JoinedTable
from .app_transaction import may_block
from .dialects import DIALECTS
from .dialects import to_utc
from .engine import OwnEngine
from .escaping import Texts
from .pages import Cursor
from .pages import Pages
from .purging import delete_passed
from .statements import bind_keys
from .statements import make_add
from .statements import make_find

if t.TYPE_CHECKING:
    from sqlalchemy.orm import scoped_session

    from ...domain.rotation import Policy
    from .. import AppSession
    from .inspection import SQLAlchemyInspection
    from .sessions import SQLAlchemySessions

# The number of times that a write is attempted if its commit takes too long.
_ATTEMPTS = 2

_REST_OF_SECOND = timedelta(microseconds=999_999)


class SQLAlchemyStore:
    """Stores revocations in SQLite, PostgreSQL, MySQL or MariaDB.

    :param table: the table that :func:`.make_table` defined.
    :param engine: our own engine.
    :param app_session: the app's database session, if the table is in a database of the
        app.
    :param is_embedded: whether the tables are created when the app starts.
    """

    def __init__(
        self,
        table: sa.Table,
        engine: OwnEngine,
        *,
        app_session: scoped_session[t.Any] | None = None,
        is_embedded: bool = False,
    ) -> None:
        self.table = table
        self.engine = engine
        self._app_session = app_session
        self._is_embedded = is_embedded
        self._pages = Pages(table, engine)
        self.texts = Texts(table, engine)
        # Statements are cached, because each object is compiled only once.
        self._find = lru_cache(maxsize=64)(partial(make_find, table))
        self._add = lru_cache(maxsize=64)(partial(make_add, table))

    def add(self, revocations: t.Sequence[Revocation]) -> None:
        # In-memory mirrors can miss a write whose commit takes longer than LONGEST_WRITE.
        for _ in range(_ATTEMPTS):
            began_at = read_uptime()
            self._write(revocations)
            if read_uptime() - began_at <= LONGEST_WRITE.total_seconds():
                return
        raise OutcomeUnknownError(
            f"In each of {_ATTEMPTS} attempts, the database took longer than"
            f" {LONGEST_WRITE.total_seconds():g} seconds to commit, so in-memory mirrors may"
            " miss the revocation."
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

    def remember(self, revocations: t.Sequence[Revocation]) -> None:
        """Do nothing, because every check reads the stored revocations."""

    def join(self, session: AppSession) -> JoinedTable:
        if "bind_key" not in self.table.metadata.info:
            raise ConfigError(
                "The argument session requires revocations to be stored in one of the"
                " app's own databases, but LOGOUT_STORE_URI names another database. Remove"
                " the argument, or remove LOGOUT_STORE_URI."
            )
        return JoinedTable(session, self.table, self.engine, self._upsert)

    def find(
        self, keys: t.Collection[bytes], *, subject: str | None | EllipsisType = ...
    ) -> list[Revocation]:
        bound = bind_keys(keys)
        dialect = DIALECTS[self.engine.dialect.name]
        rows = self.engine.query(self._find(len(bound), dialect), bound)
        return [_to_revocation(row) for row in rows]

    def changes(self, cursor: object | None) -> Page:
        return self._pages.read(t.cast(t.Optional[Cursor], cursor))

    def purge(self, now: datetime, *, batch: int) -> int:
        column = self.table.c.expires_at
        return delete_passed(self.table, column, now, batch, self.engine)

    def open_sessions(self, policy: Policy) -> SQLAlchemySessions:
        from .sessions import SQLAlchemySessions

        sessions = SQLAlchemySessions(self, policy)
        if self._is_embedded:
            sessions.inspect().create()
            self.engine.dispose()
        return sessions

    def close(self) -> None:
        self.engine.dispose()

    def inspect(self) -> SQLAlchemyInspection:
        from .inspection import SQLAlchemyInspection

        return SQLAlchemyInspection(self.table, self.engine)

    def _upsert(
        self, revocations: t.Sequence[Revocation]
    ) -> tuple[sa.Insert, dict[str, t.Any]]:
        # Sort by key, so that two statements can't deadlock.
        rows = sorted(merge(self.texts.fit(revocations)), key=lambda x: x.key)
        return self._add(len(rows), DIALECTS[self.engine.dialect.name]), _bind(rows)


def _bind(revocations: t.Sequence[Revocation]) -> dict[str, t.Any]:
    return {
        f"{name}_{i}": value
        for i, revocation in enumerate(revocations)
        for name, value in vars(revocation).items()
        if name != "revoked_at"
    }


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
    """Round up to the end of the second, in case the column truncated the fraction."""
    if instant is None:
        return None
    utc = to_utc(instant)
    return utc if utc.microsecond else utc + _REST_OF_SECOND
