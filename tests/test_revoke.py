"""The endpoint with which an OAuth client revokes a token (RFC 7009)."""

from __future__ import annotations

import logging
import typing as t

import jwt
import pytest
from flask import Flask

from flask_logout import revoked
from flask_logout import session_claims

from .conftest import MakeApp
from .oauth_apps import CLIENT_ID
from .oauth_apps import CLIENT_SECRET
from .oauth_apps import make_oauth_app
from .oauth_apps import send_form
from .session_apps import age
from .session_apps import log_in
from .session_apps import make_session_app
from .session_apps import renew
from .session_apps import renewed
from .tokens import bearer
from .tokens import expired
from .tokens import get_status
from .tokens import make_pair
from .tokens import tampered

PATH = "/auth/revoke"


@pytest.fixture
def app(make_app: MakeApp, database_url: str) -> Flask:
    """An app without clients, so whoever has a token can revoke it."""
    return make_oauth_app(
        make_app,
        client_loader=None,
        SQLALCHEMY_DATABASE_URI=database_url,
        LOGOUT_ENDPOINTS={"revoke"},
    )


def revoke(app: Flask, token: str, **form: str) -> None:
    """Revoke a token, which always succeeds."""
    response = send_form(app.test_client(), PATH, token=token, **form)
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Cache-Control"] == "no-store"
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize(
    "hint", [None, "access_token", "refresh_token", "pct", "x" * 1000]
)
def test_an_access_token_is_revoked(app: Flask, hint: str | None) -> None:
    pair = make_pair(app)
    revoke(app, pair.access, **({} if hint is None else {"token_type_hint": hint}))
    assert get_status(app.test_client(), pair) == (401, 200)


@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token"])
def test_a_refresh_token_ends_its_session(app: Flask, hint: str | None) -> None:
    with app.app_context():
        claims = session_claims()
        others = session_claims()
    pair = make_pair(app, additional_claims=claims)
    later = make_pair(app, additional_claims=claims)
    other = make_pair(app, additional_claims=others)
    revoke(app, pair.refresh, **({} if hint is None else {"token_type_hint": hint}))
    client = app.test_client()
    assert get_status(client, pair) == get_status(client, later) == (401, 401)
    assert get_status(client, other) == (200, 200)


def test_revoking_twice_succeeds(app: Flask) -> None:
    pair = make_pair(app)
    for _ in range(2):
        revoke(app, pair.refresh)
        revoke(app, pair.access)
    assert get_status(app.test_client(), pair) == (401, 401)


def test_an_invalid_token_revokes_nothing(app: Flask) -> None:
    pair = make_pair(app)
    with app.app_context():
        table = app.extensions["logout"].store.table
    invalid = [
        "x",
        "..",
        "ä" * 50,
        tampered(pair.refresh),
        tampered(pair.access),
        pair.access + 9000 * "x",
        jwt.encode({"sub": "ada"}, "", "none"),
        *expired(app),
    ]
    for token in invalid:
        revoke(app, token)
    assert get_status(app.test_client(), pair) == (200, 200)
    with app.app_context():
        db = app.extensions["sqlalchemy"]
        assert db.session.query(table).count() == 0


def test_a_used_refresh_token_ends_its_session_without_an_alarm(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_session_app(make_app, LOGOUT_ENDPOINTS={"revoke"})
    client = app.test_client()
    first = log_in(client)
    second = renewed(client, renewed(client, first))
    age(app, first, 60)
    revoke(app, first.refresh)
    assert renew(client, second).status_code == 401
    assert client.get("/me", headers=bearer(second.access)).status_code == 401
    assert not [x for x in caplog.records if x.levelno >= logging.WARNING]


def test_the_log_and_the_signal_name_the_client(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_oauth_app(make_app)
    pair = make_pair(app)
    seen: list[dict[str, t.Any]] = []

    def receive(_: Flask, **values: t.Any) -> None:
        seen.append(values)

    caplog.set_level(logging.INFO, "flask_logout")
    basic = (CLIENT_ID, CLIENT_SECRET)
    with revoked.connected_to(receive, app):
        client = app.test_client()
        send_form(client, PATH, basic=basic, token=pair.refresh)
    ((found,), reason, actor) = seen[0].values()
    assert (found.subject, reason, actor) == ("ada", "token_revocation", CLIENT_ID)
    (record,) = caplog.records
    assert '"actor": "reports"' in record.getMessage()
    assert pair.refresh not in caplog.text and CLIENT_SECRET not in caplog.text


def test_tokens_in_other_places_are_ignored(app: Flask) -> None:
    pair, other = make_pair(app), make_pair(app, "bob")
    client = app.test_client()
    response = client.post(
        f"{PATH}?token={other.refresh}",
        data={"token": pair.access},
        headers={
            **bearer(other.access),
            "Cookie": f"refresh_token_cookie={other.refresh}",
        },
    )
    assert response.status_code == 200
    assert get_status(client, pair) == (401, 200)
    assert get_status(client, other) == (200, 200)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_rejected(app: Flask, method: str) -> None:
    assert app.test_client().open(PATH, method=method).status_code == 405
