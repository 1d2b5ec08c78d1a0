"""Apps with the endpoints for other systems, and the requests of clients."""

from __future__ import annotations

import hmac
import typing as t

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from .conftest import MakeApp

CLIENT_ID = "reports"
CLIENT_SECRET = "a secret of the reports: 100% +1"
ENDPOINTS = {"logout", "revoke", "introspect"}


def load_client(client_id: str, client_secret: str) -> bool:
    """Authenticate the only client."""
    known = {CLIENT_ID: CLIENT_SECRET}.get(client_id, "")
    return hmac.compare_digest(known.encode(), client_secret.encode())


def make_oauth_app(
    make_app: MakeApp, *, client_loader: t.Any = load_client, **config: t.Any
) -> Flask:
    """Make an app with the endpoints, and perhaps with a client loader."""
    app = make_app(**{"LOGOUT_ENDPOINTS": ENDPOINTS, **config})
    app.extensions["logout"].loaders.client = client_loader
    return app


def send_form(
    client: FlaskClient, path: str, *, basic: t.Any = None, **form: str
) -> TestResponse:
    """Send a form, perhaps with credentials in the header."""
    return client.post(path, data=form, auth=basic)


def ask(client: FlaskClient, token: str, **form: str) -> dict[str, t.Any]:
    """Introspect a token as the client that the app knows."""
    response = send_form(
        client,
        "/auth/introspect",
        basic=(CLIENT_ID, CLIENT_SECRET),
        token=token,
        **form,
    )
    assert response.status_code == 200, response.data
    assert response.headers["Cache-Control"] == "no-store"
    assert response.mimetype == "application/json"
    return t.cast("dict[str, t.Any]", response.get_json())
