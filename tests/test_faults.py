"""Whatever breaks, no acknowledged logout is lost, and no revoked token is accepted."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextlib import contextmanager
from contextlib import ExitStack
from contextlib import suppress
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from functools import partial
from http.client import HTTPConnection
from http.client import HTTPException
from pathlib import Path
from threading import Condition
from threading import Event

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy

from flask_logout import LogoutExtension
from flask_logout import Revocation
from flask_logout import StoreUnavailableError

from .conftest import dispose
from .conftest import MakeApp
from .conftest import new_database
from .conftest import SECRET
from .database_servers import MariaDBServer
from .database_servers import PostgreSQLServer
from .database_servers import StandbyServer
from .proxy import alarm
from .proxy import free_port
from .proxy import interrupted
from .proxy import proxied
from .proxy import Proxy
from .proxy import wait_for_server
from .tokens import bearer
from .tokens import claims_of
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair
from .tokens import UNAVAILABLE

pytestmark = pytest.mark.infrastructure

TIMEOUT = 1.0
# The extra time that a busy machine may take. Servers that stall do so for longer.
SLACK = 10.0
# The timeout of operations that must succeed even on a busy machine.
PATIENCE = 60.0
# psycopg and psycopg2 wait at least this long for a connection.
LIBPQ_TIMEOUT = 2.0
DRIVERS = ["postgresql+psycopg", "postgresql+psycopg2", "mysql+pymysql"]
CUTS = ["requests", "replies"]
CHECKOUT = Path(__file__).parent.parent

# psycopg2 ignores signals while it waits.
with_signals = pytest.mark.parametrize(
    "served", ["postgresql+psycopg", "mysql+pymysql"], indirect=True
)
# PyMySQL limits each single read, but not the total time.
with_a_total = pytest.mark.parametrize(
    "served", ["postgresql+psycopg", "postgresql+psycopg2"], indirect=True
)
with_psycopg = pytest.mark.parametrize("served", ["postgresql+psycopg"], indirect=True)

# Python 3.12 warns about fork() if another thread is running, such as that of a proxy.
may_fork = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

Served = tuple[sa.URL, Proxy]
Reached = tuple[Flask, Proxy]


def config_for(
    url: sa.URL, *, timeout: float = PATIENCE, **options: t.Any
) -> dict[str, t.Any]:
    """Return the config of an app for a server, with options of its engine."""
    return {
        "SQLALCHEMY_DATABASE_URI": url.render_as_string(hide_password=False),
        "SQLALCHEMY_ENGINE_OPTIONS": options,
        "LOGOUT_TIMEOUT": timeout,
        "LOGOUT_PURGE_EVERY": 0,
    }


@pytest.fixture(scope="module", params=DRIVERS)
def served(request: pytest.FixtureRequest) -> t.Iterator[Served]:
    """A new database, and a proxy in front of its server."""
    with proxied(request.param) as served:
        yield served


@pytest.fixture
def reached(served: Served, make_app: MakeApp) -> t.Iterator[Reached]:
    """An app that connects to its server through a proxy."""
    url, proxy = served
    app = make_app(**config_for(url))
    yield app, proxy
    proxy.heal()
    dispose(app)


@pytest.fixture
def hasty(reached: Reached, served: Served, make_app: MakeApp) -> Flask:
    """An app with the database of ``reached`` and a short timeout."""
    return make_app(**config_for(served[0], timeout=TIMEOUT))


class Ledger:
    """Records the responses that clients got, to check them in the end."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.acknowledged: list[Pair] = []
        self.statuses: set[int] = set()
        self._noted = Condition()

    def log_out(self, client: FlaskClient, pair: Pair) -> int:
        """Log a pair out, and check that a 200 or 503 is as documented."""
        answer = log_out(client, pair)
        self._note(answer.status_code)
        if answer.status_code == 200:
            assert answer.data == LOGGED_OUT
            with self._noted:
                self.acknowledged.append(pair)
        elif answer.status_code == 503:
            assert_returned_503(answer)
        return answer.status_code

    def visit(self, client: FlaskClient, pair: Pair) -> int:
        """Call a protected route."""
        answer = client.get("/me", headers=bearer(pair.access))
        self._note(answer.status_code)
        if answer.status_code == 503:
            assert_returned_503(answer)
        return answer.status_code

    def settle(self) -> None:
        """Check that the tokens of every acknowledged logout are rejected."""
        client = self.app.test_client()
        assert self.acknowledged
        for pair in self.acknowledged:
            assert get_status(client, pair) == (401, 401)

    def wait_for(self, status: int) -> None:
        """Wait until the next response with a status."""
        with self._noted:
            self.statuses.discard(status)
            assert self._noted.wait_for(lambda: status in self.statuses, PATIENCE)

    def _note(self, status: int) -> None:
        with self._noted:
            self.statuses.add(status)
            self._noted.notify_all()


def assert_returned_503(answer: t.Any) -> None:
    """Check that a response is the documented 503."""
    assert (answer.status_code, answer.data) == (503, UNAVAILABLE)
    assert int(answer.headers["Retry-After"]) > 0


@contextmanager
def at_most(seconds: float, proxy: Proxy | None = None) -> t.Iterator[None]:
    """Check that the block takes at most some seconds.

    :param seconds: the limit, for an idle machine.
    :param proxy: a proxy through which at most one connection may be opened, because
        each retry would wait for the timeout again.
    """
    start, connections = time.monotonic(), proxy.connections if proxy else 0
    yield
    assert time.monotonic() - start <= seconds + SLACK
    assert proxy is None or proxy.connections - connections <= 1


# Connections that are cut


@pytest.mark.parametrize("what", CUTS)
def test_a_check_is_retried_if_its_connection_is_cut_once(
    reached: Reached, what: str
) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), app.test_client()
    valid, revoked = make_pair(app), make_pair(app)
    assert ledger.log_out(client, revoked) == 200
    for pair, status in [(revoked, 401), (valid, 200)]:
        getattr(proxy, f"cut_{what}")()
        assert ledger.visit(client, pair) == status
    ledger.settle()


@pytest.mark.parametrize("what", CUTS)
def test_a_check_returns_503_if_its_connection_is_always_cut(
    reached: Reached, what: str
) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), app.test_client()
    valid, revoked = make_pair(app), make_pair(app)
    assert ledger.log_out(client, revoked) == 200
    getattr(proxy, f"cut_{what}")(math.inf)
    for pair in (revoked, valid):
        assert ledger.visit(client, pair) == 503
    proxy.heal()
    assert get_status(client, valid) == (200, 200)
    ledger.settle()


@pytest.mark.parametrize("what", CUTS)
def test_a_logout_is_retried_if_its_connection_is_cut_once(
    reached: Reached, what: str
) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), app.test_client()
    pair = make_pair(app)
    assert get_status(client, pair) == (200, 200)
    getattr(proxy, f"cut_{what}")(1)
    assert ledger.log_out(client, pair) == 200
    ledger.settle()


@pytest.mark.parametrize("what", CUTS)
def test_a_logout_is_retried_if_its_statement_is_cut(
    reached: Reached, what: str
) -> None:
    app, proxy = reached
    logout, pair = LogoutExtension(), make_pair(app)
    assert get_status(app.test_client(), pair) == (200, 200)
    with app.app_context():
        # No check runs before this, so the write itself is cut.
        getattr(proxy, f"cut_{what}")()
        logout.revoke_token(claims_of(pair.access))
    assert get_status(app.test_client(), pair) == (401, 200)


@pytest.mark.parametrize("what", CUTS)
def test_a_logout_returns_503_if_its_connection_is_always_cut(
    reached: Reached, what: str
) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), app.test_client()
    pair = make_pair(app)
    assert get_status(client, pair) == (200, 200)
    getattr(proxy, f"cut_{what}")(math.inf)
    assert ledger.log_out(client, pair) == 503
    with app.app_context(), pytest.raises(StoreUnavailableError):
        LogoutExtension().revoke_token(claims_of(pair.access))
    proxy.heal()
    assert ledger.log_out(client, pair) in {200, 401}
    assert get_status(client, make_pair(app)) == (200, 200)


@pytest.mark.parametrize("times", [1, math.inf])
@pytest.mark.parametrize("what", CUTS)
def test_a_purge_whose_connection_is_cut_loses_nothing(
    reached: Reached, what: str, times: float
) -> None:
    app, proxy = reached
    ledger, client, logout = Ledger(app), app.test_client(), LogoutExtension()
    assert ledger.log_out(client, make_pair(app)) == 200
    with app.app_context():
        for i in range(20):
            logout.revoke_token({"jti": f"{what}{times}{i}", "exp": 1})
        getattr(proxy, f"cut_{what}")(times)
        if times == 1:
            logout.purge()
        else:
            with pytest.raises(StoreUnavailableError):
                logout.purge()
        proxy.heal()
        logout.purge()
        assert logout.purge() == 0
    ledger.settle()


@with_signals
def test_no_caller_receives_the_reply_to_an_interrupted_command(
    reached: Reached,
) -> None:
    app, proxy = reached
    ledger, client, logout = Ledger(app), app.test_client(), LogoutExtension()
    valid, revoked, ended = (make_pair(app) for _ in range(3))
    assert ledger.log_out(client, revoked) == 200
    for work in (
        lambda: ledger.visit(client, revoked),
        lambda: logout.revoke_token(claims_of(ended.access)),
        logout.purge,
    ):
        with app.app_context():
            proxy.slow(delay=0.1)
            with interrupted(after=0.1):
                work()
            proxy.heal()
            work()
        assert ledger.visit(client, valid) == 200
        assert ledger.visit(client, revoked) == 401
    ledger.settle()


@with_psycopg
def test_a_revocation_is_retried_if_psycopg_finds_a_broken_socket(
    reached: Reached,
) -> None:
    app, proxy = reached
    pair, store = make_pair(app), app.extensions["logout"].store
    assert get_status(app.test_client(), pair) == (200, 200)
    with store.engine.connect() as connection:
        number = connection.connection.dbapi_connection.fileno()
    reader, writer = os.pipe()
    os.close(reader)

    def break_socket(*_: object) -> None:
        # The pipe has no reader, so waiting for it ends with an error.
        os.dup2(writer, number)
        proxy.heal()

    proxy.stall()
    with app.app_context(), alarm(break_socket, after=0.05):
        LogoutExtension().revoke_token(claims_of(pair.access))
    os.close(writer)
    assert get_status(app.test_client(), pair) == (401, 200)


def test_no_logout_is_lost_if_a_server_comes_and_goes_under_load(
    reached: Reached,
) -> None:
    app, proxy = reached
    with load_on(app) as ledger:
        for _ in range(3):
            proxy.cut()
            ledger.wait_for(401)
            proxy.refuse()
            ledger.wait_for(503)
            proxy.heal()
            ledger.wait_for(200)
    assert ledger.statuses <= {200, 401, 503}
    ledger.settle()
    assert get_status(app.test_client(), make_pair(app)) == (200, 200)


@contextmanager
def load_on(app: Flask) -> t.Iterator[Ledger]:
    """Log in, visit a route and log out in four threads during the block."""
    ledger, is_over = Ledger(app), Event()

    def work() -> None:
        client = app.test_client()
        while not is_over.is_set():
            pair = make_pair(app)
            assert ledger.visit(client, pair) in {200, 503}
            if ledger.log_out(client, pair) == 200:
                assert ledger.visit(client, pair) in {401, 503}

    with ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(work) for _ in range(4)]
        try:
            yield ledger
        finally:
            is_over.set()
        for task in tasks:
            task.result()


# Servers that are slow or silent


def test_logouts_work_with_a_distant_server(reached: Reached) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), app.test_client()
    proxy.slow(delay=0.02)
    assert ledger.log_out(client, make_pair(app)) == 200
    ledger.settle()


def test_replies_that_arrive_byte_by_byte_are_read(reached: Reached) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), app.test_client()
    valid, revoked = make_pair(app), make_pair(app)
    assert ledger.log_out(client, revoked) == 200
    proxy.slow(trickle=0.0002)
    assert ledger.visit(client, revoked) == 401
    assert ledger.visit(client, valid) == 200
    assert ledger.log_out(client, valid) == 200
    proxy.heal()
    ledger.settle()


def test_a_silent_server_leads_to_a_503_within_the_timeout(
    reached: Reached, hasty: Flask
) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), hasty.test_client()
    valid, revoked = make_pair(app), make_pair(app)
    assert ledger.log_out(app.test_client(), revoked) == 200
    connect(hasty)
    proxy.stall()
    with at_most(TIMEOUT, proxy):
        assert ledger.visit(client, valid) == 503
    # The pool is empty now, so the server doesn't answer a new connection.
    with at_most(LIBPQ_TIMEOUT, proxy):
        assert ledger.visit(client, revoked) == 503
    proxy.heal()
    assert get_status(app.test_client(), valid) == (200, 200)
    ledger.settle()


def connect(app: Flask) -> None:
    """Retry until the pool of an app contains a connection."""
    client, pair = app.test_client(), make_pair(app)
    while client.get("/me", headers=bearer(pair.access)).status_code != 200:
        pass


def test_a_logout_returns_503_if_the_server_falls_silent_during_it(
    reached: Reached, hasty: Flask
) -> None:
    app, proxy = reached
    pair = make_pair(app)
    assert get_status(app.test_client(), pair) == (200, 200)
    connect(hasty)
    proxy.stall()
    with hasty.app_context(), at_most(TIMEOUT, proxy):
        with pytest.raises(StoreUnavailableError):
            LogoutExtension().revoke_token(claims_of(pair.access))
    proxy.heal()
    assert Ledger(app).log_out(app.test_client(), pair) in {200, 401}


@with_a_total
def test_an_endless_reply_leads_to_a_503_within_the_timeout(
    reached: Reached, hasty: Flask
) -> None:
    app, proxy = reached
    ledger = Ledger(app)
    assert ledger.log_out(app.test_client(), make_pair(app)) == 200
    connect(hasty)
    proxy.slow(trickle=0.5)
    with at_most(TIMEOUT, proxy):
        assert ledger.visit(hasty.test_client(), ledger.acknowledged[0]) == 503
    proxy.heal()
    ledger.settle()


def test_a_locked_table_leads_to_a_503_within_the_timeout(
    reached: Reached, hasty: Flask
) -> None:
    app, _ = reached
    ledger, client = Ledger(app), app.test_client()
    valid, revoked = make_pair(app), make_pair(app)
    assert ledger.log_out(client, revoked) == 200
    with locked_table(hasty):
        for pair in (valid, revoked):
            with at_most(TIMEOUT):
                assert ledger.visit(hasty.test_client(), pair) == 503
        with at_most(TIMEOUT):
            assert ledger.log_out(hasty.test_client(), valid) == 503
    assert get_status(client, valid) == (200, 200)
    assert ledger.log_out(client, valid) == 200
    ledger.settle()


@contextmanager
def locked_table(app: Flask) -> t.Iterator[None]:
    """Lock the table for all other connections."""
    url = sa.make_url(app.config["SQLALCHEMY_DATABASE_URI"])
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    table = app.extensions["logout"].settings.table_name
    is_mysql = engine.dialect.name == "mysql"
    with engine.connect() as connection:
        mode = "WRITE" if is_mysql else "IN ACCESS EXCLUSIVE MODE"
        keyword = "TABLES" if is_mysql else "TABLE"
        connection.execute(sa.text(f"LOCK {keyword} {table} {mode}"))
        yield


def set_on_database(url: sa.URL, setting: str) -> None:
    """Change a default setting of a PostgreSQL database."""
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # Without this, the simulated replica would reject the second statement.
        connection.execute(sa.text("SET default_transaction_read_only = off"))
        connection.execute(sa.text(f"ALTER DATABASE {url.database} SET {setting}"))


# Failovers and restarts


def test_a_logout_on_a_replica_returns_503_until_the_primary_is_back(
    reached: Reached, caplog: pytest.LogCaptureFixture
) -> None:
    app, proxy = reached
    switch = Switch(app, proxy)
    ledger, client = Ledger(app), app.test_client()
    valid, revoked = make_pair(app), make_pair(app)
    assert ledger.log_out(client, revoked) == 200
    switch.to_replica()
    proxy.cut()
    assert get_status(client, valid) == (200, 200)
    assert get_status(client, revoked) == (401, 401)
    assert ledger.log_out(client, valid) == 503
    (line,) = caplog.messages
    assert re.search("store_unavailable.*(read-only|READ ONLY) transaction", line)
    assert get_status(client, valid) == (200, 200)
    # The primary is back at the same address, and open connections stay open.
    switch.to_primary()
    assert ledger.log_out(client, valid) == 200
    ledger.settle()


def test_logouts_work_after_a_standby_was_promoted(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        primary = stack.enter_context(PostgreSQLServer())
        proxy = stack.enter_context(Proxy("127.0.0.1", primary.port))
        url = primary.url.set(port=proxy.port, drivername="postgresql+psycopg")
        app = make_app(**config_for(url))
        stack.callback(dispose, app)
        ledger, client = Ledger(app), app.test_client()
        valid, revoked = make_pair(app), make_pair(app)
        assert ledger.log_out(client, revoked) == 200
        standby = stack.enter_context(StandbyServer(primary))
        proxy.lead_to(standby.port)
        assert get_status(client, valid) == (200, 200)
        assert get_status(client, revoked) == (401, 401)
        assert ledger.log_out(client, valid) == 503
        assert re.search(
            "store_unavailable.*read-only transaction", caplog.messages[-1]
        )
        standby.promote()
        assert ledger.log_out(client, valid) == 200
        ledger.settle()


class Switch:
    """Makes new connections read-only or writable, to simulate a failover."""

    def __init__(self, app: Flask, proxy: Proxy) -> None:
        self._url = sa.make_url(app.config["SQLALCHEMY_DATABASE_URI"])
        self._is_replica = False
        if self._url.get_backend_name() == "mysql":
            with app.app_context():
                engine = app.extensions["sqlalchemy"].engine
            sa.event.listen(engine, "connect", self._on_connect)

    def to_replica(self) -> None:
        """Make new connections read-only."""
        self._set("on")

    def to_primary(self) -> None:
        """Make new connections writable."""
        self._set("off")

    def _set(self, state: str) -> None:
        self._is_replica = state == "on"
        if self._url.get_backend_name() == "postgresql":
            set_on_database(self._url, f"default_transaction_read_only = {state}")

    def _on_connect(self, connection: t.Any, _: object) -> None:
        # A global setting would affect other users of the server.
        if self._is_replica:
            connection.query("SET SESSION TRANSACTION READ ONLY")


@pytest.fixture(scope="module", params=[PostgreSQLServer, MariaDBServer])
def server_of_ours(
    request: pytest.FixtureRequest,
) -> t.Iterator[PostgreSQLServer | MariaDBServer]:
    """A server that tests can stop."""
    with request.param() as server:
        yield server


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_no_logout_is_lost_if_a_server_restarts_under_load(
    server_of_ours: PostgreSQLServer | MariaDBServer, make_app: MakeApp, mode: str
) -> None:
    for driver in server_of_ours.drivers:
        app = make_app(**config_for(server_of_ours.url.set(drivername=driver)))
        with load_on(app) as ledger:
            ledger.wait_for(401)
            server_of_ours.stop(mode)
            ledger.wait_for(503)
            server_of_ours.start()
            ledger.wait_for(200)
        assert ledger.statuses <= {200, 401, 503}
        ledger.settle()
        assert get_status(app.test_client(), make_pair(app)) == (200, 200)
        dispose(app)


# Pools


@contextmanager
def used_up_pool(app: Flask) -> t.Iterator[None]:
    """Hold the only connection in the app's pool."""
    db: SQLAlchemy = app.extensions["sqlalchemy"]
    with app.app_context(), db.engine.connect():
        with pytest.raises(sa.exc.TimeoutError):
            db.engine.connect()
        yield


def test_checks_work_if_the_app_has_exhausted_its_pool(
    served: Served, make_app: MakeApp
) -> None:
    options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1}
    app = make_app(**config_for(served[0], **options))
    ledger, client = Ledger(app), app.test_client()
    with used_up_pool(app):
        pair = make_pair(app)
        assert get_status(client, pair) == (200, 200)
        assert ledger.log_out(client, pair) == 200
        ledger.settle()
    dispose(app)


def test_checks_return_503_while_the_pool_is_exhausted(
    served: Served, make_app: MakeApp
) -> None:
    config = config_for(served[0], timeout=TIMEOUT, pool_size=1, max_overflow=0)
    app = make_app(**config)
    store, pair = app.extensions["logout"].store, make_pair(app)
    connect(app)
    with ThreadPoolExecutor(8) as pool:

        def visit_all() -> set[int]:
            ledger = Ledger(app)
            visits = [
                pool.submit(ledger.visit, app.test_client(), pair) for _ in "12345678"
            ]
            return {visit.result() for visit in visits}

        with store.engine.connect(), at_most(TIMEOUT):
            assert visit_all() == {503}
        assert visit_all() <= {200, 503}
    connect(app)
    dispose(app)


# SQLite


@pytest.fixture
def on_sqlite(make_app: MakeApp, tmp_path: Path) -> Flask:
    """An app with a SQLite file."""
    return make_app(**config_for(sqlite_url(tmp_path)))


def sqlite_url(folder: Path) -> sa.URL:
    """Return the URL of a SQLite file in a folder."""
    return sa.make_url(f"sqlite:///{folder / 'file.db'}")


def test_a_locked_file_leads_to_a_503_within_the_timeout(
    on_sqlite: Flask, make_app: MakeApp, tmp_path: Path
) -> None:
    ledger, client = Ledger(on_sqlite), on_sqlite.test_client()
    hasty = make_app(**config_for(sqlite_url(tmp_path), timeout=TIMEOUT)).test_client()
    valid, revoked = make_pair(on_sqlite), make_pair(on_sqlite)
    assert ledger.log_out(client, revoked) == 200
    with closing(sqlite3.connect(tmp_path / "file.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        for pair in (valid, revoked):
            with at_most(TIMEOUT):
                assert ledger.visit(hasty, pair) == 503
        with at_most(TIMEOUT):
            assert ledger.log_out(hasty, valid) == 503
    assert get_status(client, valid) == (200, 200)
    assert ledger.log_out(client, valid) == 200
    ledger.settle()


def test_a_read_only_file_leads_to_a_503_for_logouts(
    on_sqlite: Flask, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(on_sqlite)
    assert ledger.log_out(on_sqlite.test_client(), make_pair(on_sqlite)) == 200
    path = sa.make_url(on_sqlite.config["SQLALCHEMY_DATABASE_URI"]).database
    url = sa.make_url(f"sqlite:///file:{path}?mode=ro&uri=true")
    app = make_app(**config_for(url))
    valid, client = make_pair(app), app.test_client()
    assert Ledger(app).log_out(client, valid) == 503
    assert "attempt to write a readonly database" in caplog.text
    assert get_status(client, valid) == (200, 200)
    ledger.app = app
    ledger.settle()


def fill_up(app: Flask, ledger: Ledger) -> Pair:
    """Log pairs out until one logout fails, and return that pair."""
    client = app.test_client()
    for _ in range(1000):
        pair = make_pair(app)
        if ledger.log_out(client, pair) == 503:
            return pair
    pytest.fail("the disk is larger than the test")


def test_no_logout_is_acknowledged_if_the_database_is_full(
    on_sqlite: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(on_sqlite)
    with on_sqlite.app_context():
        engine = on_sqlite.extensions["sqlalchemy"].engine
    pages = 12

    @sa.event.listens_for(engine, "connect")
    def limit(connection: t.Any, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    rejected = fill_up(on_sqlite, ledger)
    assert "database or disk is full" in caplog.text
    client = on_sqlite.test_client()
    assert get_status(client, rejected) == (200, 200)
    ledger.settle()
    # Raise the limit.
    pages = 1000
    dispose(on_sqlite)
    assert ledger.log_out(client, rejected) == 200
    ledger.settle()


@may_fork
def test_no_logout_is_acknowledged_if_the_disk_is_full(on_sqlite: Flask) -> None:
    ledger = Ledger(on_sqlite)

    def fill(limit: int) -> None:
        # SQLite gets the same error if a file reaches this limit as if the disk is full.
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        rejected = fill_up(on_sqlite, ledger)
        assert get_status(on_sqlite.test_client(), rejected) == (200, 200)
        ledger.settle()

    assert in_processes(fill, [60_000]) == [0]
    with on_sqlite.app_context():
        assert LogoutExtension().purge() == 0
    client, pair = on_sqlite.test_client(), make_pair(on_sqlite)
    assert ledger.log_out(client, pair) == 200
    ledger.settle()


T = t.TypeVar("T")


def in_processes(work: t.Callable[[T], object], shares: t.Iterable[T]) -> list[int]:
    """Do each share of the work in a forked process, and return the exit codes."""
    children = []
    for share in shares:
        child = os.fork()
        if child == 0:  # pragma: no cover
            code = 1
            try:
                work(share)
                code = 0
            except BaseException:  # noqa: B036  the exit code reports it
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(x, 0)[1]) for x in children]


@may_fork
def test_no_logout_is_lost_if_eight_processes_write(make_app: MakeApp) -> None:
    app = make_app()
    shares = [[make_pair(app) for _ in range(15)] for _ in range(8)]

    def work(share: list[Pair]) -> None:
        ledger, client = Ledger(app), app.test_client()
        for pair in share:
            # SQLite's locks are not fair, so a writer may wait until LOGOUT_TIMEOUT.
            while (status := ledger.log_out(client, pair)) != 200:
                assert status == 503
        assert len(ledger.acknowledged) == len(share)

    assert in_processes(work, shares) == [0] * 8
    ledger = Ledger(app)
    ledger.acknowledged = [pair for share in shares for pair in share]
    ledger.settle()


@may_fork
def test_logouts_work_during_a_purge_that_takes_longer_than_the_timeout(
    make_app: MakeApp,
) -> None:
    # SQLite's locks are not fair. A purge without pauses would block every logout.
    app = make_app(LOGOUT_TIMEOUT=1.0, LOGOUT_PURGE_EVERY=0)
    logout, now = app.extensions["logout"], datetime.now(timezone.utc)
    past = now - timedelta(days=1)
    with app.app_context():
        for _ in range(240):
            keys = [os.urandom(16) for _ in range(500)]
            logout.store.add([Revocation(key, "token", past) for key in keys])

    def purge() -> None:
        with app.app_context():
            assert sum(logout.purge()) == 240 * 500

    def visit() -> None:
        ledger, client = Ledger(app), app.test_client()
        with app.app_context():
            while logout.store.inspect().count_expired(now):
                assert ledger.log_out(client, make_pair(app)) in {200, 503}
        assert len(ledger.acknowledged) > 1
        ledger.settle()

    assert in_processes(lambda work: work(), [purge, visit]) == [0, 0]


# Killed workers

WSGI = f"""
import os
from flask import Flask
from flask_logout import LogoutExtension
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event

app = Flask(__name__)
app.config["JWT_SECRET_KEY"] = {SECRET!r}
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
app.config["LOGOUT_TIMEOUT"] = {PATIENCE}
db = SQLAlchemy(app)
LogoutExtension(app)

with app.app_context():
    @event.listens_for(db.engine, "connect")
    def hurry(connection, _):
        # What is written outlives a process that is killed, if not a power cut.
        if db.engine.dialect.name == "sqlite":
            connection.execute("PRAGMA synchronous = OFF")

@app.after_request
def name_worker(response):
    response.headers["X-Worker"] = str(os.getpid())
    return response
"""


@contextmanager
def gunicorn(folder: Path, url: str) -> t.Iterator[int]:
    """Serve an app with two workers, and return the port."""
    (folder / "wsgi.py").write_text(WSGI)
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "wsgi:app"]
    command += ["--bind", f"127.0.0.1:{port}", "--preload"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(CHECKOUT)},
            stdout=log,
            stderr=log,
        )
    try:
        wait_for_server(port, process, folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def post_logout(port: int, pair: Pair) -> tuple[int, int]:
    """Log a pair out over HTTP, and return the status and the worker's process id."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {**bearer(pair.access), "Content-Type": "application/json"}
    body = json.dumps({"refresh_token": pair.refresh})
    with closing(connection):
        connection.request("POST", "/auth/logout", body, headers)
        with connection.getresponse() as response:
            response.read()
            return response.status, int(response.headers["X-Worker"])


@pytest.mark.parametrize("driver", ["sqlite", "postgresql+psycopg", "mysql+pymysql"])
def test_no_logout_is_lost_if_workers_are_killed(
    driver: str, make_app: MakeApp, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        config = {}
        if driver != "sqlite":
            config = config_for(stack.enter_context(new_database(driver)))
        app = make_app(**config)
        stack.callback(dispose, app)
        kill_workers(app, tmp_path)


def kill_workers(app: Flask, folder: Path) -> None:
    """Kill workers while they serve a thousand logouts, and check those logouts."""
    ledger, unknown = Ledger(app), []

    def send(port: int, number: int, pair: Pair) -> None:
        try:
            status, worker = post_logout(port, pair)
        except (OSError, HTTPException):
            unknown.append(pair)
            return
        assert status == 200
        ledger.acknowledged.append(pair)
        if number % 50 == 0:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)

    pairs = [make_pair(app) for _ in range(1000)]
    with gunicorn(folder, app.config["SQLALCHEMY_DATABASE_URI"]) as port:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(partial(send, port), range(1000), pairs))
    assert len(ledger.acknowledged) + len(unknown) == 1000
    assert len(ledger.acknowledged) > 500
    ledger.settle()
