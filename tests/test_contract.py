"""The HTTP contract of the endpoint, on every kind of database."""

from __future__ import annotations

import json
import typing as t
from datetime import timedelta

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_logout import ExternalAPIError
from flask_logout import LogoutTokens

from .conftest import MakeApp
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


@pytest.fixture
def host(make_app: MakeApp, database_url: str) -> Flask:
    """An app on each kind of database."""
    return make_app(SQLALCHEMY_DATABASE_URI=database_url, MAX_CONTENT_LENGTH=20_000)


@pytest.fixture
def http(host: Flask) -> FlaskClient:
    """A test client of that app."""
    return host.test_client()


def test_logout_revokes_both_tokens(host: Flask, http: FlaskClient) -> None:
    pair, other = make_pair(host), make_pair(host)
    assert get_status(http, pair) == (200, 200)
    response = log_out(http, pair)
    assert (response.status_code, response.data) == (200, LOGGED_OUT)
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert get_status(http, pair) == (401, 401)
    assert get_status(http, other) == (200, 200)


def test_a_second_logout_is_rejected(host: Flask, http: FlaskClient) -> None:
    pair = make_pair(host)
    log_out(http, pair)
    response = log_out(http, pair)
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)
    assert response.headers["WWW-Authenticate"] == (
        'Bearer error="invalid_token", error_description="Token has been revoked"'
    )


def invalid_access_tokens(app: Flask) -> dict[str, tuple[str | None, str]]:
    """Map each kind of invalid access token to its header and its description."""
    good = make_pair(app)
    claims = claims_of(good.access)
    foreign = jwt.encode(claims, "k" * 32, "HS256")
    return {
        "missing": (None, ""),
        "malformed": ("Bearer x.y", "Not enough segments"),
        "two parts": ("Bearer x y", "Bad Authorization header. Expected"),
        "forged": (f"Bearer {tampered(good.access)}", "Signature verification failed"),
        "foreign": (f"Bearer {foreign}", "Signature verification failed"),
        "unsigned": (
            f"Bearer {jwt.encode(claims, '', 'none')}",
            "The specified alg value is not allowed",
        ),
        "expired": (f"Bearer {expired(app).access}", "Signature has expired"),
        "refresh": (f"Bearer {good.refresh}", "Only non-refresh tokens are allowed"),
        "deep": (
            "Bearer " + jwt.encode({}, "k" * 32).split(".")[0] + "." + "W1tb" * 1300,
            "",
        ),
    }


@pytest.mark.parametrize(
    "case",
    [
        "missing",
        "malformed",
        "two parts",
        "forged",
        "foreign",
        "unsigned",
        "expired",
        "refresh",
        "deep",
    ],
)
def test_an_invalid_access_token_is_rejected(
    host: Flask, http: FlaskClient, case: str
) -> None:
    pair = make_pair(host)
    header, description = invalid_access_tokens(host)[case]
    response = http.post(
        "/auth/logout",
        headers={} if header is None else {"Authorization": header},
        json={"refresh_token": pair.refresh},
    )
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    challenge = response.headers["WWW-Authenticate"]
    if header is None:
        assert challenge == "Bearer"
    else:
        start = f'Bearer error="invalid_token", error_description="{description}'
        assert challenge.startswith(start)
        assert len(header) < 20 or header.split()[-1] not in challenge
    assert get_status(http, pair) == (200, 200)


@pytest.mark.parametrize(
    ("body", "content_type", "value"),
    [
        (b"", "application/json", ""),
        (b"", None, ""),
        (b"{", "application/json", ""),
        (b"\xff", "application/json", ""),
        (b"1" * 5000, "application/json", ""),
        (b"[" * 19_000, "application/json", ""),
        (b'{"refresh_token":"x"}', "text/plain", ""),
        (b"refresh_token=x", "application/x-www-form-urlencoded", ""),
        (b"[1,2]", "application/json", "[1, 2]"),
        (b'"a string that is long"', "application/json", "a string tha…"),
        (b"7", "application/json", "7"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_rejected(
    host: Flask, http: FlaskClient, body: bytes, content_type: str | None, value: str
) -> None:
    pair = make_pair(host)
    response = http.post(
        "/auth/logout",
        headers=bearer(pair.access),
        data=body,
        content_type=content_type,
    )
    assert response.status_code == 400
    assert response.data == validation_failed("body", "invalid_json", value)
    assert response.headers["Cache-Control"] == "no-store"
    assert get_status(http, pair) == (200, 200)


@pytest.mark.parametrize(
    ("field", "message", "value"),
    [
        ({}, "required", ""),
        ({"refresh_token": None}, "required", "null"),
        ({"refresh_token": ""}, "required", ""),
        ({"refresh_token": " \t"}, "required", " \\t"),
        ({"refresh_token": 7}, "string_expected", "7"),
        ({"refresh_token": True}, "string_expected", "true"),
        ({"refresh_token": ["x" * 99]}, "string_expected", '[\\"' + "x" * 62 + "…"),
        ({"refresh_token": {"a": "é"}}, "string_expected", '{\\"a\\": \\"é\\"}'),
        ({"refresh_token": "x" * 8193}, "too_long", "x" * 12 + "…"),
        ({"refresh_token": "x" * 8192}, "invalid", "x" * 12 + "…"),
        ({"refresh_token": "a.b.c"}, "invalid", "a.b.c"),
        ({"refresh_token": "\ud800"}, "invalid", "?"),
    ],
)
def test_an_invalid_refresh_token_field_is_rejected(
    host: Flask,
    http: FlaskClient,
    field: dict[str, t.Any],
    message: str,
    value: str,
) -> None:
    pair = make_pair(host)
    response = http.post("/auth/logout", headers=bearer(pair.access), json=field)
    assert response.status_code == 400
    assert response.data == validation_failed("refresh_token", message, value)
    assert get_status(http, pair) == (200, 200)


@pytest.mark.parametrize("case", ["forged", "foreign", "not yet", "no identity"])
def test_an_invalid_refresh_token_is_rejected(
    host: Flask, http: FlaskClient, case: str
) -> None:
    pair = make_pair(host)
    claims = claims_of(pair.refresh)
    token = {
        "forged": tampered(pair.refresh),
        "foreign": jwt.encode(claims, "k" * 32, "HS256"),
        "not yet": encode(host, **{**claims, "nbf": claims["nbf"] + 600}),
        "no identity": encode(host, type="refresh", jti="1"),
    }[case]
    response = log_out(http, Pair(pair.access, token))
    assert response.status_code == 400
    expected = validation_failed("refresh_token", "invalid", f"{token[:12]}…")
    assert response.data == expected
    assert get_status(http, pair) == (200, 200)


def test_a_token_of_another_type_is_rejected(host: Flask, http: FlaskClient) -> None:
    pair = make_pair(host)
    response = log_out(http, Pair(pair.access, pair.access))
    assert response.status_code == 400
    assert response.data == validation_failed(
        "refresh_token", "wrong_token_type", f"{pair.access[:12]}…"
    )
    assert get_status(http, pair) == (200, 200)


@pytest.mark.parametrize(
    "other", [{"identity": "eve"}, {"additional_claims": {"iss": "elsewhere"}}]
)
def test_a_refresh_token_of_another_user_is_rejected(
    host: Flask, http: FlaskClient, other: dict[str, t.Any]
) -> None:
    mine, theirs = make_pair(host), make_pair(host, **other)
    response = log_out(http, Pair(mine.access, theirs.refresh))
    assert response.status_code == 400
    assert response.data == validation_failed(
        "refresh_token", "wrong_subject", f"{theirs.refresh[:12]}…"
    )
    assert get_status(http, mine) == (200, 200)
    assert get_status(http, theirs) == (200, 200)


@pytest.mark.parametrize("is_array", [False, True])
def test_an_external_api_error_revokes_nothing(
    host: Flask, http: FlaskClient, is_array: bool
) -> None:
    details: t.Any = [1, None] if is_array else {"status": 502, "hint": None}

    def fail(_: LogoutTokens) -> None:
        raise ExternalAPIError(details=details)

    host.extensions["logout"].upstreams.append(fail)
    pair = make_pair(host)
    response = log_out(http, pair)
    assert response.status_code == 400
    assert (
        response.data
        == (
            b'{"code":400,"message":"external api error","data":{"type":'
            b'"external_api_error","errors":[],"details":%b}}'
        )
        % json.dumps(details, separators=(",", ":")).encode()
    )
    assert response.headers["Cache-Control"] == "no-store"
    assert get_status(http, pair) == (200, 200)


def test_a_body_that_is_too_large_is_rejected(host: Flask, http: FlaskClient) -> None:
    pair = make_pair(host)
    response = log_out(http, Pair(pair.access, "x" * 20_000))
    assert (response.status_code, response.data) == (413, TOO_LARGE)
    assert response.headers["Cache-Control"] == "no-store"
    assert get_status(http, pair) == (200, 200)


def test_every_protected_route_returns_503_if_the_store_is_unavailable(
    host: Flask, http: FlaskClient
) -> None:
    pair = make_pair(host)
    db = host.extensions["sqlalchemy"]
    with host.app_context():
        db.drop_all()
    for response in (
        log_out(http, pair),
        http.get("/me", headers=bearer(pair.access)),
        http.post("/refresh", headers=bearer(pair.refresh)),
    ):
        assert (response.status_code, response.data) == (503, UNAVAILABLE)
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert int(response.headers["Retry-After"]) > 0
    assert http.get("/open").status_code == 200
    with host.app_context():
        db.create_all()
    assert get_status(http, pair) == (200, 200)


def test_an_expired_or_revoked_refresh_token_is_accepted(
    host: Flask, http: FlaskClient
) -> None:
    first, second, third = make_pair(host), make_pair(host), make_pair(host)
    log_out(http, first)
    response = log_out(http, Pair(second.access, first.refresh))
    assert (response.status_code, response.data) == (200, LOGGED_OUT)
    assert get_status(http, second) == (401, 200)
    response = log_out(http, Pair(third.access, expired(host).refresh))
    assert (response.status_code, response.data) == (200, LOGGED_OUT)
    assert get_status(http, third) == (401, 200)


def test_unknown_fields_are_ignored(host: Flask, http: FlaskClient) -> None:
    pair = make_pair(host)
    response = http.post(
        "/auth/logout",
        headers=bearer(pair.access),
        json={"refresh_token": pair.refresh, "token_type_hint": "access_token"},
    )
    assert (response.status_code, response.data) == (200, LOGGED_OUT)


def test_the_prefix_can_be_set(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_URL_PREFIX="/api/auth")
    pair, client = make_pair(app), app.test_client()
    assert log_out(client, pair).status_code == 404
    assert log_out(client, pair, "/api/auth/logout").data == LOGGED_OUT


def test_an_expired_access_token_is_accepted_within_the_grace_period(
    make_app: MakeApp,
) -> None:
    app = make_app(LOGOUT_EXPIRED_ACCESS_GRACE=timedelta(minutes=5))
    client, valid = app.test_client(), make_pair(app)
    late = Pair(expired(app, 299).access, valid.refresh)
    assert client.get("/me", headers=bearer(late.access)).status_code == 401
    assert log_out(client, late).data == LOGGED_OUT
    assert get_status(client, valid) == (200, 401)
    assert log_out(client, late).data == INVALID_TOKEN


def test_the_grace_period_applies_to_expired_access_tokens_only(
    make_app: MakeApp,
) -> None:
    app = make_app(LOGOUT_EXPIRED_ACCESS_GRACE=timedelta(minutes=5))
    client, valid = app.test_client(), make_pair(app)
    late = expired(app, 60)
    for access in (expired(app, 302).access, late.refresh, tampered(late.access)):
        response = log_out(client, Pair(access, valid.refresh))
        assert (response.status_code, response.data) == (401, INVALID_TOKEN)
    app.extensions["flask-jwt-extended"].token_verification_loader(lambda h, c: False)
    response = log_out(client, Pair(late.access, valid.refresh))
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)
