"""Make revocations, and read them back from a store."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from operator import attrgetter

import pytest
import sqlalchemy as sa

from flask_logout import Revocation
from flask_logout import StoreUnavailableError
from flask_logout.domain.revocation import merge
from flask_logout.domain.revocation_keys import make_key
from flask_logout.stores import Store
from flask_logout.stores.sqlalchemy import SQLAlchemyStore
from flask_logout.stores.sqlalchemy.dialects import to_utc

NOW = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)
A, B = make_key("session", None, "a"), make_key("session", None, "b")
DRIVERS = ["sqlite", "postgresql+psycopg", "postgresql+psycopg2", "mysql+pymysql"]
# The fields that decide whether a token is covered, which are all that find() returns.
decisive = attrgetter("key", "kind", "cutoff", "spared_session", "spared_after")

Acts = list[tuple[int, t.Optional[bytes], t.Optional[int]]]
"""Revocations under one key: cutoff, spared session and lifetime, in seconds."""

ACTS: list[Acts] = [
    [(1, None, 1), (2, None, 2)],
    [(2, None, 2), (1, None, 1)],
    [(1, None, None), (2, None, 5)],
    [(1, None, 5), (2, None, None)],
    [(1, A, 1), (2, A, 1)],
    [(1, A, 1), (2, B, 1)],
    [(2, B, 1), (1, A, 1)],
    [(1, None, 1), (2, B, 1)],
    [(2, B, 1), (1, None, 1)],
    [(1, None, 1), (2, A, 1), (3, A, 1)],
    [(1, A, 1), (2, B, 1), (3, A, 1)],
    [(3, A, 1), (2, B, 1), (1, None, 1)],
    [(3, A, 1), (1, B, 1), (2, None, 1)],
    [(1, A, 1), (1, B, 1)],
]


def make_acts(acts: Acts) -> list[Revocation]:
    """Make several revocations under one key."""
    return [
        revocation(
            kind="subject",
            cutoff=NOW + second * SECOND,
            spared_session=spared,
            expires_at=None if lifetime is None else NOW + lifetime * SECOND,
            reason=f"act {i}",
        )
        for i, (second, spared, lifetime) in enumerate(acts)
    ]


def add_acts(store: Store, acts: Acts) -> Revocation:
    """Add revocations under one key, and return how :func:`.merge` merges them."""
    made = make_acts(acts)
    for act in made:
        store.add([act])
    (merged,) = merge(made)
    return merged


def revocation(value: str = "x", **values: t.Any) -> Revocation:
    """Make a revocation with defaults for all values that don't matter."""
    made = Revocation(make_key("token", None, value), "token", NOW)
    return replace(made, **values)


def kept(store: Store, *keys: bytes, subject: str | None = None) -> list[Revocation]:
    """Read whole revocations, including the texts for people."""
    if not isinstance(store, SQLAlchemyStore):
        return store.find(keys, subject=subject)
    rows, _ = store.engine.execute(
        sa.select(store.table).where(store.table.c.key.in_(keys))
    )
    return [
        Revocation(**{k: plain(v) for k, v in row._asdict().items()}) for row in rows
    ]


def plain(value: t.Any) -> t.Any:
    """Convert a value of a driver to the type that a revocation has."""
    if isinstance(value, datetime):
        return to_utc(value)
    return bytes(value) if isinstance(value, (bytes, memoryview)) else value


def found(store: Store, *keys: bytes, subject: str | None = None) -> list[Revocation]:
    """Read revocations without ``revoked_at``, and assert that ``find()`` agrees."""
    whole = kept(store, *keys, subject=subject)
    seen = {decisive(x) for x in store.find(keys, subject=subject)}
    assert seen == {decisive(x) for x in whole}
    return [replace(x, revoked_at=None) for x in sorted(whole, key=attrgetter("key"))]


def read_changes(store: Store, cursor: object | None) -> tuple[set[bytes], object]:
    """Read every page after a cursor. Return the keys and the last cursor."""
    keys: set[bytes] = set()
    has_more = True
    while has_more:
        page = store.changes(cursor)
        keys.update(page.keys)
        cursor, has_more = page.cursor, page.has_more
    return keys, cursor


def assert_unavailable(store: Store, message: str) -> None:
    """Assert that no method returns a result if the store can't."""
    with pytest.raises(StoreUnavailableError, match=message):
        store.find([A])
    with pytest.raises(StoreUnavailableError, match=message):
        store.add([revocation()])
    with pytest.raises(StoreUnavailableError, match=message):
        store.changes(None)
