"""No logout is lost during failovers and restarts of servers."""

from __future__ import annotations

import re
import typing as t
from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from flask import Flask

from .conftest import dispose
from .conftest import MakeApp
from .database_servers import MariaDBServer
from .database_servers import PostgreSQLServer
from .database_servers import StandbyServer
from .ledger import Ledger
from .ledger import load_on
from .proxied_apps import config_for
from .proxied_apps import Reached
from .proxy import Proxy
from .tokens import get_status
from .tokens import make_pair

pytestmark = pytest.mark.infrastructure


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


def set_on_database(url: sa.URL, setting: str) -> None:
    """Change a default setting of a PostgreSQL database."""
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # Without this, the simulated replica would reject the second statement.
        connection.execute(sa.text("SET default_transaction_read_only = off"))
        connection.execute(sa.text(f"ALTER DATABASE {url.database} SET {setting}"))


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
