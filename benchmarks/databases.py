"""Databases of a benchmark's own on the servers at hand, dropped in the end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import typing as t
from contextlib import contextmanager
from uuid import uuid4

import sqlalchemy as sa

SERVERS = {
    "PostgreSQL": os.environ.get(
        "TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"
    ),
    "MariaDB": os.environ.get(
        "TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test"
    ),
}
"""The database servers: the standard local ports, or what the environment names."""

DATABASES = ("SQLite", *SERVERS)
"""The databases that can be measured; "SQLite WAL" and "Redis" can be lent, too."""


@contextmanager
def new_database(name: str) -> t.Iterator[str | None]:
    """Lend an empty database by its URL, or ``None`` where no such server answers."""
    make = {"SQLite": _new_sqlite, "SQLite WAL": _new_wal, "Redis": _new_redis}.get(
        name
    )
    with make() if make else _new_on_server(name) as url:
        if url is None:
            print(f"{name} is left out: no server of it at hand", file=sys.stderr)
        yield url


def run(url: str, *statements: str) -> None:
    """Run statements, each committed at once.

    :param url: the database.
    :param *statements: plain SQL.
    """
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def port_of(url: str) -> int:
    """Find the port that a URL leads to.

    :param url: of a database server, or of Redis.
    :returns: the port.
    """
    made = sa.make_url(url)
    defaults = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "redis": 6379}
    return made.port or defaults[made.get_backend_name()]


def with_port(url: str, port: int) -> str:
    """Lead a URL to another port of the same host.

    :param url: of a database server, or of Redis.
    :param port: the port.
    :returns: the URL.
    """
    return sa.make_url(url).set(port=port).render_as_string(hide_password=False)


def free_port() -> int:
    """Find a port on loopback that nobody listens on.

    :returns: the port.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        return t.cast(int, server.getsockname()[1])


def wait_for_port(port: int, is_alive: t.Callable[[], bool]) -> None:
    """Wait until somebody listens on loopback, ten seconds at most.

    :param port: the port.
    :param is_alive: tells whether who is to listen is still there.
    :raises RuntimeError: nobody listens.
    """
    deadline = time.monotonic() + 10
    while is_alive() and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nobody listens on port {port}")


@contextmanager
def ended(process: subprocess.Popen[t.Any]) -> t.Iterator[None]:
    """End a process of ours in the end."""
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _new_sqlite() -> t.Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/benchmark.db"


@contextmanager
def _new_wal() -> t.Iterator[str]:
    with _new_sqlite() as url:
        # The file remembers it.
        run(url, "PRAGMA journal_mode = WAL")
        yield url


@contextmanager
def _new_on_server(server: str) -> t.Iterator[str | None]:
    url = sa.make_url(SERVERS[server])
    own = url.set(database=f"flask_logout_{uuid4().hex[:12]}")
    server_url = url.render_as_string(hide_password=False)
    try:
        run(server_url, f"CREATE DATABASE {own.database}")
    except sa.exc.OperationalError:
        yield None
        return
    try:
        yield own.render_as_string(hide_password=False)
    finally:
        force = " WITH (FORCE)" if server == "PostgreSQL" else ""
        run(server_url, f"DROP DATABASE {own.database}{force}")


@contextmanager
def _new_redis() -> t.Iterator[str | None]:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        process = subprocess.Popen(
            [program, *options, "--save", "", "--loglevel", "warning"],
            stdout=subprocess.DEVNULL,
        )
        with ended(process):
            wait_for_port(port, lambda: process.poll() is None)
            yield f"redis://127.0.0.1:{port}/0"
