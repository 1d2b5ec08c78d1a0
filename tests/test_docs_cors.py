"""The page on CORS, for a front end of another origin."""

from __future__ import annotations

import typing as t
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_jwt_extended import get_csrf_token
from flask_jwt_extended import set_access_cookies
from flask_jwt_extended import set_refresh_cookies
from werkzeug.test import TestResponse

from .conftest import dispose
from .pages import blocks
from .tokens import bearer
from .tokens import INVALID_TOKEN
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import UNAVAILABLE

ORIGIN = "https://app.example.com"
EXPOSED = {
    "Access-Control-Allow-Origin": ORIGIN,
    "Access-Control-Expose-Headers": "Retry-After, WWW-Authenticate",
}


class Apps(t.NamedTuple):
    """The apps of the page."""

    headers: Flask
    cookies: Flask


@pytest.fixture
def apps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Apps]:
    """Run the page, and keep the first app, whose name the second takes."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, t.Any] = {"__name__": "cors"}
    made = []
    for block in blocks("howto/cors.rst", "python"):
        exec(block, names)
        made.append(names["app"])
    yield Apps(*made)
    for app in made:
        dispose(app)


def cors_headers(response: TestResponse) -> dict[str, str]:
    """Give the headers that tell a browser what it may do."""
    return {k: v for k, v in response.headers if k.startswith("Access-Control-")}


def preflight(client: FlaskClient, headers: str, origin: str = ORIGIN) -> TestResponse:
    """Ask as a browser does before it logs out."""
    return client.options(
        "/auth/logout",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": headers,
        },
    )


def test_the_preflight_of_a_logout_is_answered(apps: Apps) -> None:
    response = preflight(apps.headers.test_client(), "authorization,content-type")
    assert response.status_code == 200
    assert cors_headers(response) == {
        **EXPOSED,
        "Access-Control-Allow-Headers": "authorization, content-type",
        "Access-Control-Allow-Methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
        "Access-Control-Max-Age": "600",
    }


def test_another_origin_is_allowed_nothing(apps: Apps) -> None:
    for app in apps:
        response = preflight(app.test_client(), "content-type", "https://example.net")
        assert cors_headers(response) == {}


def test_every_answer_can_be_read_by_the_front_end(apps: Apps) -> None:
    client, pair = apps.headers.test_client(), make_pair(apps.headers)
    headers = {**bearer(pair.access), "Origin": ORIGIN}
    body = {"refresh_token": pair.refresh}
    answers = [client.post("/auth/logout", headers=headers, json=body) for _ in "12"]
    assert [answer.data for answer in answers] == [LOGGED_OUT, INVALID_TOKEN]
    assert [cors_headers(answer) for answer in answers] == [EXPOSED, EXPOSED]
    with apps.headers.app_context():
        apps.headers.extensions["sqlalchemy"].drop_all()
    down = client.get("/me", headers=headers)
    assert (down.data, down.headers["Retry-After"]) == (UNAVAILABLE, "5")
    assert cors_headers(down) == EXPOSED


def test_cookies_log_out_with_the_csrf_token(apps: Apps) -> None:
    app, pair = apps.cookies, make_pair(apps.cookies)
    response = preflight(app.test_client(), "x-csrf-token")
    credentials = {**EXPOSED, "Access-Control-Allow-Credentials": "true"}
    assert cors_headers(response) == {
        **credentials,
        "Access-Control-Allow-Headers": "x-csrf-token",
        "Access-Control-Allow-Methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
        "Access-Control-Max-Age": "600",
    }
    with app.test_request_context():
        login = app.response_class()
        set_access_cookies(login, pair.access)
        set_refresh_cookies(login, pair.refresh)
        csrf = get_csrf_token(pair.access)
    sent = SimpleCookie("; ".join(login.headers.getlist("Set-Cookie")))
    assert {cookie["domain"] for cookie in sent.values()} == {"example.com"}
    assert sent["csrf_access_token"].value == csrf
    assert not sent["csrf_access_token"]["httponly"]
    client = app.test_client(use_cookies=False)
    cookies = "; ".join(f"{name}={cookie.value}" for name, cookie in sent.items())
    headers = {"Origin": ORIGIN, "Cookie": cookies, "X-CSRF-TOKEN": csrf}
    answers = [client.post("/auth/logout", headers=headers) for _ in "12"]
    assert [answer.data for answer in answers] == [LOGGED_OUT, INVALID_TOKEN]
    assert [cors_headers(answer) for answer in answers] == [credentials, credentials]


def test_the_front_end_sends_what_the_api_allows() -> None:
    (script,) = blocks("howto/cors.rst", "javascript")
    assert "csrf_access_token" in script
    assert '"X-CSRF-TOKEN"' in script
