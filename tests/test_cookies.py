"""Tokens in cookies: which requests log out, and which cookies are unset."""

from __future__ import annotations

import typing as t
from datetime import timedelta

import pytest
from flask import Flask
from flask import Response
from flask.testing import FlaskClient
from flask_jwt_extended import create_access_token
from flask_jwt_extended import get_jwt
from flask_jwt_extended import get_jwt_identity
from flask_jwt_extended import jwt_required
from flask_jwt_extended import set_access_cookies

from .conftest import MakeApp
from .tokens import bearer
from .tokens import claims_of
from .tokens import expired
from .tokens import get_status
from .tokens import INVALID_TOKEN
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair
from .tokens import unset

NAMES = {
    kind: {f"{kind}_token_cookie", f"csrf_{kind}_token"}
    for kind in ("access", "refresh")
}


def make_cookie_app(make_app: MakeApp, **config: t.Any) -> Flask:
    """Make an app that accepts tokens in headers and cookies."""
    return make_app(**{"JWT_TOKEN_LOCATION": ["headers", "cookies"], **config})


def make_browser(app: Flask, pair: Pair) -> FlaskClient:
    """Make a client with the cookies of a pair."""
    client = app.test_client()
    for kind, token in (("access", pair.access), ("refresh", pair.refresh)):
        client.set_cookie(f"{kind}_token_cookie", token)
        client.set_cookie(f"csrf_{kind}_token", claims_of(token)["csrf"])
    return client


def csrf(client: FlaskClient) -> dict[str, str]:
    """Make the header with the CSRF token of the access cookie."""
    cookie = client.get_cookie("csrf_access_token")
    return {} if cookie is None else {"X-CSRF-TOKEN": cookie.value}


def test_an_expired_access_cookie_with_a_valid_refresh_cookie_logs_out(
    make_app: MakeApp,
) -> None:
    app = make_cookie_app(make_app)
    pair = Pair(expired(app).access, make_pair(app).refresh)
    client = make_browser(app, pair)
    response = client.post("/auth/logout", headers=csrf(client))
    assert (response.status_code, response.data) == (200, LOGGED_OUT)
    assert unset(response) == NAMES["access"] | NAMES["refresh"]
    assert get_status(app.test_client(), pair) == (401, 401)


def test_an_expired_access_cookie_requires_the_csrf_token(make_app: MakeApp) -> None:
    app = make_cookie_app(make_app)
    pair = Pair(expired(app).access, make_pair(app).refresh)
    client = make_browser(app, pair)
    response = client.post("/auth/logout", headers={"X-CSRF-TOKEN": "wrong"})
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)
    assert unset(response) == set()
    assert get_status(app.test_client(), pair) == (401, 200)


@pytest.mark.parametrize("refresh", ["missing", "expired", "revoked", "foreign"])
def test_an_expired_access_cookie_alone_is_rejected(
    make_app: MakeApp, refresh: str
) -> None:
    app = make_cookie_app(make_app)
    valid = make_pair(app)
    refreshes = {
        "missing": "",
        "expired": expired(app).refresh,
        "revoked": valid.refresh,
        "foreign": make_pair(app, "bob").refresh,
    }
    if refresh == "revoked":
        assert log_out(app.test_client(), valid).data == LOGGED_OUT
    client = make_browser(app, Pair(expired(app).access, valid.refresh))
    client.set_cookie("refresh_token_cookie", refreshes[refresh])
    response = client.post("/auth/logout", headers=csrf(client))
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)
    assert response.headers["WWW-Authenticate"] == (
        'Bearer error="invalid_token", error_description="Signature has expired"'
    )
    useless = NAMES["refresh"] if refresh in ("expired", "revoked") else set()
    assert unset(response) == NAMES["access"] | useless


def test_an_expired_access_token_in_a_header_is_rejected(make_app: MakeApp) -> None:
    app = make_cookie_app(make_app)
    response = log_out(
        app.test_client(), Pair(expired(app).access, make_pair(app).refresh)
    )
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)


def test_a_form_on_another_site_unsets_no_cookies(make_app: MakeApp) -> None:
    app = make_cookie_app(make_app)
    client = make_browser(app, make_pair(app))
    # Either SameSite withholds the cookies, or the CSRF token is missing.
    for sender in (app.test_client(), client):
        response = sender.post("/auth/logout", data={"refresh_token": "x"})
        assert (response.status_code, response.data) == (401, INVALID_TOKEN)
        assert unset(response) == set()


@pytest.mark.parametrize("token", ["ä", "\u2603", "x" * 5000])
def test_an_invalid_csrf_token_unsets_no_cookies(make_app: MakeApp, token: str) -> None:
    app = make_cookie_app(make_app, JWT_CSRF_CHECK_FORM=True)
    pair = make_pair(app)
    client = make_browser(app, pair)
    response = client.post("/auth/logout", data={"csrf_token": token})
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)
    assert unset(response) == set()
    assert get_status(app.test_client(), pair) == (200, 200)


def test_an_invalid_token_in_the_query_string_unsets_no_cookies(
    make_app: MakeApp,
) -> None:
    app = make_cookie_app(make_app, JWT_TOKEN_LOCATION=["query_string", "cookies"])
    client = make_browser(app, make_pair(app))
    response = client.post("/auth/logout?jwt=x")
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)
    assert unset(response) == set()


def test_a_logout_by_header_keeps_the_cookies_of_another_user(
    make_app: MakeApp,
) -> None:
    app = make_cookie_app(make_app)
    ours, theirs = make_pair(app, "ada"), make_pair(app, "bob")
    client = make_browser(app, theirs)
    response = log_out(client, ours)
    assert (response.status_code, response.data) == (200, LOGGED_OUT)
    assert unset(response) == set()
    assert get_status(app.test_client(), theirs) == (200, 200)


def test_cookies_are_kept_if_the_store_is_unavailable(
    make_app: MakeApp,
) -> None:
    app = make_cookie_app(make_app)
    client = make_browser(app, make_pair(app))
    with app.app_context():
        store = app.extensions["logout"].store
        store.table.drop(store.engine.get())
    response = client.post("/auth/logout", headers=csrf(client))
    assert response.status_code == 503
    assert unset(response) == set()


def test_the_implicit_refresh_recipe_does_not_log_in_again(make_app: MakeApp) -> None:
    app = make_cookie_app(make_app, JWT_ACCESS_TOKEN_EXPIRES=timedelta(minutes=1))

    @app.before_request
    @jwt_required(optional=True)
    def read_token_early() -> None:
        get_jwt()

    @app.after_request
    def refresh_expiring_jwts(response: Response) -> Response:
        try:
            get_jwt()["exp"]
            set_access_cookies(response, create_access_token(get_jwt_identity()))
        except (RuntimeError, KeyError):
            pass
        return response

    pair = make_pair(app)
    client = make_browser(app, pair)
    assert "access_token_cookie" in str(client.get("/me").headers)
    client = make_browser(app, pair)
    response = client.post("/auth/logout", headers=csrf(client))
    assert (response.status_code, response.data) == (200, LOGGED_OUT)
    assert unset(response) == NAMES["access"] | NAMES["refresh"]
    assert client.get("/me").status_code == 401


@pytest.mark.parametrize("path", ["/auth/refresh", "/api", "/auth/logout/", "/AUTH"])
@pytest.mark.parametrize("kind", ["ACCESS", "REFRESH"])
def test_a_cookie_path_that_excludes_the_endpoint_is_reported(
    make_app: MakeApp, kind: str, path: str
) -> None:
    app = make_cookie_app(make_app, **{f"JWT_{kind}_COOKIE_PATH": path})
    result = app.test_cli_runner().invoke(args=["logout", "check"])
    assert (
        f"problem: cookies: JWT_{kind}_COOKIE_PATH is {path!r}, so browsers don't send"
        " the cookie to /auth/logout and logging out fails. Set it to '/' or to"
        " '/auth'.\n"
    ) in result.output


@pytest.mark.parametrize("path", ["/", "/auth", "/auth/", "/auth/logout"])
def test_a_cookie_path_that_includes_the_endpoint_is_accepted(
    make_app: MakeApp, path: str
) -> None:
    app = make_cookie_app(make_app, JWT_REFRESH_COOKIE_PATH=path)
    result = app.test_cli_runner().invoke(args=["logout", "check"])
    assert "ok: cookies\n" in result.output


@pytest.mark.parametrize(
    ("kind", "path", "action"),
    [
        ("REFRESH", "/auth/refresh", "refreshing"),
        ("ACCESS", "/auth/sessions", "listing sessions"),
    ],
)
def test_a_cookie_path_that_excludes_an_endpoint_for_sessions_is_reported(
    make_app: MakeApp, kind: str, path: str, action: str
) -> None:
    app = make_cookie_app(
        make_app,
        LOGOUT_ENDPOINTS={"logout", "refresh", "sessions"},
        **{f"JWT_{kind}_COOKIE_PATH": "/auth/logout"},
    )
    result = app.test_cli_runner().invoke(args=["logout", "check"])
    assert (
        f"problem: cookies: JWT_{kind}_COOKIE_PATH is '/auth/logout', so browsers don't"
        f" send the cookie to {path} and {action} fails. Set it to '/' or to '/auth'.\n"
    ) in result.output


def test_cookie_paths_are_ignored_if_cookies_are_not_enabled(make_app: MakeApp) -> None:
    app = make_app(JWT_REFRESH_COOKIE_PATH="/elsewhere")
    result = app.test_cli_runner().invoke(args=["logout", "check"])
    assert "ok: cookies\n" in result.output


def test_cookie_paths_are_ignored_without_endpoints(make_app: MakeApp) -> None:
    app = make_cookie_app(
        make_app, LOGOUT_ENDPOINTS=set(), JWT_REFRESH_COOKIE_PATH="/elsewhere"
    )
    result = app.test_cli_runner().invoke(args=["logout", "check"])
    assert "ok: cookies\n" in result.output
    assert (
        app.test_client().post("/auth/logout", headers=bearer("x")).status_code == 404
    )
