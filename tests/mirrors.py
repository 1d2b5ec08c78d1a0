"""In-memory mirrors of real stores, with a clock that only tests move."""

from __future__ import annotations

import typing as t
from contextlib import contextmanager
from datetime import datetime
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_logout import Revocation
from flask_logout import StoreUnavailableError
from flask_logout.domain.revocation_keys import make_key
from flask_logout.domain.rotation import Policy
from flask_logout.stores import Inspection
from flask_logout.stores import Joined
from flask_logout.stores import Page
from flask_logout.stores import Store
from flask_logout.stores.mirror import Mirror
from flask_logout.stores.mirror import PAUSE
from flask_logout.stores.sessions import SessionStore
from flask_logout.stores.sqlalchemy import SQLAlchemyStore

from .conftest import MakeApp

BOUND = 10.0


class Clock:
    """A clock that only moves when a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def move(self, by: float | timedelta) -> None:
        """Advance the clock by a number of seconds or a duration."""
        self.now += by.total_seconds() if isinstance(by, timedelta) else by


class Watched:
    """A real store that records calls and can split its pages.

    The parts of a page belong to the same run, so they are all as old as the first one.
    """

    def __init__(self, inner: SQLAlchemyStore) -> None:
        self.inner = inner
        self.calls: list[str] = []
        self.cut = 0
        self.restarts_scan = False
        self.before_find: t.Callable[[], object] = bool
        self.before_changes: t.Callable[[], object] = bool
        self.after_changes: t.Callable[[Page], object] = bool

    def add(self, revocations: t.Sequence[Revocation]) -> None:
        self.inner.add(revocations)

    def remember(self, revocations: t.Sequence[Revocation]) -> None:
        self.inner.remember(revocations)

    def join(self, session: t.Any) -> Joined:
        return self.inner.join(session)

    def close(self) -> None:
        self.inner.close()

    def open_sessions(self, policy: Policy) -> SessionStore:
        return self.inner.open_sessions(policy)

    def find(self, keys: t.Collection[bytes], **hint: t.Any) -> list[Revocation]:
        self.calls.append(f"find {len(keys)}")
        self.before_find()
        return self.inner.find(keys, **hint)

    def changes(self, cursor: object | None) -> Page:
        self.calls.append("changes")
        self.before_changes()
        rest, inner = t.cast("tuple[t.Any, t.Any]", cursor or (None, None))
        if self.restarts_scan:
            self.restarts_scan, rest, inner = False, None, None
        page = rest or self.inner.changes(inner)
        self.after_changes(page)
        if not self.cut or len(page.keys) <= self.cut:
            return Page(page.keys, (None, page.cursor), page.has_more, page.total)
        rest = Page(page.keys[self.cut :], page.cursor, page.has_more)
        return Page(page.keys[: self.cut], (rest, None), True, page.total)

    def purge(self, now: datetime, *, batch: int) -> int:
        return self.inner.purge(now, batch=batch)

    def inspect(self) -> Inspection:
        return self.inner.inspect()

    def take_calls(self) -> list[str]:
        """Return the calls since the last time, and clear the list."""
        calls, self.calls = self.calls, []
        return calls


def key_of(name: object) -> bytes:
    """Return the key of a session."""
    return make_key("session", None, str(name))


def revocation(name: object, expires_at: datetime | None = None) -> Revocation:
    """Make the revocation of a session."""
    return Revocation(key_of(name), "session", expires_at)


def finds(store: Store, *names: object) -> list[object]:
    """Return the names of the sessions that are revoked."""
    keys = {revocation.key for revocation in store.find([key_of(x) for x in names])}
    return [name for name in names if key_of(name) in keys]


def fill(mirror: Mirror) -> None:
    """Run checks until the copy is complete."""
    while mirror._copy.is_behind or mirror._next is not None:
        mirror.find([key_of("nobody")])
        if mirror._next is not None:
            t.cast(Clock, mirror._clock).move(PAUSE)


def fail() -> t.NoReturn:
    """Raise an error, as a page that takes too long does."""
    raise StoreUnavailableError("too slow")


@contextmanager
def stopped(store: SQLAlchemyStore) -> t.Iterator[None]:
    """Rename the table within the block, to simulate a database that fails."""
    name = store.table.name
    store.engine.execute(sa.text(f"ALTER TABLE {name} RENAME TO away"))
    try:
        yield
    finally:
        store.engine.execute(sa.text(f"ALTER TABLE away RENAME TO {name}"))


def mirror_of(app: Flask) -> Mirror:
    """Return the mirror of an app."""
    return t.cast(Mirror, app.extensions["logout"].store)


@pytest.fixture
def store(make_app: MakeApp) -> t.Iterator[Watched]:
    """An empty store, in an app context."""
    app = make_app()
    with app.app_context():
        yield Watched(t.cast(SQLAlchemyStore, app.extensions["logout"].store))


@pytest.fixture
def clock() -> Clock:
    """A clock that a test moves."""
    return Clock()


@pytest.fixture
def mirror(store: Watched, clock: Clock) -> Mirror:
    """A mirror of the store that has not read anything yet."""
    return Mirror(store, max_staleness=timedelta(seconds=BOUND), clock=clock)


@pytest.fixture
def full_mirror(store: Watched, mirror: Mirror) -> Mirror:
    """A complete mirror that contains one revocation, "old"."""
    store.add([revocation("old")])
    fill(mirror)
    store.take_calls()
    return mirror
