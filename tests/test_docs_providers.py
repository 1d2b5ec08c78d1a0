"""The how-to guides about identity providers and about OAuth clients."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from flask import Flask
from flask_jwt_extended import JWTManager

from flask_logout import LogoutExtension
from flask_logout import session_claims

from .conftest import add_routes
from .conftest import MakeApp
from .conftest import SECRET
from .key_server import serving_keys
from .oauth_server import serving_oauth
from .pages import blocks
from .tokens import claims_of
from .tokens import get_status
from .tokens import log_out
from .tokens import make_pair

PROVIDERS = "howto/identity-provider.rst"
CLIENTS = "howto/oauth-clients.rst"


def test_a_logout_revokes_the_token_of_the_provider(make_app: MakeApp) -> None:
    app = make_app()
    with serving_oauth() as server:
        server.show_metadata("/.well-known/openid-configuration")
        app.config.update(
            PROVIDER_ISSUER=server.url,
            PROVIDER_CLIENT_ID="app",
            PROVIDER_CLIENT_SECRET="secret",
        )
        with app.app_context():
            claims = session_claims()
        logins = {claims["sid"]: {"refresh_token": "theirs"}}
        upstreams: list[t.Any] = app.extensions["logout"].upstreams
        logout = LogoutExtension()
        names = {"app": app, "logout": logout, "provider_logins": logins}
        exec(blocks(PROVIDERS, "python")[0], names)
        upstreams.extend(logout._upstreams)
        pair = make_pair(app, additional_claims=claims)
        assert log_out(app.test_client(), pair).status_code == 200
        assert server.requests[-1][2]["token"] == ["theirs"]
        # A login without the provider.
        assert log_out(app.test_client(), make_pair(app)).status_code == 200
        assert server.paths().count("/revoke") == 1


def test_a_logout_at_the_provider_ends_a_login(tmp_path: Path) -> None:
    _, setting, loader = blocks(PROVIDERS, "python")
    with serving_keys() as provider:
        app = Flask(__name__, instance_path=str(tmp_path))
        app.config["JWT_SECRET_KEY"] = SECRET
        setting = setting.replace("https://idp.example.com/jwks", provider.jwks_uri)
        setting = setting.replace("https://idp.example.com", provider.issuer)
        setting = setting.replace("my-app", "app")
        exec(setting, {"app": app})
        JWTManager(app)
        logout = LogoutExtension(app)
        add_routes(app)
        with app.app_context():
            claims = session_claims()
        pair = make_pair(app, additional_claims=claims)
        other = make_pair(app, "bob")
        logins = {claims["sid"]: {"issuer": provider.issuer, "sid": "theirs"}}
        exec(loader, {"logout": logout, "provider_logins": logins})
        client = app.test_client()

        def send(**named: str) -> int:
            data = {"logout_token": provider.sign(**named)}
            return client.post("/auth/backchannel-logout", data=data).status_code

        assert send(sid="unknown") == 200
        assert get_status(client, pair) == (200, 200)
        assert send(sid="theirs") == 200
        assert get_status(client, pair) == (401, 401)
        assert get_status(client, other) == (200, 200)
        assert send(sub="bob") == 200
        assert get_status(client, other) == (401, 401)


@pytest.fixture
def clients_app(tmp_path: Path) -> Flask:
    """The app of the page about OAuth clients."""
    setting, loader = blocks(CLIENTS, "python")
    app = Flask(__name__, instance_path=str(tmp_path))
    app.config["JWT_SECRET_KEY"] = SECRET
    exec(setting, {"app": app})
    JWTManager(app)
    exec(loader, {"logout": LogoutExtension(app)})
    add_routes(app)
    return app


def test_a_client_introspects_and_revokes(clients_app: Flask) -> None:
    client, pair = clients_app.test_client(), make_pair(clients_app)
    auth = ("reports", "a random secret of this client")
    data = {"token": pair.access}

    def ask() -> t.Any:
        return client.post("/auth/introspect", data=data, auth=auth).get_json()

    claims = claims_of(pair.access)
    shown = ["active", "jti", "exp", "iat", "nbf", "sub", "token_type"]
    (example,) = [x for x in blocks(CLIENTS, "console") if "active" in x]
    assert list(ask()) == shown
    assert all(f'"{name}": ' in example for name in shown)
    assert ask()["jti"] == claims["jti"]
    response = client.post("/auth/revoke", data=data, auth=auth)
    assert (response.status_code, response.data) == (200, b"")
    assert ask() == {"active": False}
    for wrong in (("reports", "x"), ("nobody", "x")):
        assert client.post("/auth/revoke", data=data, auth=wrong).status_code == 401
