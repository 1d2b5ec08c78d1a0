"""The endpoint that tells other services about a token (RFC 7662)."""

from __future__ import annotations

import logging
import typing as t

import jwt
import pytest
from flask import Flask

from .conftest import MakeApp
from .oauth_apps import ask
from .oauth_apps import make_oauth_app
from .oauth_apps import send_form
from .session_apps import add_session_routes
from .session_apps import age
from .session_apps import log_in
from .session_apps import renew
from .session_apps import renewed
from .tokens import claims_of
from .tokens import expired
from .tokens import log_out
from .tokens import make_pair
from .tokens import tampered

INACTIVE = {"active": False}


@pytest.fixture
def app(make_app: MakeApp, database_url: str) -> Flask:
    """An app with a client."""
    return make_oauth_app(make_app, SQLALCHEMY_DATABASE_URI=database_url)


def test_an_access_token_is_active_until_it_is_revoked(app: Flask) -> None:
    pair, client = make_pair(app), app.test_client()
    claims = claims_of(pair.access)
    assert ask(client, pair.access) == {
        "active": True,
        "exp": claims["exp"],
        "iat": int(claims["iat"]),
        "jti": claims["jti"],
        "nbf": int(claims["nbf"]),
        "sub": "ada",
        "token_type": "Bearer",
    }
    assert log_out(client, pair).status_code == 200
    assert ask(client, pair.access) == INACTIVE
    assert ask(client, pair.refresh, token_type_hint="refresh_token") == INACTIVE


def test_the_registered_claims_are_returned_and_no_others(make_app: MakeApp) -> None:
    app = make_oauth_app(
        make_app,
        JWT_ENCODE_ISSUER="us",
        JWT_DECODE_ISSUER="us",
        JWT_ENCODE_AUDIENCE=["api"],
        JWT_DECODE_AUDIENCE="api",
    )
    extra = {"scope": "read", "client_id": "web", "sid": "1", "email": "a@b.c", "n": 1}
    pair = make_pair(app, additional_claims=extra)
    found = ask(app.test_client(), pair.access)
    del found["exp"], found["iat"], found["jti"], found["nbf"]
    assert found == {
        "active": True,
        "aud": ["api"],
        "client_id": "web",
        "iss": "us",
        "scope": "read",
        "sid": "1",
        "sub": "ada",
        "token_type": "Bearer",
    }


def test_the_subject_is_that_of_the_identity_claim(make_app: MakeApp) -> None:
    app = make_oauth_app(make_app, JWT_IDENTITY_CLAIM="uid")
    assert ask(app.test_client(), make_pair(app).access)["sub"] == "ada"


def test_a_refresh_token_is_active_only_for_clients_that_ask_for_it(app: Flask) -> None:
    pair, client = make_pair(app), app.test_client()
    assert ask(client, pair.refresh) == INACTIVE
    assert ask(client, pair.refresh, token_type_hint="access_token") == INACTIVE
    found = ask(client, pair.refresh, token_type_hint="refresh_token")
    assert found["active"] is True
    # A service that looks for a bearer token finds none.
    assert "token_type" not in found
    # It is only a hint, so an access token is found as well.
    assert ask(client, pair.access, token_type_hint="refresh_token")["active"] is True


def test_an_invalid_token_is_inactive(app: Flask) -> None:
    pair, client = make_pair(app), app.test_client()
    invalid = [
        "x",
        tampered(pair.access),
        pair.access + 9000 * "x",
        *expired(app),
        jwt.encode({"sub": "ada"}, "", "none"),
    ]
    for token in invalid:
        for hint in ("access_token", "refresh_token"):
            assert ask(client, token, token_type_hint=hint) == INACTIVE


def test_the_loaders_of_the_app_are_called(make_app: MakeApp) -> None:
    app = make_oauth_app(make_app)
    manager = app.extensions["flask-jwt-extended"]

    @manager.token_verification_loader
    def verify(_: t.Any, claims: dict[str, t.Any]) -> bool:
        return bool(claims["sub"] != "eve")

    client = app.test_client()
    assert ask(client, make_pair(app).access)["active"] is True
    assert ask(client, make_pair(app, "eve").access) == INACTIVE


def test_a_used_refresh_token_is_inactive_and_ends_its_session(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_oauth_app(
        make_app, LOGOUT_SESSIONS=True, LOGOUT_ENDPOINTS={"logout", "introspect"}
    )
    add_session_routes(app)
    client = app.test_client()
    first = log_in(client)
    second = renewed(client, first)
    hint = {"token_type_hint": "refresh_token"}
    assert ask(client, first.refresh, **hint)["active"] is True
    age(app, first, 60)
    third = renewed(client, second)
    age(app, first, 60)
    assert ask(client, first.refresh, **hint) == INACTIVE
    assert renew(client, third).status_code == 401
    assert [x.levelno for x in caplog.records if x.levelno > logging.INFO] == [50]


def test_nothing_is_logged_about_the_token(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pair = make_pair(app)
    ask(app.test_client(), pair.access)
    send_form(app.test_client(), "/auth/introspect", token=pair.access)
    assert pair.access not in caplog.text
