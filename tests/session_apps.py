"""Apps with sessions, and the requests that clients send to them."""

from __future__ import annotations

import typing as t
from datetime import timedelta

import sqlalchemy as sa
from flask import Flask
from flask import request
from flask.testing import FlaskClient
from flask_jwt_extended import jwt_required
from werkzeug.test import TestResponse

from flask_logout import LogoutExtension
from flask_logout import Session

from .conftest import MakeApp
from .tokens import bearer
from .tokens import claims_of
from .tokens import Pair

NEVER_YOUNG = timedelta(0)
REVOKED = {"msg": "Token has been revoked"}


def make_session_app(make_app: MakeApp, **config: t.Any) -> Flask:
    """Make an app with sessions, with a login view and a refresh view of its own."""
    app = make_app(**{"LOGOUT_SESSIONS": True, **config})
    add_session_routes(app)
    return app


def add_session_routes(app: Flask) -> None:
    """Add the two views that an app with sessions has."""
    logout = LogoutExtension()

    @app.post("/login")
    def login() -> dict[str, str]:
        body = request.get_json()
        return logout.start_session(**body)._asdict()

    @app.post("/renew")
    @jwt_required(refresh=True)
    def renew() -> dict[str, str]:
        return logout.refresh_session()._asdict()


def log_in(client: FlaskClient, identity: str = "ada", **options: t.Any) -> Pair:
    """Log in with the options of ``start_session``."""
    response = client.post("/login", json={"identity": identity, **options})
    assert response.status_code == 200, response.data
    return pair_of(response)


def renew(client: FlaskClient, pair: Pair) -> TestResponse:
    """Exchange the refresh token of a pair in the view of the app."""
    return client.post("/renew", headers=bearer(pair.refresh))


def renewed(client: FlaskClient, pair: Pair) -> Pair:
    """Exchange the refresh token of a pair, and return the new pair."""
    response = renew(client, pair)
    assert response.status_code == 200, response.data
    return pair_of(response)


def pair_of(response: TestResponse) -> Pair:
    """Return the tokens in a response."""
    body = response.get_json()
    return Pair(body["access_token"], body["refresh_token"])


def generation(pair: Pair) -> int:
    """Return the generation of the refresh token of a pair."""
    return t.cast(int, claims_of(pair.refresh)["generation"])


def sessions_of(app: Flask, identity: str = "ada") -> list[Session]:
    """List the active sessions of a user."""
    with app.app_context():
        return LogoutExtension().sessions_of(identity)


def sids_of(app: Flask, identity: str = "ada") -> list[str]:
    """List the ids of the active sessions of a user."""
    return [session.sid for session in sessions_of(app, identity)]


def sid_of(pair: Pair) -> str:
    """Return the id of the session of a pair."""
    return t.cast(str, claims_of(pair.refresh)["sid"])


def age(app: Flask, pair: Pair, seconds: int) -> None:
    """Let the current generation of a session in a SQL database become older."""
    with app.app_context():
        store = app.extensions["logout"].sessions.store
        table = store.table
        with app.extensions["sqlalchemy"].engine.begin() as connection:
            query = sa.select(table.c.key, table.c.rotated_at)
            rows = connection.execute(query.where(table.c.sid == sid_of(pair)))
            for key, rotated_at in rows.fetchall():
                older = rotated_at - timedelta(seconds=seconds)
                change = sa.update(table).where(table.c.key == key)
                connection.execute(change.values(rotated_at=older))


def rows_of(app: Flask) -> list[dict[str, t.Any]]:
    """Return the rows of the table of sessions."""
    with app.app_context():
        table = app.extensions["logout"].sessions.store.table
        with app.extensions["sqlalchemy"].engine.connect() as connection:
            return [dict(x._mapping) for x in connection.execute(sa.select(table))]


def revocations_of(app: Flask) -> list[tuple[str, str | None]]:
    """Return the kind and the reason of each stored revocation."""
    with app.app_context():
        table = app.extensions["logout"].store.table
        query = sa.select(table.c.kind, table.c.reason)
        with app.extensions["sqlalchemy"].engine.connect() as connection:
            return [(x.kind, x.reason) for x in connection.execute(query)]
