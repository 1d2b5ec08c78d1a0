"""The round trips of checks and logouts, counted by a proxy in front of the server."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from datetime import timezone
from threading import Barrier

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_jwt_extended import get_jwt
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy

from flask_logout.domain.revocation_keys import make_key

from .conftest import add_routes
from .conftest import dispose
from .conftest import MakeApp
from .conftest import SECRET
from .proxied_apps import STORES
from .proxied_apps import unpurged
from .proxied_apps import WARM
from .proxy import proxied
from .proxy import Proxy
from .tokens import bearer
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

THREADS = 6
KEYS = [make_key("session", None, str(i)) for i in range(4)]

Served = tuple[sa.URL, Proxy]
Counted = tuple[Flask, Proxy]


@pytest.fixture(scope="module", params=STORES)
def served(request: pytest.FixtureRequest) -> t.Iterator[Served]:
    """A store behind a proxy."""
    with proxied(request.param) as served:
        yield served


@pytest.fixture
def counted(served: Served, make_app: MakeApp) -> t.Iterator[Counted]:
    """An app, and the proxy between the app and its store."""
    url, proxy = served
    app = make_app(**unpurged(url, pool_size=THREADS))
    yield app, proxy
    dispose(app)


@pytest.fixture
def counted_sql(counted: Counted) -> Counted:
    """An app whose store is its own database, and the proxy between them."""
    if "LOGOUT_STORE_URI" in counted[0].config:
        pytest.skip("the store is not the app's database")
    return counted


@contextmanager
def trips(proxy: Proxy) -> t.Iterator[t.Callable[[], int]]:
    """Count the round trips during the block."""
    proxy.reset()
    yield lambda: proxy.round_trips


def find(app: Flask) -> None:
    """Query the store like a check."""
    with app.app_context():
        app.extensions["logout"].store.find(KEYS)


def test_a_check_takes_one_round_trip(counted: Counted) -> None:
    app, proxy = counted
    for _ in range(WARM):
        find(app)
    with trips(proxy) as count:
        for _ in range(10):
            find(app)
        assert count() == 10
    assert proxy.connections == 0


def test_a_protected_request_takes_one_round_trip(counted: Counted) -> None:
    app, proxy = counted
    client, pair = app.test_client(), make_pair(app)
    for _ in range(WARM):
        assert get_status(client, pair) == (200, 200)
    with trips(proxy) as count:
        assert client.get("/me", headers=bearer(pair.access)).status_code == 200
        assert count() == 1
        assert client.get("/open").status_code == 200
        assert count() == 1


def test_a_rejected_request_takes_one_round_trip(counted: Counted) -> None:
    app, proxy = counted
    client, pair = app.test_client(), make_pair(app)
    assert log_out(client, pair).data == LOGGED_OUT
    for _ in range(WARM):
        assert get_status(client, pair) == (401, 401)
    with trips(proxy) as count:
        assert client.get("/me", headers=bearer(pair.access)).status_code == 401
        assert count() == 1


def test_a_logout_takes_two_round_trips(counted: Counted) -> None:
    app, proxy = counted
    client = app.test_client()
    for _ in range(WARM):
        assert log_out(client, make_pair(app)).data == LOGGED_OUT
    pair = make_pair(app)
    with trips(proxy) as count:
        assert log_out(client, pair).data == LOGGED_OUT
        assert count() == 2
    assert proxy.connections == 0
    assert get_status(client, pair) == (401, 401)


def test_a_thread_needs_one_additional_connection(
    counted_sql: Counted,
) -> None:
    app, proxy = counted_sql
    db: SQLAlchemy = app.extensions["sqlalchemy"]
    barrier = Barrier(THREADS)

    @app.get("/both")
    @jwt_required()
    def both() -> str:
        db.session.execute(sa.text("SELECT 1"))
        return "both"

    pair = make_pair(app)

    def visit(_: int) -> None:
        barrier.wait()
        client = app.test_client()
        for _ in range(WARM):
            assert client.get("/both", headers=bearer(pair.access)).status_code == 200

    dispose(app)
    proxy.reset()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(visit, range(THREADS)))
    assert 2 <= proxy.connections <= 2 * THREADS


def test_one_thread_needs_two_connections(counted_sql: Counted) -> None:
    app, proxy = counted_sql
    db: SQLAlchemy = app.extensions["sqlalchemy"]
    client, pair = app.test_client(), make_pair(app)
    dispose(app)
    proxy.reset()
    for _ in range(WARM):
        assert get_status(client, pair) == (200, 200)
        with app.app_context():
            db.session.execute(sa.text("SELECT 1"))
    assert proxy.connections == 2


def make_recipe(url: sa.URL) -> Flask:
    """Make an app with the blocklist from Flask-JWT-Extended's documentation."""
    app = Flask("recipe")
    app.config.update(unpurged(url, pool_size=THREADS), JWT_SECRET_KEY=SECRET)
    jwt, db = JWTManager(app), SQLAlchemy(app)

    class TokenBlocklist(db.Model):  # type: ignore[name-defined,misc]
        id = db.Column(db.Integer, primary_key=True)
        jti = db.Column(db.String(36), nullable=False, index=True)
        created_at = db.Column(db.DateTime, nullable=False)

    @jwt.token_in_blocklist_loader
    def is_revoked(_: dict[str, t.Any], claims: dict[str, t.Any]) -> bool:
        query = db.session.query(TokenBlocklist.id)
        return query.filter_by(jti=claims["jti"]).scalar() is not None

    @app.delete("/logout")
    @jwt_required(verify_type=False)
    def logout() -> dict[str, str]:
        now = datetime.now(timezone.utc)
        db.session.add(TokenBlocklist(jti=get_jwt()["jti"], created_at=now))
        db.session.commit()
        return {}

    add_routes(app)
    with app.app_context():
        db.create_all()
    return app


def test_the_database_recipe_takes_three_round_trips(served: Served) -> None:
    url, proxy = served
    if url.drivername == "redis":
        pytest.skip("the recipe for Redis has no database")
    app = make_recipe(url)
    client, pair = app.test_client(), make_pair(app)
    for _ in range(WARM):
        assert get_status(client, pair) == (200, 200)
    with trips(proxy) as count:
        assert client.get("/me", headers=bearer(pair.access)).status_code == 200
        assert count() == 3
    with trips(proxy) as count:
        for token in pair:
            assert client.delete("/logout", headers=bearer(token)).status_code == 200
        assert count() == 8
    assert get_status(client, pair) == (401, 401)
    dispose(app)
