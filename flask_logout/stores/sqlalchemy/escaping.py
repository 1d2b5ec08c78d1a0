"""Escape characters that the database can't store."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import sqlalchemy as sa

from ...domain.revocation import Revocation
from ...domain.revocation import TEXT_SIZE
from .dialects import DIALECTS
from .engine import OwnEngine

if t.TYPE_CHECKING:
    from ...domain.rotation import Session

R = t.TypeVar("R", Revocation, "Session")

REVOCATION_TEXTS = ("subject", "token_id", "reason", "actor")
"""The columns of a revocation that are for people to read."""

_ASK = {
    "postgresql": sa.text(
        "SELECT current_setting('server_encoding') = 'UTF8'"
        " AND current_setting('client_encoding') = 'UTF8'"
    ),
    "mysql": sa.text(
        "SELECT @@character_set_client = 'utf8mb4'"
        " AND min(character_set_name = 'utf8mb4') FROM information_schema.columns"
        " WHERE table_schema = coalesce(:schema, database()) AND table_name = :name"
        " AND character_set_name IS NOT NULL"
    ),
}


class Texts:
    """Escapes characters that the database can't store, so that no write fails.

    Only texts for people are affected, such as the reason of a revocation.

    :param columns: the names of these columns.
    """

    def __init__(
        self,
        table: sa.Table,
        engine: OwnEngine,
        columns: t.Sequence[str] = REVOCATION_TEXTS,
    ) -> None:
        self._table = table
        self._engine = engine
        self._columns = columns
        self._holds_all: bool | None = None

    def fit(self, records: t.Sequence[R]) -> t.Sequence[R]:
        """Escape non-ASCII characters, unless the database can store all of Unicode.

        :returns: the records, with escaped texts if necessary.
        """
        if all(self._is_ascii(x) for x in records) or self._can_hold_all():
            return records
        return [self._escaped(x) for x in records]

    def _is_ascii(self, record: R) -> bool:
        return all((getattr(record, x) or "").isascii() for x in self._columns)

    def _escaped(self, record: R) -> R:
        texts: dict[str, t.Any] = {
            x: _escape(getattr(record, x)) for x in self._columns
        }
        return replace(record, **texts)

    def _can_hold_all(self) -> bool:
        if self._holds_all is None:
            self._holds_all = self._ask()
        return self._holds_all

    def _ask(self) -> bool:
        query = _ASK.get(DIALECTS[self._engine.dialect.name])
        if query is None:
            return True
        names = {
            "schema": self._engine.schema_of(self._table),
            "name": self._table.name,
        }
        bound = names if DIALECTS[self._engine.dialect.name] == "mysql" else None
        rows, _ = self._engine.execute(query, bound)
        return bool(rows[0][0])


def _escape(text: str | None) -> str | None:
    if text is None:
        return None
    return text.encode("ascii", "backslashreplace").decode()[:TEXT_SIZE]
