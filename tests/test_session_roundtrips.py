"""The round trips of logins, refreshes and lists, counted by a proxy."""

from __future__ import annotations

import time
import typing as t

import pytest
from flask import Flask

from flask_logout import LogoutExtension

from .conftest import dispose
from .conftest import MakeApp
from .proxied_apps import STORES
from .proxied_apps import unpurged
from .proxied_apps import WARM
from .proxy import proxied
from .proxy import Proxy
from .session_apps import add_session_routes
from .session_apps import log_in
from .session_apps import renew
from .session_apps import renewed
from .session_apps import sid_of
from .tokens import bearer
from .tokens import make_pair
from .tokens import Pair

ENDPOINTS = ["logout", "refresh", "sessions"]


class Counted(t.NamedTuple):
    """An app, and the proxy between the app and its store."""

    app: Flask
    proxy: Proxy

    @property
    def is_redis(self) -> bool:
        """Whether the app uses Redis."""
        return "LOGOUT_STORE_URI" in self.app.config

    @property
    def is_mysql(self) -> bool:
        """Whether the app uses MariaDB, which needs a statement for each check."""
        return "mysql" in self.app.config["SQLALCHEMY_DATABASE_URI"]

    def count(self, act: t.Callable[[], object]) -> int:
        """Return how many round trips something takes."""
        self.proxy.reset()
        act()
        return self.proxy.round_trips


@pytest.fixture(scope="module", params=STORES)
def served(request: pytest.FixtureRequest) -> t.Iterator[t.Any]:
    """A store behind a proxy."""
    with proxied(request.param) as served:
        yield served


@pytest.fixture
def make(served: t.Any, make_app: MakeApp) -> t.Iterator[t.Callable[..., Counted]]:
    """Make apps with sessions."""
    url, proxy = served
    made: list[Flask] = []

    def make(**config: t.Any) -> Counted:
        app = make_app(**unpurged(url), LOGOUT_ENDPOINTS=ENDPOINTS, **config)
        add_session_routes(app)
        made.append(app)
        return Counted(app, proxy)

    yield make
    for app in made:
        dispose(app)


@pytest.fixture
def counted(make: t.Callable[..., Counted]) -> Counted:
    """An app with the default settings."""
    return make()


def warm(app: Flask) -> Pair:
    """Prepare every statement, and return the tokens of a session."""
    client = app.test_client()
    for _ in range(WARM):
        pair = renewed(client, log_in(client))
        client.post("/auth/refresh", headers=bearer(pair.refresh))
        client.get("/auth/sessions", headers=bearer(pair.access))
        other = sid_of(log_in(client))
        client.delete(f"/auth/sessions/{other}", headers=bearer(pair.access))
    return pair


def test_a_login_takes_one_round_trip(counted: Counted) -> None:
    client = counted.app.test_client()
    warm(counted.app)
    assert counted.count(lambda: log_in(client)) == 1


def test_a_login_with_a_limit_takes_two(make: t.Callable[..., Counted]) -> None:
    counted = make(LOGOUT_MAX_SESSIONS=10)
    client = counted.app.test_client()
    for number in range(WARM):
        log_in(client, f"user {number}")
    assert counted.count(lambda: log_in(client, "eve")) == 2


def test_a_refresh_takes_one_round_trip(counted: Counted) -> None:
    client, pair = counted.app.test_client(), warm(counted.app)
    count = count_refresh(counted, client, pair, 200)
    assert count == (2 if counted.is_mysql else 1)
    # The decorator checks whether the token has been used.
    assert counted.count(lambda: renewed(client, pair)) == 3


def count_refresh(counted: Counted, client: t.Any, pair: Pair, status: int) -> int:
    """Refresh with the endpoint, and return how many round trips it takes."""

    def refresh() -> None:
        response = client.post("/auth/refresh", headers=bearer(pair.refresh))
        assert response.status_code == status

    return counted.count(refresh)


def test_a_refresh_after_a_cutoff_takes_at_most_two(counted: Counted) -> None:
    client = counted.app.test_client()
    warm(counted.app)
    with counted.app.app_context():
        LogoutExtension().revoke_user("bob")
    # A column may have truncated the cutoff, so logins of the same second need a check.
    time.sleep(1.1)
    for _ in range(WARM):
        pair = renewed(client, log_in(client, "bob"))
        count = count_refresh(counted, client, pair, 200)
    # Redis checks for any revocation, and MariaDB needs a statement for the check.
    assert count == (2 if counted.is_redis or counted.is_mysql else 1)


def test_a_revoked_refresh_takes_at_most_two(counted: Counted) -> None:
    client = counted.app.test_client()
    pair = warm(counted.app)
    client.post(
        "/auth/logout",
        headers=bearer(pair.access),
        json={"refresh_token": pair.refresh},
    )
    for _ in range(WARM):
        count = count_refresh(counted, client, pair, 401)
    assert count == (1 if counted.is_mysql else 2)


def test_other_requests_take_as_many_as_without_sessions(counted: Counted) -> None:
    client, pair = counted.app.test_client(), warm(counted.app)
    headers = bearer(pair.access)
    for _ in range(WARM):
        client.get("/me", headers=headers)
    assert counted.count(lambda: client.get("/me", headers=headers)) == 1
    # A route for refresh tokens also checks whether the token has been used.
    headers = bearer(pair.refresh)
    assert counted.count(lambda: client.post("/refresh", headers=headers)) == 2


def test_a_list_and_an_end_take_two_round_trips(counted: Counted) -> None:
    client, pair = counted.app.test_client(), warm(counted.app)
    headers = bearer(pair.access)
    assert counted.count(lambda: client.get("/auth/sessions", headers=headers)) == 2
    url = f"/auth/sessions/{sid_of(log_in(client))}"
    assert counted.count(lambda: client.delete(url, headers=headers)) == 2


def test_an_adoption_takes_at_most_four(counted: Counted) -> None:
    client = counted.app.test_client()
    warm(counted.app)
    for _ in range(WARM):
        renewed(client, make_pair(counted.app))
    old = bearer(make_pair(counted.app).refresh)
    count = counted.count(lambda: client.post("/auth/refresh", headers=old))
    # In SQL: the check, the swap, a look for the row, and the insertion.
    assert count == (1 if counted.is_redis else 4)


def test_reuse_takes_at_most_four(make: t.Callable[..., Counted]) -> None:
    counted = make(LOGOUT_ROTATION_GRACE=0)
    client = counted.app.test_client()
    for _ in range(WARM):
        first = log_in(client)
        renewed(client, first)
        renew(client, first)
        first = log_in(client)
        renewed(client, first)
        client.post("/auth/refresh", headers=bearer(first.refresh))
    first = log_in(client)
    renewed(client, first)
    headers = bearer(first.refresh)
    count = counted.count(lambda: client.post("/auth/refresh", headers=headers))
    # In SQL: the check, the swap, a look at the row, and the revocation.
    assert count == (2 if counted.is_redis else 4)
