"""The how-to about cookies, in a browser."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from flask import Flask
from flask import request
from flask import Response
from flask_jwt_extended import jwt_required
from selenium import webdriver

from .chromium import open_browser
from .conftest import dispose
from .conftest import SECRET
from .pages import blocks
from .pages import run
from .serving import serve
from .tokens import bearer
from .tokens import make_pair
from .tokens import unset

JAVASCRIPT = "\n".join(blocks("howto/spa.rst", "javascript"))

NAMES = {
    "access": {"access_token_cookie", "csrf_access_token"},
    "refresh": {"refresh_token_cookie", "csrf_refresh_token"},
}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Flask]:
    """The app of the page, with a route that needs a token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLASK_JWT_SECRET_KEY", SECRET)
    monkeypatch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", f"sqlite:///{tmp_path}/app.db")
    names = run("howto/spa.rst", check_password=lambda: "ada")
    app: Flask = names["app"]

    @app.get("/")
    def page() -> str:
        return f"<script>{JAVASCRIPT}</script>"

    @app.post("/items")
    @jwt_required()
    def items() -> dict[str, t.Any]:
        return {}

    with app.app_context():
        names["db"].create_all()
    yield app
    dispose(app)


class Browser:
    """Chromium on the page, and what the server has answered."""

    def __init__(self, driver: webdriver.Chrome, answers: list[tuple[str, int]]):
        self._driver = driver
        self.answers = answers

    def run(self, script: str) -> t.Any:
        """Run a script of one expression, wait for it, give its value."""
        code = f"const done = arguments[0]; Promise.resolve({script}).then(done)"
        return self._driver.execute_async_script(code)

    def cookies(self) -> set[str]:
        """Name the cookies that it has."""
        found = self._driver.execute_cdp_cmd("Storage.getCookies", {})
        return {x["name"] for x in found["cookies"]}

    def delete(self, name: str) -> None:
        """Delete a cookie."""
        self._driver.delete_cookie(name)


@pytest.fixture
def browser(app: Flask, tmp_path: Path) -> t.Iterator[Browser]:
    """Chromium, with the page open."""
    answers: list[tuple[str, int]] = []

    @app.after_request
    def note(response: Response) -> Response:
        if request.method == "POST":
            answers.append((request.path, response.status_code))
        return response

    with serve(app) as port, open_browser(tmp_path / "profile") as driver:
        # Chromium accepts secure cookies from this host without TLS.
        driver.get(f"http://localhost:{port}/")
        yield Browser(driver, answers)


def test_the_page_logs_out_in_a_browser(browser: Browser) -> None:
    assert browser.run("send('POST', '/auth/login').then(x => x.json())") == {
        "user": "ada"
    }
    assert browser.cookies() == NAMES["access"] | NAMES["refresh"]
    assert browser.run("document.cookie.includes('token_cookie')") is False
    assert browser.run("call('POST', '/items').then(x => x.status)") == 200
    browser.run("logOut()")
    assert browser.cookies() == set()
    assert browser.answers == [
        ("/auth/login", 200),
        ("/items", 200),
        ("/auth/logout", 200),
    ]


def test_the_page_refreshes_once_in_a_browser(browser: Browser) -> None:
    browser.run("send('POST', '/auth/login').then(x => x.status)")
    browser.delete("access_token_cookie")
    assert browser.run("call('POST', '/items').then(x => x.status)") == 200
    browser.delete("access_token_cookie")
    assert browser.run("call('POST', '/auth/logout').then(x => x.status)") == 200
    assert browser.run("call('POST', '/items').then(x => x.status)") == 401
    assert browser.answers == [
        ("/auth/login", 200),
        ("/items", 401),
        ("/auth/refresh", 200),
        ("/items", 200),
        ("/auth/logout", 401),
        ("/auth/refresh", 200),
        ("/auth/logout", 200),
        ("/items", 401),
        ("/auth/refresh", 401),
    ]


def test_the_page_tells_a_failed_logout_from_an_ended_login(browser: Browser) -> None:
    note = "window.alert = text => { document.title = text }"
    log_out = f"(async () => {{ {note}; await logOut(); return document.title }})()"
    browser.run("send('POST', '/auth/login').then(x => x.status)")
    browser.delete("csrf_access_token")
    browser.delete("csrf_refresh_token")
    assert browser.run(log_out) == "You are still logged in. Try again."
    assert browser.cookies() == {"access_token_cookie", "refresh_token_cookie"}
    browser.run("send('POST', '/auth/login').then(x => x.status)")
    assert browser.run("send('POST', '/auth/logout').then(x => x.status)") == 200
    browser.run("document.title = ''")
    assert browser.run(log_out) == ""
    assert browser.answers[-2:] == [("/auth/logout", 401), ("/auth/refresh", 401)]


def log_in(app: Flask) -> tuple[t.Any, dict[str, str]]:
    """Log in as the page does; give the client, and the header against CSRF."""
    client = app.test_client()
    assert client.post("/auth/login", base_url="https://localhost").status_code == 200
    cookie = client.get_cookie("csrf_access_token")
    assert cookie is not None
    return client, {"X-CSRF-TOKEN": cookie.value}


def post(client: t.Any, headers: dict[str, str], **options: t.Any) -> t.Any:
    """Log out, over TLS."""
    url = "https://localhost"
    return client.post("/auth/logout", headers=headers, base_url=url, **options)


def test_each_status_unsets_the_cookies_that_it_should(app: Flask) -> None:
    client, headers = log_in(app)
    wrong = post(client, {"X-CSRF-TOKEN": "wrong"})
    assert (wrong.status_code, unset(wrong)) == (401, set())
    invalid = post(client, headers, json={"refresh_token": "x"})
    assert (invalid.status_code, unset(invalid)) == (400, set())
    done = post(client, headers)
    assert (done.status_code, unset(done)) == (200, NAMES["access"] | NAMES["refresh"])


def test_the_cookies_of_another_user_stay(app: Flask) -> None:
    app.config["JWT_TOKEN_LOCATION"] = ["headers", "cookies"]
    client, _ = log_in(app)
    pair = make_pair(app, "bob")
    response = post(client, bearer(pair.access), json={"refresh_token": pair.refresh})
    assert (response.status_code, unset(response)) == (200, set())


def test_a_refresh_cookie_for_another_path_is_missing(app: Flask) -> None:
    app.config["JWT_REFRESH_COOKIE_PATH"] = "/auth/refresh"
    client, headers = log_in(app)
    response = post(client, headers)
    assert response.status_code == 400
    assert response.get_json()["data"]["errors"] == [
        {"key": "body", "message": "invalid_json", "value": ""}
    ]
