"""Escape characters that the database can't store."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import sqlalchemy as sa

from ...revocation import Revocation
from ...revocation import TEXT_SIZE
from .dialects import DIALECTS
from .engine import OwnEngine

_COLUMNS = ("subject", "token_id", "reason", "actor")
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
    """Escapes characters that the database can't store, so that no revocation fails.

    Only texts for people are affected, such as the reason of a revocation.
    """

    def __init__(self, table: sa.Table, engine: OwnEngine) -> None:
        self._table = table
        self._engine = engine
        self._holds_all: bool | None = None

    def fit(self, revocations: t.Sequence[Revocation]) -> t.Sequence[Revocation]:
        """Escape non-ASCII characters, unless the database can store all of Unicode.

        :returns: the revocations, with escaped texts if necessary.
        """
        if all(_is_ascii(x) for x in revocations) or self._can_hold_all():
            return revocations
        return [_escaped(x) for x in revocations]

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


def _is_ascii(revocation: Revocation) -> bool:
    return all((getattr(revocation, name) or "").isascii() for name in _COLUMNS)


def _escaped(revocation: Revocation) -> Revocation:
    texts: dict[str, t.Any] = {x: _escape(getattr(revocation, x)) for x in _COLUMNS}
    return replace(revocation, **texts)


def _escape(text: str | None) -> str | None:
    if text is None:
        return None
    return text.encode("ascii", "backslashreplace").decode()[:TEXT_SIZE]
