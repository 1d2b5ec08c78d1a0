"""Logging out with the settings and loaders of Flask-JWT-Extended."""

from __future__ import annotations

import typing as t
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization import NoEncryption
from cryptography.hazmat.primitives.serialization import PrivateFormat
from cryptography.hazmat.primitives.serialization import PublicFormat
from flask import abort
from flask import Flask
from flask import jsonify
from flask import Response
from flask.testing import FlaskClient
from flask_jwt_extended import JWTManager

from .conftest import MakeApp
from .conftest import SECRET
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
from .tokens import validation_failed


def jwt_of(app: Flask) -> JWTManager:
    """Return the JWTManager of an app."""
    return t.cast(JWTManager, app.extensions["flask-jwt-extended"])


def assert_logs_out(app: Flask, pair: Pair) -> None:
    """Check that a pair is accepted, logs out, and is then rejected."""
    client = app.test_client()
    assert get_status(client, pair) == (200, 200)
    response = log_out(client, pair)
    assert (response.status_code, response.data) == (200, LOGGED_OUT)
    assert get_status(client, pair) == (401, 401)


def key_pair(private: t.Any) -> dict[str, bytes]:
    """Make the settings for a private key."""
    return {
        "JWT_PRIVATE_KEY": private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
        "JWT_PUBLIC_KEY": private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        ),
    }


@pytest.mark.parametrize(
    "config",
    [
        {"JWT_ALGORITHM": "HS512", "JWT_SECRET_KEY": "k" * 64},
        {"JWT_ALGORITHM": "RS256", **key_pair(rsa.generate_private_key(65537, 2048))},
        {"JWT_ALGORITHM": "ES256", **key_pair(ec.generate_private_key(ec.SECP256R1()))},
        {"JWT_ENCODE_ISSUER": "us"},
        {"JWT_ENCODE_ISSUER": "us", "JWT_DECODE_ISSUER": "us"},
        {"JWT_ENCODE_ISSUER": "us", "JWT_DECODE_ISSUER": ["us", "them"]},
        {"JWT_ENCODE_AUDIENCE": "app", "JWT_DECODE_AUDIENCE": ["app", "web"]},
        {"JWT_IDENTITY_CLAIM": "uid"},
        {"JWT_DECODE_LEEWAY": 30},
        {"JWT_DECODE_LEEWAY": timedelta(seconds=30)},
        {"JWT_ACCESS_TOKEN_EXPIRES": False, "JWT_REFRESH_TOKEN_EXPIRES": False},
        {"JWT_ACCESS_TOKEN_EXPIRES": 60, "JWT_REFRESH_TOKEN_EXPIRES": 3600},
        {"JWT_ENCODE_NBF": False},
        {"JWT_TOKEN_LOCATION": ["query_string", "json", "cookies", "headers"]},
        {"JWT_TOKEN_LOCATION": ("headers", "json")},
    ],
    ids=lambda config: ",".join(f"{k}" for k in config),
)
def test_logout_works_in_every_configuration(
    make_app: MakeApp, config: dict[str, t.Any]
) -> None:
    app = make_app(**config)
    assert_logs_out(app, make_pair(app))


def test_key_loaders_are_used(make_app: MakeApp) -> None:
    app = make_app()
    keys = {"ada": "a" * 32, "eve": "e" * 32}
    jwt_of(app).encode_key_loader(lambda identity: keys[identity])
    jwt_of(app).decode_key_loader(lambda header, claims: keys[claims["sub"]])
    assert_logs_out(app, make_pair(app, "ada"))
    pair, unknown = make_pair(app, "ada"), encode(app, sub="mallory", type="refresh")
    response = log_out(app.test_client(), Pair(pair.access, unknown))
    assert response.data == validation_failed(
        "refresh_token", "invalid", f"{unknown[:12]}…"
    )
    response = log_out(app.test_client(), Pair(unknown, pair.refresh))
    assert response.data == INVALID_TOKEN
    assert response.headers["WWW-Authenticate"] == (
        'Bearer error="invalid_token", error_description="The token cannot be decoded"'
    )


def test_another_header_name_and_type_are_used(make_app: MakeApp) -> None:
    app = make_app(JWT_HEADER_NAME="X-Auth", JWT_HEADER_TYPE="JWT")
    pair, client = make_pair(app), app.test_client()
    body = {"refresh_token": pair.refresh}
    assert client.post("/auth/logout", json=body).data == INVALID_TOKEN
    headers = {"X-Auth": f"JWT {pair.access}"}
    response = client.post("/auth/logout", json=body, headers=headers)
    assert response.data == LOGGED_OUT
    response = client.post("/auth/logout", json=body, headers=headers)
    assert response.data == INVALID_TOKEN
    assert response.headers["WWW-Authenticate"].startswith("Bearer error=")


def test_a_query_string_is_used(make_app: MakeApp) -> None:
    app = make_app(JWT_TOKEN_LOCATION="query_string")
    pair, client = make_pair(app), app.test_client()
    for expected in (LOGGED_OUT, INVALID_TOKEN):
        response = client.post(
            f"/auth/logout?jwt={pair.access}", json={"refresh_token": pair.refresh}
        )
        assert response.data == expected


@pytest.mark.parametrize(
    "body", [None, [1], "x", {}, {"access_token": 7}, {"access_token": {"a": 1}}]
)
def test_a_body_without_an_access_token_is_rejected(
    make_app: MakeApp, body: object
) -> None:
    app = make_app(JWT_TOKEN_LOCATION=["json"])
    client = app.test_client()
    response = client.post("/auth/logout", json=body)
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)


def test_a_body_with_both_tokens_is_used(make_app: MakeApp) -> None:
    app = make_app(JWT_TOKEN_LOCATION=["json"])
    pair, client = make_pair(app), app.test_client()
    body = {"access_token": pair.access, "refresh_token": pair.refresh}
    assert client.post("/auth/logout", json=body).data == LOGGED_OUT
    assert client.post("/auth/logout", json=body).data == INVALID_TOKEN


def test_tokens_without_jti_are_revoked(make_app: MakeApp) -> None:
    app = make_app()
    common = {"sub": "ada", "iat": 1}
    pair = Pair(encode(app, **common), encode(app, **common, type="refresh"))
    other = Pair(
        encode(app, sub="ada", iat=2), encode(app, sub="ada", iat=2, type="refresh")
    )
    assert_logs_out(app, pair)
    assert get_status(app.test_client(), other) == (200, 200)


def test_integer_subjects_are_revoked(make_app: MakeApp) -> None:
    app = make_app(JWT_VERIFY_SUB=False)
    assert_logs_out(app, make_pair(app, 7))
    as_text = Pair(make_pair(app, 7).access, make_pair(app, "7").refresh)
    assert_logs_out(app, as_text)


def test_a_revocation_is_kept_for_the_leeway(make_app: MakeApp) -> None:
    app = make_app(JWT_DECODE_LEEWAY=300, LOGOUT_PURGE_MARGIN=0)
    pair = expired(app, 200)
    assert_logs_out(app, pair)
    with app.app_context():
        assert list(app.extensions["logout"].purge()) == [0]
    assert get_status(app.test_client(), pair) == (401, 401)


@pytest.mark.parametrize("kind", ["none", "raises", "aborts"])
def test_logout_works_for_deleted_users(make_app: MakeApp, kind: str) -> None:
    app = make_app()

    def load(header: t.Any, claims: t.Any) -> None:
        if kind == "raises":
            raise RuntimeError("no such user")
        if kind == "aborts":
            abort(404)

    jwt_of(app).user_lookup_loader(load)
    pair = make_pair(app)
    assert log_out(app.test_client(), pair).data == LOGGED_OUT
    assert log_out(app.test_client(), pair).data == INVALID_TOKEN


def test_the_verification_loader_is_called(make_app: MakeApp) -> None:
    app = make_app()
    jwt_of(app).token_verification_loader(lambda header, claims: False)
    response = log_out(app.test_client(), make_pair(app))
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)
    assert response.headers["WWW-Authenticate"] == (
        'Bearer error="invalid_token",'
        ' error_description="User claims verification failed"'
    )


def make_cookie_app(make_app: MakeApp, **config: t.Any) -> Flask:
    app = make_app(JWT_TOKEN_LOCATION=["headers", "cookies"], **config)

    @app.post("/login")
    def login() -> Response:
        return with_cookies(make_pair(app))

    @app.post("/login-expired")
    def login_expired() -> Response:
        return with_cookies(expired(app))

    return app


def with_cookies(pair: Pair) -> Response:
    response = jsonify()
    for name, token in (("access", pair.access), ("refresh", pair.refresh)):
        response.set_cookie(f"{name}_token_cookie", token)
        response.set_cookie(f"csrf_{name}_token", claims_of(token)["csrf"])
    return response


def csrf(client: FlaskClient) -> dict[str, str]:
    """Make the header with the CSRF token of the access cookie."""
    cookie = client.get_cookie("csrf_access_token")
    assert cookie is not None
    return {"X-CSRF-TOKEN": cookie.value}


def cookies_of(client: FlaskClient) -> list[str]:
    """List the token cookies and CSRF cookies that the client still has."""
    names = [f"{kind}_token_cookie" for kind in ("access", "refresh")]
    names += [f"csrf_{kind}_token" for kind in ("access", "refresh")]
    return [name for name in names if client.get_cookie(name)]


@pytest.mark.parametrize(
    "body",
    [{}, {"json": {}}, {"data": {"a": "form"}}, {"content_type": "application/json"}],
)
def test_both_tokens_may_come_from_cookies(make_app: MakeApp, body: t.Any) -> None:
    app = make_cookie_app(make_app)
    client = app.test_client()
    client.post("/login")
    pair = Pair(
        client.get_cookie("access_token_cookie").value,  # type: ignore[union-attr]
        client.get_cookie("refresh_token_cookie").value,  # type: ignore[union-attr]
    )
    response = client.post("/auth/logout", headers=csrf(client), **body)
    assert (response.status_code, response.data) == (200, LOGGED_OUT)
    assert cookies_of(client) == []
    assert get_status(app.test_client(), pair) == (401, 401)


def test_a_field_in_the_body_takes_precedence_over_the_cookie(
    make_app: MakeApp,
) -> None:
    app = make_cookie_app(make_app)
    client = app.test_client()
    client.post("/login")
    for value, message in ((None, "required"), (7, "string_expected")):
        response = client.post(
            "/auth/logout", headers=csrf(client), json={"refresh_token": value}
        )
        shown = "null" if value is None else "7"
        assert response.data == validation_failed("refresh_token", message, shown)
    response = client.post(
        "/auth/logout", headers=csrf(client), data="{", content_type="application/json"
    )
    assert response.data == validation_failed("body", "invalid_json", "")
    assert len(cookies_of(client)) == 4


def test_without_the_refresh_cookie_the_field_is_required(make_app: MakeApp) -> None:
    app = make_cookie_app(make_app)
    client = app.test_client()
    client.post("/login")
    client.delete_cookie("refresh_token_cookie")
    response = client.post("/auth/logout", headers=csrf(client), json={})
    assert response.data == validation_failed("refresh_token", "required", "")
    response = client.post("/auth/logout", headers=csrf(client))
    assert response.data == validation_failed("body", "invalid_json", "")


def test_a_request_without_the_csrf_token_is_rejected(make_app: MakeApp) -> None:
    app = make_cookie_app(make_app)
    client = app.test_client()
    client.post("/login")
    good = csrf(client)
    for headers in ({}, {"X-CSRF-TOKEN": "wrong"}):
        response = client.post("/auth/logout", headers=headers)
        assert (response.status_code, response.data) == (401, INVALID_TOKEN)
        assert len(cookies_of(client)) == 4
    assert client.post("/auth/logout", headers=good).data == LOGGED_OUT


def test_the_cookies_of_expired_tokens_are_unset(make_app: MakeApp) -> None:
    app = make_cookie_app(make_app)
    client = app.test_client()
    client.post("/login-expired")
    assert len(cookies_of(client)) == 4
    response = client.post("/auth/logout", headers=csrf(client))
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)
    assert cookies_of(client) == []


def test_the_grace_period_keeps_csrf_protection(make_app: MakeApp) -> None:
    app = make_cookie_app(make_app, LOGOUT_EXPIRED_ACCESS_GRACE=timedelta(hours=1))
    client = app.test_client()
    client.post("/login-expired")
    wrong = {"X-CSRF-TOKEN": "wrong"}
    assert client.post("/auth/logout", headers=wrong).data == INVALID_TOKEN
    assert client.post("/auth/logout", headers=csrf(client)).data == LOGGED_OUT


def test_a_logout_by_header_sets_no_cookies(make_app: MakeApp) -> None:
    app = make_app()
    response = log_out(app.test_client(), make_pair(app))
    assert "Set-Cookie" not in response.headers


def test_two_issuers_may_share_a_secret_and_use_the_same_jti(make_app: MakeApp) -> None:
    app = make_app(JWT_DECODE_ISSUER=["a", "b"])
    claims = {"sub": "ada", "jti": "1"}
    ours = Pair(
        jwt.encode({**claims, "iss": "a"}, SECRET),
        jwt.encode({**claims, "iss": "a", "type": "refresh"}, SECRET),
    )
    theirs = jwt.encode({**claims, "iss": "b"}, SECRET)
    client = app.test_client()
    assert log_out(client, ours).data == LOGGED_OUT
    assert client.get("/me", headers=bearer(theirs)).status_code == 200
