"""Signing keys that rotate, with RSA and a key loader of the app."""

from __future__ import annotations

import typing as t

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from flask_jwt_extended import get_unverified_jwt_headers
from flask_jwt_extended import JWTManager

from flask_logout import session_claims

from .conftest import MakeApp
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair
from .tokens import validation_failed


class Keys:
    """The signing keys of an app by their id. The last one signs."""

    def __init__(self, app: Flask) -> None:
        self._known: dict[str, rsa.RSAPrivateKey] = {}
        jwt: JWTManager = app.extensions["flask-jwt-extended"]
        jwt.encode_key_loader(lambda _: [*self._known.values()][-1])
        jwt.decode_key_loader(self._find)
        self._app = app

    def add(self, name: str) -> None:
        """Rotate to a new key."""
        self._known[name] = rsa.generate_private_key(65537, 2048)

    def drop(self, name: str) -> None:
        """Stop accepting a key."""
        del self._known[name]

    def sign(self) -> Pair:
        """Issue a pair with the newest key."""
        headers = {"kid": [*self._known][-1]}
        with self._app.app_context():
            claims = session_claims()
        return make_pair(
            self._app, additional_claims=claims, additional_headers=headers
        )

    def _find(self, header: dict[str, t.Any], _: dict[str, t.Any]) -> t.Any:
        return self._known[header["kid"]].public_key()


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An app that signs with RSA."""
    return make_app(JWT_ALGORITHM="RS256", JWT_DECODE_ALGORITHMS=["RS256"])


def test_tokens_of_an_older_key_are_revoked_as_well(app: Flask) -> None:
    keys, client = Keys(app), app.test_client()
    keys.add("first")
    old = keys.sign()
    keys.add("second")
    new = keys.sign()
    assert get_unverified_jwt_headers(new.access)["kid"] == "second"
    assert log_out(client, old).data == LOGGED_OUT
    assert get_status(client, old) == (401, 401)
    assert get_status(client, new) == (200, 200)
    assert log_out(client, Pair(new.access, old.refresh)).data == LOGGED_OUT
    assert get_status(client, new) == (401, 401)


def test_a_refresh_token_of_a_retired_key_is_invalid(app: Flask) -> None:
    keys, client = Keys(app), app.test_client()
    keys.add("first")
    old = keys.sign()
    keys.add("second")
    new = keys.sign()
    keys.drop("first")
    response = log_out(client, Pair(new.access, old.refresh))
    value = f"{old.refresh[:12]}…"
    assert response.status_code == 400
    assert response.data == validation_failed("refresh_token", "invalid", value)
    # Nothing was revoked.
    assert get_status(client, new) == (200, 200)


def test_an_access_token_of_a_retired_key_is_a_401(app: Flask) -> None:
    keys, client = Keys(app), app.test_client()
    keys.add("first")
    old = keys.sign()
    keys.add("second")
    keys.drop("first")
    response = log_out(client, old)
    assert response.status_code == 401
    challenge = 'Bearer error="invalid_token", error_description='
    assert response.headers["WWW-Authenticate"] == (
        f'{challenge}"The token cannot be decoded"'
    )
