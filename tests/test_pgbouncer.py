"""PostgreSQL behind a real PgBouncer in transaction mode."""

from __future__ import annotations

import os
import subprocess
import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_logout import LogoutExtension

from .conftest import dispose
from .conftest import MakeApp
from .conftest import new_database
from .programs import find_program
from .proxy import free_port
from .proxy import wait_for_server
from .session_apps import age
from .session_apps import generation
from .session_apps import log_in
from .session_apps import make_session_app
from .session_apps import renew
from .session_apps import renewed
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

pytestmark = pytest.mark.infrastructure

THREADS, ROUNDS = 8, 4
POOL_SIZE = 2
# The settings that PgBouncer itself synchronizes.
TRACKED = {
    "application_name",
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "standard_conforming_strings",
    "TimeZone",
}
DRIVERS = ["postgresql+psycopg", "postgresql+psycopg2"]


@contextmanager
def pgbouncer(server: sa.URL, log: Path) -> t.Iterator[sa.URL]:
    """Start PgBouncer in front of a server, and return the URL of the same database."""
    binary = find_program("pgbouncer", "pgbouncer")
    port = free_port()
    ini = log.with_suffix(".ini")
    ini.write_text(write_ini(server, port))
    with log.open("w") as output:
        process = subprocess.Popen([binary, ini], stdout=output, stderr=output)
    try:
        wait_for_server(port, process, log)
        yield server.set(host="127.0.0.1", port=port, password=None)
    finally:
        process.terminate()
        process.wait(10)


def write_ini(server: sa.URL, port: int) -> str:
    """Return a configuration of PgBouncer in transaction mode."""
    target = f"host={server.host} port={server.port or 5432} user={server.username}"
    if server.password:
        target += f" password={server.password}"
    lines = [
        "[databases]",
        f"* = {target}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = any",
        "pool_mode = transaction",
        f"default_pool_size = {POOL_SIZE}",
    ]
    if os.geteuid() == 0:  # PgBouncer doesn't run as root.
        lines.append("user = postgres")
    return "\n".join(lines)


@pytest.fixture(scope="module", params=DRIVERS)
def pooled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[sa.URL]:
    """The URL of a database behind PgBouncer."""
    log = tmp_path_factory.mktemp("pgbouncer") / "pgbouncer.log"
    with new_database(request.param) as server, pgbouncer(server, log) as url:
        yield url


@pytest.fixture
def host(pooled: sa.URL, make_app: MakeApp) -> t.Iterator[Flask]:
    """An app with the options that SQLAlchemy's documentation recommends."""
    options: dict[str, t.Any] = {"poolclass": sa.NullPool}
    if pooled.drivername == "postgresql+psycopg":
        options["connect_args"] = {"prepare_threshold": None}
    app = make_app(
        SQLALCHEMY_DATABASE_URI=pooled.render_as_string(hide_password=False),
        SQLALCHEMY_ENGINE_OPTIONS=options,
        LOGOUT_PURGE_EVERY=5,
    )
    yield app
    dispose(app)


def test_logouts_checks_and_purges_work_in_many_threads(host: Flask) -> None:
    logout, barrier = LogoutExtension(), Barrier(THREADS)

    def work(number: int) -> None:
        client = host.test_client()
        barrier.wait()
        for i in range(ROUNDS):
            pair = make_pair(host)
            assert get_status(client, pair) == (200, 200)
            assert log_out(client, pair).data == LOGGED_OUT
            with host.app_context():
                logout.revoke_token({"jti": f"{number}.{i}", "exp": 1})
                logout.purge()
            assert get_status(client, pair) == (401, 401)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    with host.app_context():
        assert logout.purge() == 0


def test_connections_are_returned_without_session_settings(
    host: Flask, pooled: sa.URL
) -> None:
    client = host.test_client()
    for _ in range(ROUNDS):
        pair = make_pair(host)
        assert log_out(client, pair).data == LOGGED_OUT
        assert get_status(client, pair) == (401, 401)
    engine = sa.create_engine(pooled, poolclass=sa.NullPool)
    # Two transactions at the same time use both of the connections to the server.
    with engine.connect() as one, engine.connect() as other:
        pids = {read_one(x, "SELECT pg_backend_pid()") for x in (one, other)}
        assert len(pids) == POOL_SIZE
        for connection in (one, other):
            names = connection.scalars(
                sa.text("SELECT name FROM pg_settings WHERE source = 'session'")
            )
            assert set(names) <= TRACKED
            assert (
                read_one(connection, "SELECT count(*) FROM pg_prepared_statements") == 0
            )
            assert (
                read_one(
                    connection,
                    "SELECT count(*) FROM pg_locks l WHERE"
                    " locktype = 'advisory' AND pid = pg_backend_pid()",
                )
                == 0
            )


def test_sessions_are_rotated_in_many_threads(host: Flask, make_app: MakeApp) -> None:
    kept = ("SQLALCHEMY_DATABASE_URI", "SQLALCHEMY_ENGINE_OPTIONS")
    app = make_session_app(make_app, **{x: host.config[x] for x in kept})
    pair, barrier = log_in(app.test_client()), Barrier(THREADS)

    def refresh(_: int) -> int:
        barrier.wait()
        return generation(renewed(app.test_client(), pair))

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(refresh, range(THREADS))) == [1] * THREADS
    second = renewed(app.test_client(), pair)
    age(app, second, 31)
    assert renew(app.test_client(), pair).status_code == 401
    assert get_status(app.test_client(), second) == (401, 401)
    dispose(app)


def read_one(connection: sa.Connection, query: str) -> t.Any:
    """Read the only value of a query."""
    return connection.scalar(sa.text(query))
