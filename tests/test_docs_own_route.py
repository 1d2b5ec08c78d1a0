"""The how-to guides about a logout route of one's own, and about upstreams."""

from __future__ import annotations

import logging
import typing as t
from pathlib import Path

import pytest
from flask import Flask
from flask import request

from flask_logout import LogoutExtension
from flask_logout import session_claims

from .conftest import add_routes
from .conftest import dispose
from .conftest import MakeApp
from .conftest import SECRET
from .pages import run
from .proxy import free_port
from .serving import serve
from .tokens import bearer
from .tokens import expired
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import UNAVAILABLE


def make_own(make_app: MakeApp, **config: t.Any) -> Flask:
    """Make an app with the route of the page instead of the endpoint."""
    app = make_app(LOGOUT_ENDPOINTS=set(), **config)
    app.testing = False
    run("howto/own-route.rst", app=app, logout=LogoutExtension())
    return app


def leave(app: Flask, access: str, body: dict[str, t.Any]) -> tuple[int, t.Any]:
    """Call the route of the page."""
    response = app.test_client().delete("/login", headers=bearer(access), json=body)
    return response.status_code, response.get_json()


def test_a_route_of_ones_own_logs_out(make_app: MakeApp) -> None:
    app = make_own(make_app)
    pair = make_pair(app)
    assert log_out(app.test_client(), pair).status_code == 404
    done = leave(app, pair.access, {"refresh_token": pair.refresh})
    assert done == (200, {"goodbye": True})
    assert get_status(app.test_client(), pair) == (401, 401)


def test_a_route_of_ones_own_answers_errors(make_app: MakeApp) -> None:
    app = make_own(make_app)
    pair = make_pair(app)
    assert leave(app, pair.access, {}) == (400, {"error": "required"})
    wrong = {"refresh_token": make_pair(app, "bob").refresh}
    assert leave(app, pair.access, wrong) == (400, {"error": "wrong_subject"})
    assert get_status(app.test_client(), pair) == (200, 200)
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()
    client, headers = app.test_client(), bearer(pair.access)
    response = client.delete("/login", headers=headers, json={})
    assert (response.status_code, response.data) == (503, UNAVAILABLE)


def test_a_route_of_ones_own_needs_a_valid_token_of_a_user(make_app: MakeApp) -> None:
    app = make_own(make_app, LOGOUT_EXPIRED_ACCESS_GRACE=120)
    body = {"refresh_token": make_pair(app).refresh}
    assert leave(app, expired(app).access, body)[0] == 401
    app.extensions["flask-jwt-extended"].user_lookup_loader(lambda *_: None)
    assert leave(app, make_pair(app).access, body)[0] == 401


@pytest.mark.parametrize("in_session", [False, True])
def test_a_route_of_ones_own_without_a_refresh_token(
    make_app: MakeApp, in_session: bool
) -> None:
    app = make_own(make_app, LOGOUT_REQUIRE_REFRESH_TOKEN=False)
    with app.app_context():
        claims = session_claims() if in_session else {}
    pair = make_pair(app, additional_claims=claims)
    assert leave(app, pair.access, {}) == (200, {"goodbye": True})
    status = get_status(app.test_client(), pair)
    assert status == ((401, 401) if in_session else (401, 200))


class Provider(t.NamedTuple):
    """An identity provider that is served, and what it was sent."""

    url: str
    requests: list[t.Any]
    statuses: list[int]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Provider]:
    """A provider that answers with one status after the other."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    app, requests, statuses = Flask("provider"), list[t.Any](), list[int]()

    @app.post("/logout")
    def end_login() -> tuple[str, int]:
        requests.append(request.get_json())
        return "", statuses.pop(0)

    with serve(app) as port:
        yield Provider(f"http://127.0.0.1:{port}/logout", requests, statuses)


class Connect(t.Protocol):
    """Make an app with the upstream of the page, which calls a URL."""

    def __call__(self, url: str) -> Flask: ...


@pytest.fixture
def connect(tmp_path: Path) -> t.Iterator[Connect]:
    """The app has no database but that of the extension."""
    made = []

    def connect(url: str) -> Flask:
        app = Flask("tests", instance_path=str(tmp_path))
        app.config.update(JWT_SECRET_KEY=SECRET, PROVIDER_URL=url, LOGOUT_TIMEOUT=5)
        run("howto/upstreams.rst", app=app, logout=LogoutExtension(app))
        add_routes(app)
        made.append(app)
        return app

    yield connect
    for app in made:
        dispose(app)


FAILED = (
    b'{"code":400,"message":"external api error","data":{"type":"external_api_error",'
    b'"errors":[],"details":{"upstream":"identity provider"}}}'
)


def test_the_upstream_is_told_first(connect: Connect, provider: Provider) -> None:
    app = connect(provider.url)
    pair = make_pair(app)
    provider.statuses[:] = [500, 204]
    assert log_out(app.test_client(), pair).data == FAILED
    assert get_status(app.test_client(), pair) == (200, 200)
    assert log_out(app.test_client(), pair).data == LOGGED_OUT
    assert get_status(app.test_client(), pair) == (401, 401)
    assert provider.requests == [{"user": "ada"}, {"user": "ada"}]


def test_an_upstream_that_is_down_prevents_the_logout(connect: Connect) -> None:
    app = connect(f"http://127.0.0.1:{free_port()}/logout")
    pair = make_pair(app)
    assert log_out(app.test_client(), pair).data == FAILED
    assert get_status(app.test_client(), pair) == (200, 200)


def test_the_signal_reports_what_no_upstream_is_told(
    connect: Connect, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    app = connect(provider.url)
    caplog.set_level(logging.WARNING, app.logger.name)
    with app.app_context():
        LogoutExtension().revoke_user("ada", reason="left")
    assert app.test_cli_runner().invoke(args="logout user bob".split()).exit_code == 0
    provider.statuses[:] = [204]
    response = log_out(app.test_client(), make_pair(app, "carol"))
    assert response.data == LOGGED_OUT
    told = [x.getMessage() for x in caplog.records if x.name == app.logger.name]
    assert told == ["ada: left", "bob: None", "carol: logout", "carol: logout"]
    assert provider.requests == [{"user": "carol"}]
