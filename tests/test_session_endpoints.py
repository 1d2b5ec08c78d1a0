"""The contract of ``POST /auth/refresh``, ``GET`` and ``DELETE /auth/sessions``."""

from __future__ import annotations

import subprocess
import sys
import time
import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from flask_jwt_extended import get_csrf_token
from flask_jwt_extended import JWTManager
from werkzeug.test import TestResponse

from .conftest import MakeApp
from .session_apps import add_session_routes
from .session_apps import age
from .session_apps import generation
from .session_apps import log_in
from .session_apps import revocations_of
from .session_apps import sid_of
from .session_apps import sids_of
from .tokens import bearer
from .tokens import claims_of
from .tokens import encode
from .tokens import expired
from .tokens import get_status
from .tokens import INVALID_TOKEN
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair
from .tokens import tampered
from .tokens import TOO_LARGE
from .tokens import UNAVAILABLE
from .tokens import validation_failed

ENDPOINTS = ["logout", "logout_all", "refresh", "sessions"]
NOT_FOUND = b'{"code":404,"message":"not found","data":{}}'
ENDED = b'{"code":200,"message":"session ended","data":{}}'
COOKIES = {"JWT_TOKEN_LOCATION": ["headers", "cookies"]}


@pytest.fixture
def make(make_app: MakeApp) -> MakeApp:
    """Make apps with all endpoints on SQLite."""

    def make(**config: t.Any) -> Flask:
        app = make_app(**{"LOGOUT_ENDPOINTS": ENDPOINTS, **config})
        add_session_routes(app)
        return app

    return make


@pytest.fixture
def app(make: MakeApp) -> Flask:
    """An app with all endpoints."""
    return make()


def refresh(client: FlaskClient, token: str, **options: t.Any) -> TestResponse:
    """Send a refresh token in the header."""
    return client.post("/auth/refresh", headers=bearer(token), **options)


def new_pair(response: TestResponse) -> Pair:
    """Check the response to a refresh, and return the new tokens."""
    assert response.status_code == 200, response.data
    assert response.headers["Cache-Control"] == "no-store"
    assert response.content_type == "application/json"
    body = response.get_json()
    data = body.pop("data")
    assert body == {"code": 200, "message": "token refreshed"}
    assert list(data) == ["access_token", "refresh_token"]
    return Pair(data["access_token"], data["refresh_token"])


def assert_rejected(response: TestResponse, description: str | None) -> None:
    """Check that a response is the documented 401."""
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)
    assert response.headers["Cache-Control"] == "no-store"
    challenge = "Bearer"
    if description is not None:
        challenge += f' error="invalid_token", error_description="{description}"'
    assert response.headers["WWW-Authenticate"] == challenge


def list_sessions(client: FlaskClient, pair: Pair, query: str = "") -> dict[str, t.Any]:
    """List the sessions of a user, and return the data."""
    response = client.get(f"/auth/sessions{query}", headers=bearer(pair.access))
    assert response.status_code == 200, response.data
    assert response.headers["Cache-Control"] == "no-store"
    body = response.get_json()
    data = body.pop("data")
    assert body == {"code": 200, "message": "ok"}
    return t.cast("dict[str, t.Any]", data)


def end(client: FlaskClient, pair: Pair, sid: str) -> TestResponse:
    """End a session."""
    return client.delete(f"/auth/sessions/{sid}", headers=bearer(pair.access))


# Refresh


def test_a_refresh_returns_new_tokens(app: Flask) -> None:
    client = app.test_client()
    first = log_in(client)
    second = new_pair(refresh(client, first.refresh))
    assert (generation(second), sid_of(second)) == (1, sid_of(first))
    assert get_status(client, second) == (200, 200)
    assert claims_of(second.access)["fresh"] is False


@pytest.mark.parametrize("location", ["query_string", "json"])
def test_the_token_may_come_from_other_locations(make: MakeApp, location: str) -> None:
    app = make(JWT_TOKEN_LOCATION=[location, "headers"])
    client = app.test_client()
    pair = log_in(client)
    options: dict[str, t.Any] = (
        {"query_string": {"jwt": pair.refresh}}
        if location == "query_string"
        else {"json": {"refresh_token": pair.refresh}}
    )
    assert generation(new_pair(client.post("/auth/refresh", **options))) == 1
    assert_rejected(client.post("/auth/refresh", json=[1]), None)


def test_cookies_are_set_and_unset(make: MakeApp) -> None:
    app = make(**COOKIES, LOGOUT_ROTATION_GRACE=0)
    client = app.test_client()
    first = log_in(client)
    old = client.get_cookie("refresh_token_cookie", path="/")
    assert old is not None and old.value == first.refresh
    assert_rejected(client.post("/auth/refresh"), "Missing CSRF token")
    with app.app_context():
        headers = {"X-CSRF-TOKEN": get_csrf_token(first.refresh)}
    second = new_pair(client.post("/auth/refresh", headers=headers))
    assert client.get_cookie("access_token_cookie").value == second.access  # type: ignore[union-attr]
    client.set_cookie("refresh_token_cookie", first.refresh)
    response = client.post("/auth/refresh", headers=headers)
    assert_rejected(response, "Refresh token has been used")
    assert client.get_cookie("refresh_token_cookie") is None
    assert client.get_cookie("access_token_cookie") is None


def test_cookies_stay_if_the_store_is_unavailable(make: MakeApp) -> None:
    app = make(**COOKIES)
    client = app.test_client()
    pair = log_in(client)
    with app.app_context():
        headers = {"X-CSRF-TOKEN": get_csrf_token(pair.refresh)}
        app.extensions["sqlalchemy"].drop_all()
    response = client.post("/auth/refresh", headers=headers)
    assert (response.status_code, response.data) == (503, UNAVAILABLE)
    assert response.headers["Retry-After"] == "5"
    assert client.get_cookie("refresh_token_cookie") is not None


def test_a_csrf_token_that_is_not_ascii_is_rejected(make: MakeApp) -> None:
    client = make(**COOKIES).test_client()
    log_in(client)
    response = client.post("/auth/refresh", headers={"X-CSRF-TOKEN": "é"})
    assert_rejected(response, "CSRF double submit tokens do not match")


def test_invalid_tokens_are_rejected(app: Flask) -> None:
    client = app.test_client()
    pair = log_in(client)
    assert_rejected(client.post("/auth/refresh"), None)
    only = "Only refresh tokens are allowed"
    assert_rejected(refresh(client, pair.access), only)
    assert_rejected(refresh(client, expired(app).refresh), "Signature has expired")
    failed = "Signature verification failed"
    assert_rejected(refresh(client, tampered(pair.refresh)), failed)
    assert_rejected(refresh(client, "x"), "Not enough segments")
    assert get_status(client, pair) == (200, 200)


def test_a_reused_token_is_rejected_and_ends_the_session(app: Flask) -> None:
    client = app.test_client()
    first = log_in(client)
    second = new_pair(refresh(client, first.refresh))
    assert generation(new_pair(refresh(client, first.refresh))) == 1
    age(app, second, 31)
    assert_rejected(refresh(client, first.refresh), "Refresh token has been used")
    assert_rejected(refresh(client, first.refresh), "Token has been revoked")
    assert_rejected(refresh(client, second.refresh), "Token has been revoked")
    assert get_status(client, second) == (401, 401)
    assert revocations_of(app) == [("session", "token_reuse")]


def test_a_token_that_was_logged_out_is_rejected(app: Flask) -> None:
    client = app.test_client()
    pair = log_in(client)
    assert log_out(client, pair).data == LOGGED_OUT
    assert_rejected(refresh(client, pair.refresh), "Token has been revoked")


def test_a_session_that_has_lasted_too_long_is_rejected(make: MakeApp) -> None:
    app = make()
    with time_machine.travel(time.time() - 3600):
        pair = log_in(app.test_client())
    limited = make(LOGOUT_SESSION_LIFETIME=600).test_client()
    assert_rejected(refresh(limited, pair.refresh), "Session has expired")


def test_the_loaders_of_the_app_are_called(make: MakeApp) -> None:
    app = make()
    jwt: JWTManager = app.extensions["flask-jwt-extended"]
    known = {"ada": "a user"}
    jwt.user_lookup_loader(lambda _, claims: known.get(claims["sub"]))
    jwt.user_identity_loader(lambda user: "ada" if user == "a user" else user)
    client = app.test_client()
    pair = log_in(client)
    assert generation(new_pair(refresh(client, pair.refresh))) == 1
    known.clear()
    response = refresh(client, pair.refresh)
    assert response.status_code == 401
    assert "user_lookup returned None" in response.headers["WWW-Authenticate"]


def test_a_bug_in_a_loader_is_no_invalid_token(make: MakeApp) -> None:
    app = make()
    jwt: JWTManager = app.extensions["flask-jwt-extended"]
    jwt.user_lookup_loader(lambda _, claims: claims["no such claim"])
    with pytest.raises(KeyError):
        refresh(app.test_client(), make_pair(app).refresh)


def test_the_blocklist_loader_of_the_app_is_called(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_ENDPOINTS=["refresh"])
    blocked = app.extensions["flask-jwt-extended"]._token_in_blocklist_callback
    pair = make_pair(app)
    jti: str | None = claims_of(pair.refresh)["jti"]
    blocked.previous = lambda header, claims: claims["jti"] == jti
    try:
        assert_rejected(
            refresh(app.test_client(), pair.refresh), "Token has been revoked"
        )
        jti = None
        new_pair(refresh(app.test_client(), pair.refresh))
    finally:
        blocked.previous = None


def test_a_body_that_is_too_large_is_not_read(make: MakeApp) -> None:
    app = make(MAX_CONTENT_LENGTH=1000, JWT_TOKEN_LOCATION=["json"])
    response = app.test_client().post("/auth/refresh", json={"x": 2000 * "x"})
    assert (response.status_code, response.data) == (413, TOO_LARGE)


def test_an_unavailable_store_is_a_503(app: Flask) -> None:
    client = app.test_client()
    pair = log_in(client)
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()
    for response in (
        refresh(client, pair.refresh),
        client.get("/auth/sessions", headers=bearer(pair.access)),
        end(client, pair, sid_of(pair)),
    ):
        assert (response.status_code, response.data) == (503, UNAVAILABLE)


def test_a_login_without_a_store_is_a_503(app: Flask) -> None:
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()
    response = app.test_client().post("/login", json={"identity": "ada"})
    assert (response.status_code, response.data) == (503, UNAVAILABLE)


# List


def test_the_sessions_of_the_user_are_listed(make: MakeApp) -> None:
    app = make(LOGOUT_SESSION_DETAILS=["label", "user_agent", "ip_address"])
    client = app.test_client()
    first, second = log_in(client, label="phone"), log_in(client)
    log_in(client, "bob")
    before = datetime.now(timezone.utc)
    data = list_sessions(client, first)
    assert data["next"] is None
    newest, oldest = data["sessions"]
    assert list(newest) == [
        *("id", "current", "created_at", "last_seen_at"),
        *("user_agent", "ip_address", "label"),
    ]
    assert (newest["id"], newest["current"]) == (sid_of(second), False)
    assert (oldest["id"], oldest["current"]) == (sid_of(first), True)
    assert (oldest["label"], newest["label"]) == ("phone", None)
    assert oldest["ip_address"] == "127.0.0.1"
    assert oldest["user_agent"].startswith(("Werkzeug/", "werkzeug/"))
    for text in (oldest["created_at"], oldest["last_seen_at"]):
        assert text.endswith("Z")
    began = datetime.fromisoformat(oldest["created_at"].replace("Z", "+00:00"))
    assert abs(began.timestamp() - claims_of(first.access)["login_at"]) < 1e-3
    # For the current session, it is the time of the request.
    seen = datetime.fromisoformat(oldest["last_seen_at"].replace("Z", "+00:00"))
    assert before <= seen <= datetime.now(timezone.utc)
    seen = datetime.fromisoformat(newest["last_seen_at"].replace("Z", "+00:00"))
    assert seen <= before + timedelta(seconds=1)


def test_nothing_about_the_client_is_kept_by_default(app: Flask) -> None:
    client = app.test_client()
    (session,) = list_sessions(client, log_in(client))["sessions"]
    assert {session[x] for x in ("user_agent", "ip_address", "label")} == {None}


def test_pages_contain_every_session_once(app: Flask) -> None:
    client = app.test_client()
    pairs = [log_in(client) for _ in range(5)]
    listed, cursor, sizes = [], "", []
    while True:
        data = list_sessions(client, pairs[0], f"?limit=2{cursor}")
        listed += [x["id"] for x in data["sessions"]]
        sizes.append(len(data["sessions"]))
        if data["next"] is None:
            break
        cursor = f"&cursor={data['next']}"
    assert listed == [sid_of(x) for x in reversed(pairs)]
    assert sizes == [2, 2, 1]
    assert list_sessions(client, pairs[0], "?limit=5")["next"] is None


@pytest.mark.parametrize(
    ("query", "key", "message", "value"),
    [
        ("limit=ten", "limit", "integer_expected", "ten"),
        ("limit=-1", "limit", "integer_expected", "-1"),
        ("limit=1.0", "limit", "integer_expected", "1.0"),
        ("limit=", "limit", "integer_expected", ""),
        ("limit=%D9%A3", "limit", "integer_expected", "\u0663"),
        ("limit=99999999999999", "limit", "integer_expected", "999999999999…"),
        ("limit=0", "limit", "out_of_range", "0"),
        ("limit=101", "limit", "out_of_range", "101"),
        ("cursor=", "cursor", "invalid", ""),
        ("cursor=%C3%A9", "cursor", "invalid", "é"),
        ("cursor=AAAA", "cursor", "invalid", "AAAA"),
        ("cursor=f" + 31 * "_", "cursor", "invalid", "f" + 11 * "_" + "…"),
    ],
)
def test_an_invalid_query_is_rejected(
    app: Flask, query: str, key: str, message: str, value: str
) -> None:
    client = app.test_client()
    headers = bearer(log_in(client).access)
    response = client.get(f"/auth/sessions?{query}", headers=headers)
    assert response.status_code == 400
    assert response.data == validation_failed(key, message, value)


def test_a_cursor_before_every_session_leads_to_an_empty_page(app: Flask) -> None:
    client = app.test_client()
    data = list_sessions(client, log_in(client), "?cursor=" + 32 * "_")
    assert data == {"sessions": [], "next": None}


def test_both_parameters_can_be_invalid(app: Flask) -> None:
    client = app.test_client()
    headers = bearer(log_in(client).access)
    response = client.get("/auth/sessions?limit=0&cursor=x", headers=headers)
    errors = response.get_json()["data"]["errors"]
    assert [(x["key"], x["message"]) for x in errors] == [
        ("limit", "out_of_range"),
        ("cursor", "invalid"),
    ]


def test_a_token_without_a_session_lists_no_current_one(app: Flask) -> None:
    client = app.test_client()
    pair = log_in(client)
    data = list_sessions(client, make_pair(app))
    assert [(x["id"], x["current"]) for x in data["sessions"]] == [
        (sid_of(pair), False)
    ]


def test_sessions_of_another_issuer_are_not_listed(make: MakeApp) -> None:
    issuers = {"JWT_DECODE_ISSUER": ["a", "b"]}
    first = make(JWT_ENCODE_ISSUER="a", **issuers)
    second = make(JWT_ENCODE_ISSUER="b", **issuers)
    ours, theirs = log_in(first.test_client()), log_in(second.test_client())
    data = list_sessions(first.test_client(), ours)
    assert [x["id"] for x in data["sessions"]] == [sid_of(ours)]
    response = end(first.test_client(), ours, sid_of(theirs))
    assert (response.status_code, response.data) == (404, NOT_FOUND)


def test_a_list_needs_an_access_token(app: Flask) -> None:
    client = app.test_client()
    pair = log_in(client)
    assert_rejected(client.get("/auth/sessions"), None)
    response = client.get("/auth/sessions", headers=bearer(pair.refresh))
    assert_rejected(response, "Only non-refresh tokens are allowed")
    log_out(client, pair)
    response = client.get("/auth/sessions", headers=bearer(pair.access))
    assert_rejected(response, "Token has been revoked")


# End


def test_a_session_is_ended(app: Flask) -> None:
    client = app.test_client()
    first, second = log_in(client), log_in(client)
    renewed = new_pair(refresh(client, second.refresh))
    response = end(client, first, sid_of(second))
    assert (response.status_code, response.data) == (200, ENDED)
    assert response.headers["Cache-Control"] == "no-store"
    assert get_status(client, renewed) == (401, 401)
    assert get_status(client, first) == (200, 200)
    assert sids_of(app) == [sid_of(first)]
    assert revocations_of(app) == [("session", "logout")]


def test_a_session_of_somebody_else_looks_unknown(app: Flask) -> None:
    client = app.test_client()
    mine, theirs = log_in(client), log_in(client, "bob")
    unknown, foreign = end(client, mine, "unknown"), end(client, mine, sid_of(theirs))
    assert (unknown.status_code, unknown.data) == (404, NOT_FOUND)
    assert (foreign.status_code, foreign.data) == (404, NOT_FOUND)
    assert dict(unknown.headers) == dict(foreign.headers)
    assert get_status(client, theirs) == (200, 200)
    assert revocations_of(app) == []


def test_ending_the_current_session_unsets_its_cookies(make: MakeApp) -> None:
    app = make(**COOKIES)
    client = app.test_client()
    other = log_in(client)
    pair = log_in(client)
    with app.app_context():
        headers = {"X-CSRF-TOKEN": get_csrf_token(pair.access)}
    client.delete(f"/auth/sessions/{sid_of(other)}", headers=headers)
    assert client.get_cookie("access_token_cookie") is not None
    response = client.delete(f"/auth/sessions/{sid_of(pair)}", headers=headers)
    assert response.data == ENDED
    assert client.get_cookie("access_token_cookie") is None
    assert client.get_cookie("refresh_token_cookie") is None


def test_a_fresh_token_can_be_required(make: MakeApp) -> None:
    app = make(LOGOUT_REQUIRE_FRESH=True)
    client = app.test_client()
    first = log_in(client)
    stale = new_pair(refresh(client, first.refresh))
    response = end(client, stale, sid_of(first))
    assert_rejected(response, "Fresh token required")
    assert len(list_sessions(client, stale)["sessions"]) == 1
    assert end(client, first, sid_of(first)).data == ENDED


def test_a_mirror_knows_a_session_that_was_ended(make: MakeApp) -> None:
    app = make(LOGOUT_MAX_STALENESS=60)
    client = app.test_client()
    first, second, third = (log_in(client) for _ in range(3))
    assert get_status(client, second) == (200, 200)
    assert end(client, first, sid_of(second)).data == ENDED
    assert get_status(client, second) == (401, 401)
    fourth = new_pair(refresh(client, third.refresh))
    age(app, fourth, 31)
    assert_rejected(refresh(client, third.refresh), "Refresh token has been used")
    assert get_status(client, fourth) == (401, 401)


# Features that are off


def test_without_sessions_nothing_of_them_is_imported(tmp_path: t.Any) -> None:
    code = """
import sys
from flask import Flask
from flask_logout import LogoutExtension
app = Flask("x", instance_path=sys.argv[1])
app.config["JWT_SECRET_KEY"] = 40 * "x"
LogoutExtension(app)
app.test_client().post("/auth/logout")
words = ("session", "minting", "rotation", "views.refresh")
names = [x for x in sys.modules if x.startswith("flask_logout.")]
print(*[x for x in names if any(word in x for word in words)])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    # These two say that sessions are off.
    assert sorted(done.stdout.split()) == [
        "flask_logout.cli.session_commands",
        "flask_logout.extension_sessions",
    ]


def test_a_generation_that_is_no_number_counts_as_0(app: Flask) -> None:
    claims = claims_of(log_in(app.test_client()).refresh)
    for value in (-1, 1.5, True, "1", None, 1 << 60):
        token = encode(app, **{**claims, "sid": str(value), "generation": value})
        assert generation(new_pair(refresh(app.test_client(), token))) == 1
