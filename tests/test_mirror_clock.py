"""The in-memory mirror with databases whose clock jumps, and with late commits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
import typing as t
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_logout import LogoutExtension
from flask_logout.exceptions import OutcomeUnknownError
from flask_logout.stores.mirror import Mirror
from flask_logout.stores.mirror import Phase
from flask_logout.stores.sqlalchemy import pages
from flask_logout.stores.sqlalchemy import server_clock as clock_module
from flask_logout.stores.sqlalchemy import SQLAlchemyStore
from flask_logout.stores.sqlalchemy import store as store_module

from .conftest import MakeApp
from .database_servers import MariaDBServer
from .database_servers import PostgreSQLServer
from .faked_clock import FakedClock
from .mirrors import mirror_of
from .proxy import proxied
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

pytestmark = pytest.mark.infrastructure

BOUND = 10.0
ROOT = Path(__file__).parent.parent


class Site:
    """Two workers on one database. The test moves the clocks of their mirrors."""

    def __init__(self, make_app: MakeApp, url: str) -> None:
        self._now = 1000.0
        config = {"SQLALCHEMY_DATABASE_URI": url, "LOGOUT_MAX_STALENESS": BOUND}
        self.here, self.there = (make_app(**config) for _ in range(2))
        for app in (self.here, self.there):
            mirror_of(app)._clock = lambda: self._now
            with app.app_context():
                mirror_of(app).inspect().clear()
            fill(app)

    def reach_bound(self) -> None:
        """Advance the clocks of the mirrors by the bound."""
        self._now += BOUND

    def log_out_here(self, users: int) -> set[tuple[int, int]]:
        """Log out users here, and return the status on the other worker at the bound."""
        pairs = [make_pair(self.here, str(i)) for i in range(users)]
        answers = {get_status(self.there.test_client(), pair) for pair in pairs}
        assert answers == {(200, 200)}
        for pair in pairs:
            assert log_out(self.here.test_client(), pair).data == LOGGED_OUT
        self.reach_bound()
        return {get_status(self.there.test_client(), pair) for pair in pairs}


def fill(app: Flask) -> None:
    """Run checks until the mirror is complete."""
    with app.app_context():
        while mirror_of(app).phase is Phase.FILLING:
            mirror_of(app).find([b"0" * 16])


@pytest.fixture(scope="module")
def server_clock() -> t.Iterator[FakedClock]:
    """The clock of both servers."""
    with FakedClock() as clock:
        yield clock


@pytest.fixture(scope="module", params=[PostgreSQLServer, MariaDBServer])
def clocked_server(
    request: pytest.FixtureRequest, server_clock: FakedClock
) -> t.Iterator[PostgreSQLServer | MariaDBServer]:
    """A server of each kind."""
    with request.param(environment=server_clock.environment) as server:
        yield server


@pytest.fixture
def site(
    make_app: MakeApp,
    clocked_server: PostgreSQLServer | MariaDBServer,
    server_clock: FakedClock,
) -> Site:
    """Two workers, and a server with a correct clock."""
    server_clock.set(0)
    url = clocked_server.url.set(drivername=clocked_server.drivers[0])
    return Site(make_app, url.render_as_string(hide_password=False))


@pytest.mark.parametrize("step", [-2, -60, -3600, 60, 3600])
def test_no_logout_is_missed_if_the_clock_is_set(
    site: Site, server_clock: FakedClock, step: float
) -> None:
    server_clock.set(step)
    assert site.log_out_here(8) == {(401, 401)}
    fill(site.there)
    # Set it back, after the mirror has noticed the change.
    server_clock.set(0)
    assert site.log_out_here(8) == {(401, 401)}
    fill(site.there)
    assert mirror_of(site.there).phase is Phase.SERVING


def test_no_logout_is_missed_if_the_clock_is_set_while_a_worker_is_idle(
    site: Site, server_clock: FakedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_module, "TOLERANCE", timedelta(seconds=0.1))
    monkeypatch.setattr(pages, "OVERLAP", timedelta(seconds=0.2))
    pair = make_pair(site.here)
    site.reach_bound()
    assert get_status(site.there.test_client(), pair) == (200, 200)
    server_clock.set(-0.5)
    assert log_out(site.here.test_client(), pair).data == LOGGED_OUT
    # The clock was set back, but still shows a later time than in the last reading.
    time.sleep(0.7)
    site.reach_bound()
    assert get_status(site.there.test_client(), pair) == (401, 401)


def test_a_clock_that_was_set_back_is_logged(
    site: Site, server_clock: FakedClock, caplog: pytest.LogCaptureFixture
) -> None:
    server_clock.set(-3600)
    site.reach_bound()
    get_status(site.there.test_client(), make_pair(site.here))
    (message,) = {x for x in caplog.messages if "clock" in x}
    assert message.startswith("The database's clock has gone back from 20")
    assert message.endswith("The in-memory mirror starts over.")


@pytest.fixture
def mariadb_site(make_app: MakeApp) -> t.Iterator[tuple[Site, sa.Engine]]:
    """Two workers, and an operator's connections to their server."""
    with MariaDBServer() as server:
        operator = sa.create_engine(server.url, poolclass=sa.NullPool)
        site = Site(make_app, server.url.render_as_string(hide_password=False))
        yield site, operator


def test_a_write_that_commits_late_is_repeated(
    mariadb_site: tuple[Site, sa.Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LONGEST_WRITE", timedelta(seconds=0.5))
    monkeypatch.setattr(pages, "OVERLAP", timedelta(seconds=0.5))
    site, operator = mariadb_site
    assert find_after_lock(site, operator) == (401, 401)


def find_after_lock(site: Site, operator: sa.Engine) -> tuple[int, int]:
    """Log out while a lock delays commits, and return the other worker's statuses."""
    pair = make_pair(site.here)
    with operator.connect() as connection, ThreadPoolExecutor(1) as thread:
        connection.execute(sa.text("FLUSH TABLES WITH READ LOCK"))
        answer = thread.submit(lambda: log_out(site.here.test_client(), pair).data)
        while not is_waiting(connection):
            time.sleep(0.01)
        time.sleep(0.8)
        # The other worker reads what changed, but can't see the row yet.
        site.reach_bound()
        assert get_status(site.there.test_client(), pair) == (200, 200)
        fill(site.there)
        connection.execute(sa.text("UNLOCK TABLES"))
        assert answer.result() == LOGGED_OUT
    site.reach_bound()
    return get_status(site.there.test_client(), pair)


def is_waiting(connection: sa.Connection) -> bool:
    """Return whether a write is waiting for the lock."""
    states = "SELECT count(*) FROM information_schema.processlist WHERE state LIKE"
    waiting = f"{states} 'Waiting for backup lock' OR info LIKE 'INSERT%'"
    return bool(connection.execute(sa.text(waiting)).scalar())


def test_a_write_that_always_commits_late_fails(
    make_app: MakeApp, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    monkeypatch.setattr(store_module, "LONGEST_WRITE", timedelta(0))
    with app.app_context(), pytest.raises(OutcomeUnknownError) as caught:
        LogoutExtension().revoke_session("a")
    assert str(caught.value) == (
        "In each of 2 attempts, the database took longer than 0 seconds to commit, so"
        " in-memory mirrors may miss the revocation."
    )


def test_a_repeated_write_is_read_again(
    make_app: MakeApp, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first write may have been committed late and unacknowledged.
    monkeypatch.setattr(pages, "OVERLAP", timedelta(0))
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    store = t.cast(SQLAlchemyStore, app.extensions["logout"].store)
    with app.app_context():
        LogoutExtension().revoke_token({"jti": "a", "exp": 4e9})
        cursor = store.changes(None).cursor
        for _ in range(2):
            time.sleep(0.005)
            cursor = store.changes(cursor).cursor
        time.sleep(0.005)
        assert store.changes(cursor).keys == []
        LogoutExtension().revoke_token({"jti": "a", "exp": 4e9})
        assert len(store.changes(cursor).keys) == 1


WORKERS_OF_SQLITE = """
import json, sys
from pathlib import Path
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_logout import LogoutExtension
from tests.conftest import add_routes
from tests.test_mirror_clock import Site

def make_app(**config):
    app = Flask("worker")
    app.config.update(config, JWT_SECRET_KEY="a secret of at least thirty-two bytes")
    SQLAlchemy(app)
    LogoutExtension(app)
    add_routes(app)
    with app.app_context():
        app.extensions["logout"].store.inspect().create()
    return app

site = Site(make_app, sys.argv[1])
site.log_out_here(1)
Path(sys.argv[2]).write_text(sys.argv[3])
print(json.dumps(sorted(site.log_out_here(7))))
"""


@pytest.mark.parametrize("step", [-2, -3600])
def test_no_logout_is_missed_if_the_clock_is_set_with_sqlite(
    tmp_path: Path, step: float
) -> None:
    with FakedClock() as clock:
        file = clock.environment["FAKETIME_TIMESTAMP_FILE"]
        url = f"sqlite:///{tmp_path / 'site.db'}"
        # The process has read the clock before it is set, and creates its tokens afterwards.
        arguments = [url, file, f"{step:+g}s\n"]
        done = subprocess.run(
            [sys.executable, "-c", WORKERS_OF_SQLITE, *arguments],
            env={**os.environ, **clock.environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[401, 401]]


ROWS = 150_000


def test_a_mirror_that_is_far_behind_answers_every_check(make_app: MakeApp) -> None:
    with proxied("postgresql+psycopg") as (url, proxy):
        uri = url.render_as_string(hide_password=False)
        app = make_app(
            SQLALCHEMY_DATABASE_URI=uri,
            LOGOUT_MAX_STALENESS=BOUND,
            LOGOUT_TIMEOUT=1,
        )
        with app.app_context():
            run(app, INSERT)
            now = [1000.0]
            mirror = mirror_of(app)
            mirror._clock = lambda: now[0]
            fill(app)
            run(app, "UPDATE logout_revocation SET revoked_at = clock_timestamp()")
            LogoutExtension().revoke_session("last")
            # Reading everything takes 3 seconds, but reading a page only 0.05 seconds.
            proxy.slow(bandwidth=2.5e6)
            now[0] += BOUND
            key = run(app, "SELECT key FROM logout_revocation WHERE token_id = 'last'")
            tracemalloc.start()
            try:
                checks = count_checks(mirror, bytes(key))
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert ROWS / pages.PAGE_SIZE - 5 < checks < ROWS / pages.PAGE_SIZE + 20
    assert peak < 10e6


INSERT = f"""
    INSERT INTO logout_revocation (key, kind, revoked_at)
    SELECT decode(md5(i::text), 'hex'), 'token', now() - interval '1 day'
    FROM generate_series(1, {ROWS}) AS i
"""


def run(app: Flask, statement: str) -> t.Any:
    """Run a statement on the app's own connection, and return its first value."""
    with app.extensions["sqlalchemy"].engine.begin() as connection:
        result = connection.execute(sa.text(statement))
        return result.scalar() if result.returns_rows else None


def count_checks(mirror: Mirror, key: bytes) -> int:
    """Count the checks that query the store before the mirror is complete again."""
    for checks in range(1, 1000):
        assert [x.key for x in mirror.find([key, b"0" * 16])] == [key]
        if mirror.phase is Phase.SERVING:
            return checks
    raise AssertionError("the mirror never catches up")
