"""Stores of sessions of each kind, and sessions for them."""

from __future__ import annotations

import typing as t
from contextlib import contextmanager
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_logout.domain.revocation import Revocation
from flask_logout.domain.revocation_keys import ANY_ISSUER
from flask_logout.domain.revocation_keys import make_key
from flask_logout.domain.rotation import Policy
from flask_logout.domain.rotation import Rotation
from flask_logout.domain.rotation import Session
from flask_logout.stores import Store
from flask_logout.stores.sessions import Position
from flask_logout.stores.sessions import SessionStore
from flask_logout.stores.sqlalchemy import open_own_database
from flask_logout.stores.sqlalchemy.dialects import to_utc
from flask_logout.stores.sqlalchemy.sessions import SQLAlchemySessions

from .conftest import new_database
from .redis_servers import cluster
from .redis_servers import cluster_url
from .redis_servers import running_url
from .redis_servers import watched

if t.TYPE_CHECKING:
    from flask_logout.stores.redis import RedisStore

NOW = datetime.now(timezone.utc).replace(microsecond=123456)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
GRACE = 1000 * SECOND
# Long, because a busy machine must not make a store unavailable.
TIMEOUT = 30 * SECOND
COVERING = [
    make_key("subject", ANY_ISSUER, "ada"),
    make_key("subject", None, "ada"),
    make_key("everyone", ANY_ISSUER, None),
    make_key("everyone", None, None),
]
KINDS = ["sqlite", "postgresql+psycopg", "mysql+pymysql", "redis"]
SPREAD = [
    pytest.param(x, marks=pytest.mark.infrastructure) for x in ("sentinel", "cluster")
]


class Opened:
    """A store of revocations, with stores of sessions beside it."""

    needs_two_statements = False
    """Whether a statement that rotates can't check for revocations as well."""

    def __init__(self, revocations: Store) -> None:
        self.revocations = revocations

    def sessions(
        self, grace: timedelta = GRACE, *, late_retry: bool = False
    ) -> SessionStore:
        """Open the store of sessions."""
        raise NotImplementedError

    def age(self, session: Session, by: timedelta) -> None:
        """Simulate that time has passed since the last rotation of a session."""
        raise NotImplementedError

    def clear(self) -> None:
        """Delete everything."""
        self.sessions().inspect().clear()
        self.revocations.inspect().clear()


class InSQL(Opened):
    """Stores in a SQL database."""

    def __init__(self, revocations: Store) -> None:
        super().__init__(revocations)
        engine = t.cast(t.Any, revocations).engine
        self.needs_two_statements = engine.dialect.name in ("mysql", "mariadb")

    def sessions(
        self, grace: timedelta = GRACE, *, late_retry: bool = False
    ) -> SQLAlchemySessions:
        revocations = t.cast(t.Any, self.revocations)
        return SQLAlchemySessions(revocations, Policy(grace, late_retry))

    def age(self, session: Session, by: timedelta) -> None:
        store = self.sessions()
        engine, table = t.cast(t.Any, self.revocations).engine, store.table
        is_it = table.c.key == session.key
        ((before,),), _ = engine.execute(sa.select(table.c.rotated_at).where(is_it))
        after = to_utc(before) - by
        engine.execute(sa.update(table).where(is_it).values(rotated_at=after))


class InRedis(Opened):
    """Stores in Redis."""

    revocations: RedisStore

    def __init__(self, revocations: RedisStore) -> None:
        super().__init__(revocations)
        self.needs_two_statements = revocations.client.is_cluster

    def sessions(
        self, grace: timedelta = GRACE, *, late_retry: bool = False
    ) -> SessionStore:
        from flask_logout.stores.redis.sessions import RedisSessions

        return RedisSessions(self.revocations, Policy(grace, late_retry))

    def age(self, session: Session, by: timedelta) -> None:
        name = self.name_of(session)
        (before,) = self.run("HGET", name, "rotated_at")
        after = int(before) - by // timedelta(microseconds=1)
        self.run("HSET", name, "rotated_at", after)

    def name_of(self, session: Session) -> bytes:
        """Return the name of a session."""
        slot = self.revocations.slot_of(session.subject)
        return self.revocations.names.make_session(slot, session.key)

    def name_of_set(self, session: Session) -> bytes:
        """Return the name of the set of the sessions of the same user."""
        slot = self.revocations.slot_of(session.subject)
        return self.revocations.names.make_sessions_of(slot, session.subject_key)

    def run(self, *command: t.Any) -> list[t.Any]:
        """Run a command."""
        return self.revocations.client.run([command])


@contextmanager
def opened(kind: str, folder: Path) -> t.Iterator[Opened]:
    """Open an empty store of a kind, and start its servers if necessary."""
    with ExitStack() as stack:
        if kind == "sqlite":
            yield stack.enter_context(opened_sql(f"sqlite:///{folder / 'sessions.db'}"))
        elif kind == "redis":
            yield stack.enter_context(opened_redis(running_url()))
        elif kind == "sentinel":
            servers = stack.enter_context(watched(folder / "sentinel"))
            yield stack.enter_context(opened_redis(servers.url, replicas=1))
        elif kind == "cluster":
            nodes = stack.enter_context(cluster(folder / "cluster"))
            yield stack.enter_context(opened_redis(cluster_url(nodes[0])))
        else:
            url = stack.enter_context(new_database(kind))
            yield stack.enter_context(opened_sql(show(url)))


@contextmanager
def opened_with_url(kind: str, folder: Path) -> t.Iterator[tuple[Opened, str, str]]:
    """Open a store of a kind, with its URL and the name of its table."""
    with ExitStack() as stack:
        if kind == "redis":
            url = running_url()
            yield stack.enter_context(opened_redis(url)), url, "with_sessions"
            return
        url = f"sqlite:///{folder / 'sessions.db'}"
        if kind != "sqlite":
            url = show(stack.enter_context(new_database(kind)))
        yield stack.enter_context(opened_sql(url)), url, "logout_revocation"


@contextmanager
def opened_sql(url: str, timeout: timedelta = TIMEOUT) -> t.Iterator[InSQL]:
    """Create the tables in a SQL database."""
    store = open_own_database(
        url, folder="", table_name="logout_revocation", timeout=timeout
    )
    opened = InSQL(store)
    store.inspect().create()
    opened.sessions().inspect().create()
    yield opened
    store.engine.dispose()


@contextmanager
def opened_redis(
    url: str, timeout: timedelta = TIMEOUT, **options: t.Any
) -> t.Iterator[InRedis]:
    """Open an empty store in Redis."""
    from flask_logout.stores.redis import RedisStore

    store = RedisStore(url, timeout=timeout, table_name="with_sessions", **options)
    opened = InRedis(store)
    opened.clear()
    yield opened
    opened.clear()
    store.client.close()


def show(url: sa.URL) -> str:
    """Return a URL with its password."""
    return url.render_as_string(hide_password=False)


def make_session(sid: str = "a", **values: t.Any) -> Session:
    """Make a session that has just begun."""
    subject = values.pop("subject", "ada")
    made = Session(
        sid,
        subject,
        NOW,
        expires_at=NOW + DAY,
        key=make_key("session", None, sid),
        any_issuer_key=make_key("session", ANY_ISSUER, sid),
        subject_key=make_key("subject", None, subject),
        kept_until=NOW + 2 * DAY,
    )
    return replace(made, **values)


def rotate(
    store: SessionStore, session: Session, presented: int, **values: t.Any
) -> Rotation:
    """Present a generation of the refresh token of a session."""
    return store.rotate(follow(session, presented, **values))


def rotate_unrevoked(
    store: SessionStore, session: Session, presented: int, **values: t.Any
) -> Rotation | None:
    """Present it unless it is revoked."""
    following = follow(session, presented, **values)
    return store.rotate_unrevoked(following, keys_of(session))


def check_and_rotate(
    store: SessionStore, session: Session, presented: int, **values: t.Any
) -> Rotation:
    """Present a generation that isn't revoked, as the endpoint does."""
    following = follow(session, presented, **values)
    found = store.rotate_unrevoked(following, keys_of(session))
    return found or store.rotate(following, is_second=True)


def follow(session: Session, presented: int, **values: t.Any) -> Session:
    """Return a session as it is after its refresh token has been exchanged."""
    following = {"generation": presented + 1, "parent": presented, **values}
    return replace(session, **following)


def keys_of(session: Session) -> list[bytes]:
    """Return the keys under which a session of ``ada`` can be revoked."""
    return [session.key, session.any_issuer_key, *COVERING]


def list_all(
    store: SessionStore,
    *,
    subject: str = "ada",
    now: datetime = NOW,
    limit: int = 1000,
) -> list[Session]:
    """List all active sessions of a user, page by page."""
    found: list[Session] = []
    after: Position | None = None
    key = make_key("subject", None, subject)
    while True:
        page = store.list_active(
            key, COVERING, now, subject=subject, after=after, limit=limit
        )
        found += page
        if len(page) < limit:
            return found
        after = Position(page[-1].created_at, page[-1].key)


def end_of(session: Session, **values: t.Any) -> Revocation:
    """Make the revocation of a session."""
    made = Revocation(session.key, "session", NOW + DAY, subject=session.subject)
    return replace(made, **values)
