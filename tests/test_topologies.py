"""What ``flask logout check`` reports about replicas, and which servers checks read."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from flask_logout.stores.sqlalchemy.topology import list_risks

from .commands import find_problems
from .conftest import MakeApp
from .database_servers import GaleraServer
from .database_servers import MariaDBServer
from .database_servers import PostgreSQLServer
from .database_servers import ReplicaServer
from .database_servers import StandbyServer
from .session_apps import log_in
from .session_apps import make_session_app
from .session_apps import pair_of
from .session_apps import renew
from .session_apps import sids_of
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair

pytestmark = pytest.mark.infrastructure

READ_ONLY = (
    "it can't store a logout, and it accepts revoked tokens while it lags behind the"
    " primary. Connect to the primary."
)
SET_STANDBY_NAMES = (
    "so logouts don't wait for replication, and a failover can lose them. Set"
    " synchronous_standby_names, and set synchronous_commit to on."
)
SET_SEMI_SYNC = (
    "so logouts don't wait for replication, and a failover can lose them. Set"
    " rpl_semi_sync_master_enabled to ON, and rpl_semi_sync_slave_enabled on the"
    " replicas."
)


def risks_of(url: sa.URL, *settings: str) -> list[str]:
    """List the risks of a server, on a connection with these settings."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        for setting in settings:
            connection.exec_driver_sql(setting)
        return list_risks(connection)


@pytest.fixture(scope="module")
def primary() -> t.Iterator[PostgreSQLServer]:
    """A PostgreSQL server that standbys can follow."""
    with PostgreSQLServer("wal_level=logical") as server:
        yield server


@pytest.fixture(params=["postgresql+psycopg", "postgresql+psycopg2"])
def primary_url(request: pytest.FixtureRequest, primary: PostgreSQLServer) -> sa.URL:
    """The URL of the server, with each driver."""
    return primary.url.set(drivername=request.param)


def test_a_postgresql_standby_is_reported(
    make_app: MakeApp, primary: PostgreSQLServer
) -> None:
    url = primary.url.set(drivername="postgresql+psycopg")
    make_app(SQLALCHEMY_DATABASE_URI=url.render_as_string(hide_password=False))
    with StandbyServer(primary) as standby:
        app = make_app(
            SQLALCHEMY_DATABASE_URI=url.set(port=standby.port).render_as_string(
                hide_password=False
            )
        )
        words = f"The PostgreSQL server is a standby, so {READ_ONLY}"
        assert find_problems(app) == {"store": words}
        assert log_out(app.test_client(), make_pair(app)).status_code == 503
        standby.promote()
        assert find_problems(app) == {}
        assert log_out(app.test_client(), make_pair(app)).data == LOGGED_OUT


def test_a_read_only_postgresql_server_is_reported(primary_url: sa.URL) -> None:
    setting = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
    words = f"The PostgreSQL server is read-only, so {READ_ONLY}"
    assert risks_of(primary_url, setting, "COMMIT") == [words]


def test_commits_that_do_not_wait_for_the_disk_are_reported(
    primary_url: sa.URL,
) -> None:
    assert risks_of(primary_url, "SET synchronous_commit = local") == []
    assert risks_of(primary_url, "SET synchronous_commit = off") == [
        "synchronous_commit is off, so a crash of PostgreSQL loses acknowledged logouts."
        " Set it to on for this role."
    ]


def test_a_standby_that_no_commit_waits_for_is_reported(
    primary: PostgreSQLServer, primary_url: sa.URL
) -> None:
    with StandbyServer(primary):
        empty = "synchronous_standby_names is empty"
        found = f"1 standby is attached to PostgreSQL, but {empty}, {SET_STANDBY_NAMES}"
        assert risks_of(primary_url) == [found]
        assert risks_of(primary_url, "SET ROLE pg_read_all_stats") == [found]
        hidden = (
            " This role can't see whether these are standbys or backups. Grant it"
            " pg_read_all_stats to distinguish them."
        )
        assert risks_of(primary_url, "SET ROLE pg_signal_backend") == [found + hidden]
        with synchronous(primary):
            assert risks_of(primary_url) == []
            local = "synchronous_commit is local"
            assert risks_of(primary_url, "SET synchronous_commit = local") == [
                f"1 standby is attached to PostgreSQL, but {local}, {SET_STANDBY_NAMES}"
            ]


class synchronous:
    """A context in which commits on a primary wait for a standby."""

    def __init__(self, primary: PostgreSQLServer) -> None:
        self._primary = primary

    def __enter__(self) -> None:
        self._set("*")

    def __exit__(self, *_: object) -> None:
        self._set("")

    def _set(self, names: str) -> None:
        engine = sa.create_engine(self._primary.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(
                f"ALTER SYSTEM SET synchronous_standby_names = '{names}'"
            )
            connection.exec_driver_sql("SELECT pg_reload_conf()")
            query = "SHOW synchronous_standby_names"
            while connection.exec_driver_sql(query).scalar() != names:
                pass
        engine.dispose()


def test_a_read_only_mariadb_server_is_reported(make_app: MakeApp) -> None:
    with MariaDBServer() as server:
        url = server.url.render_as_string(hide_password=False)
        app = make_app(SQLALCHEMY_DATABASE_URI=url)
        server.run(
            "SET GLOBAL read_only = ON",
            "CREATE USER app@127.0.0.1",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON test.* TO app@127.0.0.1",
        )
        app = make_app(
            SQLALCHEMY_DATABASE_URI=server.url.set(username="app").render_as_string()
        )
        words = f"The server is read-only (read_only is on), so {READ_ONLY}"
        assert find_problems(app) == {"store": words}
        assert log_out(app.test_client(), make_pair(app)).status_code == 503
        server.run("SET GLOBAL read_only = OFF")
        assert find_problems(app) == {}
        server.run("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        assert find_problems(app) == {
            "store": "innodb_flush_log_at_trx_commit is 2, so a crash of the server loses"
            " acknowledged logouts. Set it to 1."
        }


def test_a_replica_that_no_commit_waits_for_is_reported() -> None:
    with MariaDBServer("log-bin", "server-id=1") as primary:
        with ReplicaServer(primary) as replica:
            wait_for_status(primary, "Slaves_connected", "1")
            found = (
                "1 replica is attached to the server, but semi-synchronous replication"
                f" is off, {SET_SEMI_SYNC}"
            )
            assert risks_of(primary.url) == [found]
            replica.run(
                "STOP SLAVE",
                "SET GLOBAL rpl_semi_sync_slave_enabled = ON",
                "START SLAVE",
            )
            primary.run("SET GLOBAL rpl_semi_sync_master_enabled = ON")
            wait_for_status(primary, "Rpl_semi_sync_master_clients", "1")
            assert risks_of(primary.url) == []


def wait_for_status(server: MariaDBServer, name: str, value: str) -> None:
    """Wait until a status variable of a server has this value."""
    while server.run(f"SHOW STATUS LIKE '{name}'") != [(name, value)]:
        pass


@pytest.fixture(scope="module")
def nodes() -> t.Iterator[tuple[GaleraServer, GaleraServer]]:
    """Two nodes of a Galera cluster."""
    with GaleraServer() as first, GaleraServer(first) as second:
        yield first, second


def test_galera_reads_that_do_not_wait_are_reported(
    nodes: tuple[GaleraServer, GaleraServer],
) -> None:
    words = (
        "wsrep_sync_wait is {}, so a check can read from a Galera node that has not"
        " applied a logout yet and accept a revoked token. Set it to 1, and make sure"
        " that no proxy resets it."
    )
    url, setting = nodes[0].url, "SET SESSION wsrep_sync_wait = {}"
    for value in (0, 2, 4):
        assert risks_of(url, setting.format(value)) == [words.format(value)]
    for value in (1, 7):
        assert risks_of(url, setting.format(value)) == []


def test_a_check_on_a_galera_node_finds_the_logout_on_another_node(
    make_app: MakeApp, nodes: tuple[GaleraServer, GaleraServer]
) -> None:
    apps = [
        make_app(SQLALCHEMY_DATABASE_URI=node.url.render_as_string()) for node in nodes
    ]
    for app in apps:
        assert find_problems(app) == {}
    pair = make_pair(apps[0])
    assert get_status(apps[1].test_client(), pair) == (200, 200)
    engine = sa.create_engine(nodes[1].url)
    with engine.connect() as connection:
        # The node applies no writes of the other one while this lock is held.
        connection.exec_driver_sql("FLUSH TABLES WITH READ LOCK")
        assert log_out(apps[0].test_client(), pair).data == LOGGED_OUT
        assert get_status(apps[1].test_client(), pair) == (503, 503)
        connection.exec_driver_sql("UNLOCK TABLES")
    engine.dispose()
    assert get_status(apps[1].test_client(), pair) == (401, 401)


def test_one_refresh_wins_on_two_galera_nodes(
    make_app: MakeApp, nodes: tuple[GaleraServer, GaleraServer]
) -> None:
    apps = [
        make_session_app(
            make_app,
            SQLALCHEMY_DATABASE_URI=node.url.render_as_string(),
            LOGOUT_ROTATION_GRACE=0,
            LOGOUT_TIMEOUT=60,
        )
        for node in nodes
    ]
    for _ in range(5):
        pair, barrier = log_in(apps[0].test_client()), Barrier(2 * len(apps))

        def refresh(
            app: Flask, pair: Pair = pair, barrier: Barrier = barrier
        ) -> TestResponse:
            barrier.wait()
            return renew(app.test_client(), pair)

        with ThreadPoolExecutor(2 * len(apps)) as pool:
            answers = list(pool.map(refresh, 2 * apps))
        assert sorted(x.status_code for x in answers) == [200, 401, 401, 401]
        [new] = [pair_of(x) for x in answers if x.status_code == 200]
        for app in apps:
            assert get_status(app.test_client(), new) == (401, 401)
            assert sids_of(app) == []
