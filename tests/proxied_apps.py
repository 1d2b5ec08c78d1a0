"""Apps that connect to their databases through a proxy, and their timeouts."""

from __future__ import annotations

import time
import typing as t
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from .conftest import dispose
from .conftest import MakeApp
from .proxy import proxied
from .proxy import Proxy
from .tokens import bearer
from .tokens import make_pair

TIMEOUT = 1.0
# The extra time that a busy machine may take. Servers that stall do so for longer.
SLACK = 10.0
# The timeout of operations that must succeed even on a busy machine.
PATIENCE = 60.0
# psycopg and psycopg2 wait at least this long for a connection.
LIBPQ_TIMEOUT = 2.0
DRIVERS = ["postgresql+psycopg", "postgresql+psycopg2", "mysql+pymysql"]

STORES = [*DRIVERS, "redis"] if find_spec("flask_logout.stores.redis") else DRIVERS
# psycopg prepares a statement at its sixth execution, which takes another round trip.
WARM = 8

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


def unpurged(url: sa.URL, **options: t.Any) -> dict[str, t.Any]:
    """Return the config of an app that never purges by itself."""
    uri = url.render_as_string(hide_password=False)
    is_redis = url.drivername == "redis"
    return {
        "LOGOUT_STORE_URI" if is_redis else "SQLALCHEMY_DATABASE_URI": uri,
        "LOGOUT_PURGE_EVERY": 0,
        "SQLALCHEMY_ENGINE_OPTIONS": {} if is_redis else options,
    }


def sqlite_url(folder: Path) -> sa.URL:
    """Return the URL of a SQLite file in a folder."""
    return sa.make_url(f"sqlite:///{folder / 'file.db'}")


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


def connect(app: Flask) -> None:
    """Retry until the pool of an app contains a connection."""
    client, pair = app.test_client(), make_pair(app)
    while client.get("/me", headers=bearer(pair.access)).status_code != 200:
        pass


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
