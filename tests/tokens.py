"""Valid and invalid tokens, and the logout request."""

from __future__ import annotations

import typing as t
from datetime import timedelta

import jwt
from flask import Flask
from flask.testing import FlaskClient
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token
from werkzeug.test import TestResponse

LOGGED_OUT = b'{"code":200,"message":"logout successful","data":{}}'
INVALID_TOKEN = b'{"code":401,"message":"invalid token","data":{}}'
TOO_LARGE = b'{"code":413,"message":"content too large","data":{}}'
UNAVAILABLE = b'{"code":503,"message":"service unavailable","data":{}}'


class Pair(t.NamedTuple):
    """An access token and a refresh token."""

    access: str
    refresh: str


def make_pair(app: Flask, identity: t.Any = "ada", **options: t.Any) -> Pair:
    """Issue a pair of tokens with the options of ``create_access_token``."""
    with app.app_context():
        return Pair(
            create_access_token(identity, **options),
            create_refresh_token(identity, **options),
        )


def expired(app: Flask, seconds: int = 60) -> Pair:
    """Issue a pair that expired a number of seconds ago."""
    return make_pair(app, expires_delta=timedelta(seconds=-seconds))


def tampered(token: str) -> str:
    """Return a token with an invalid signature."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def claims_of(token: str) -> dict[str, t.Any]:
    """Return the claims of a token without verifying it."""
    return jwt.decode(token, options={"verify_signature": False})


def encode(app: Flask, **claims: t.Any) -> str:
    """Make a token from any claims, signed with the key of an app."""
    return jwt.encode(claims, app.config["JWT_SECRET_KEY"], "HS256")


def bearer(token: str) -> dict[str, str]:
    """Make the header for an access token."""
    return {"Authorization": f"Bearer {token}"}


def log_out(client: FlaskClient, pair: Pair, url: str = "/auth/logout") -> TestResponse:
    """Send a logout request."""
    return client.post(
        url, headers=bearer(pair.access), json={"refresh_token": pair.refresh}
    )


def validation_failed(key: str, message: str, value: str) -> bytes:
    """Make the body of the 400 response to a request with one error."""
    return (
        '{"code":400,"message":"validation failed","data":{"type":"validation_error",'
        f'"errors":[{{"key":"{key}","message":"{message}","value":"{value}"}}]}}}}'
    ).encode()


def get_status(client: FlaskClient, pair: Pair) -> tuple[int, int]:
    """Return the status codes of the routes for access and for refresh tokens."""
    access = client.get("/me", headers=bearer(pair.access))
    refresh = client.post("/refresh", headers=bearer(pair.refresh))
    return access.status_code, refresh.status_code


def unset(response: TestResponse) -> set[str]:
    """List the cookies that a response unsets."""
    values = [x.partition(";")[0] for x in response.headers.getlist("Set-Cookie")]
    assert all(value.endswith("=") for value in values)
    return {value.rstrip("=") for value in values}
