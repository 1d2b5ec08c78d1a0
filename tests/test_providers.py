"""The endpoints and the upstream work with a real provider and with real clients."""

from __future__ import annotations

import time
import typing as t
from contextlib import contextmanager
from pathlib import Path

import pytest
from authlib.integrations.requests_client import OAuth2Session
from flask import Flask

from flask_logout import session_claims
from flask_logout.upstreams.oauth import OAuthRevocation

from .conftest import MakeApp
from .key_server import make_pem
from .node_programs import OpenIDProvider
from .node_programs import run_client
from .node_programs import running_provider
from .oauth_apps import CLIENT_ID
from .oauth_apps import CLIENT_SECRET
from .oauth_apps import make_oauth_app
from .serving import serve
from .tokens import bearer
from .tokens import claims_of
from .tokens import get_status
from .tokens import log_out
from .tokens import make_pair
from .tokens import Pair


class Bridge:
    """An app that logs users in by a provider, but issues its own tokens."""

    def __init__(self, app: Flask, provider: OpenIDProvider, url: str) -> None:
        self.app, self.provider, self.url = app, provider, url
        self.logins: dict[str, dict[str, t.Any]] = {}
        self.sids: dict[str, str] = {}

    def log_in(self, user: str) -> Pair:
        """Log in at the provider, then in the app."""
        found = self.provider.log_in(self.url, user)
        with self.app.app_context():
            claims = session_claims()
        self.logins[claims["sid"]] = found
        self.sids[claims_of(found["id_token"])["sid"]] = claims["sid"]
        return make_pair(self.app, user, additional_claims=claims)

    def login_of(self, pair: Pair) -> dict[str, t.Any]:
        """Return the provider's tokens of a login."""
        return self.logins[claims_of(pair.refresh)["sid"]]


@contextmanager
def bridging(make_app: MakeApp, folder: Path) -> t.Iterator[Bridge]:
    """Start an app and a provider that know each other."""
    # The app needs the address of the provider, and the provider that of the app.
    forward: list[t.Any] = []

    def serve_later(environ: t.Any, start_response: t.Any) -> t.Any:
        return forward[0](environ, start_response)

    with serve(t.cast(Flask, serve_later)) as port:
        url = f"http://127.0.0.1:{port}"
        with running_provider(folder, url) as provider:
            app = make_app(
                LOGOUT_ENDPOINTS={"logout", "backchannel_logout"},
                LOGOUT_BACKCHANNEL={
                    provider.issuer: {
                        "client_id": "app",
                        "jwks_uri": f"{provider.issuer}/jwks",
                    }
                },
            )
            forward.append(app)
            yield Bridge(app, provider, url)


def test_a_logout_at_the_provider_ends_the_login_in_the_app(
    make_app: MakeApp, node_folder: Path
) -> None:
    with bridging(make_app, node_folder) as bridge:

        def load(claims: dict[str, t.Any]) -> dict[str, str]:
            return {"sid": bridge.sids[claims["sid"]]}

        bridge.app.extensions["logout"].loaders.backchannel = load
        client = bridge.app.test_client()
        pair = bridge.log_in("ada")
        assert get_status(client, pair) == (200, 200)
        bridge.provider.log_out(bridge.login_of(pair)["id_token"])
        # The provider calls the app in the background.
        for _ in range(100):
            if get_status(client, pair) == (401, 401):
                break
            time.sleep(0.05)
        assert get_status(client, pair) == (401, 401)


@pytest.mark.parametrize("where", ["issuer", "endpoint"])
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_logout_in_the_app_revokes_the_token_of_the_provider(
    make_app: MakeApp, node_folder: Path, where: str, method: str
) -> None:
    with bridging(make_app, node_folder) as bridge:
        issuer = bridge.provider.issuer
        is_known = where == "endpoint"
        upstream = OAuthRevocation(
            issuer=None if is_known else issuer,
            endpoint=f"{issuer}/token/revocation" if is_known else None,
            client_id="app",
            client_secret="secret",
            auth_method=method,
            token=lambda pair: bridge.logins[pair.access["sid"]]["refresh_token"],
        )
        service = bridge.app.extensions["logout"]
        service.loaders.backchannel = lambda _: None
        t.cast("list[t.Any]", service.upstreams).append(upstream)
        pair = bridge.log_in("ada")
        token = bridge.login_of(pair)["refresh_token"]
        assert bridge.provider.can_refresh(token)
        assert log_out(bridge.app.test_client(), pair).status_code == 200
        assert not bridge.provider.can_refresh(token)


def test_the_provider_rejects_the_app(make_app: MakeApp, node_folder: Path) -> None:
    with bridging(make_app, node_folder) as bridge:
        upstream = OAuthRevocation(
            issuer=bridge.provider.issuer,
            client_id="app",
            client_secret="wrong",
            token=lambda pair: "a token",
        )
        service = bridge.app.extensions["logout"]
        service.loaders.backchannel = lambda _: None
        t.cast("list[t.Any]", service.upstreams).append(upstream)
        pair = make_pair(bridge.app)
        response = log_out(bridge.app.test_client(), pair)
        assert response.status_code == 400
        assert response.get_json()["data"] == {
            "type": "external_api_error",
            "errors": [],
            "details": {
                "upstream": bridge.provider.issuer.removeprefix("http://"),
                "status": 401,
            },
        }
        assert get_status(bridge.app.test_client(), pair) == (200, 200)


@pytest.mark.parametrize(("number", "status"), [(0, 200), (1, 400)])
def test_the_provider_knows_the_key_of_the_app(
    make_app: MakeApp, node_folder: Path, number: int, status: int
) -> None:
    with bridging(make_app, node_folder) as bridge:
        upstream = OAuthRevocation(
            issuer=bridge.provider.issuer,
            client_id="app with a key",
            private_key=make_pem(number),
            token=lambda pair: "a token",
        )
        service = bridge.app.extensions["logout"]
        service.loaders.backchannel = lambda _: None
        t.cast("list[t.Any]", service.upstreams).append(upstream)
        response = log_out(bridge.app.test_client(), make_pair(bridge.app))
        assert response.status_code == status


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_revokes_and_introspects(make_app: MakeApp, method: str) -> None:
    app = make_oauth_app(make_app)
    pair = make_pair(app)
    with serve(app) as port:
        url = f"http://127.0.0.1:{port}/auth"
        with OAuth2Session(
            CLIENT_ID, CLIENT_SECRET, token_endpoint_auth_method=method
        ) as client:
            found = client.introspect_token(
                f"{url}/introspect", token=pair.access
            ).json()
            assert (found["active"], found["sub"]) == (True, "ada")
            hint = "access_token"
            response = client.revoke_token(
                f"{url}/revoke", token=pair.access, token_type_hint=hint
            )
            assert (response.status_code, response.content) == (200, b"")
            found = client.introspect_token(
                f"{url}/introspect", token=pair.access
            ).json()
            assert found == {"active": False}


@pytest.mark.parametrize("method", ["basic", "post"])
def test_openid_client_revokes_and_introspects(
    make_app: MakeApp, node_folder: Path, method: str
) -> None:
    app = make_oauth_app(make_app)
    pair = make_pair(app)
    with serve(app) as port:
        url = f"http://127.0.0.1:{port}"

        def run(action: str, secret: str = CLIENT_SECRET) -> t.Any:
            arguments = (action, url, CLIENT_ID, secret, pair.access, method)
            return run_client(node_folder, *arguments)

        assert run("introspect")["sub"] == "ada"
        rejected = run("revoke", "wrong")
        assert rejected["status"] == 401
        assert run("revoke") is None
        assert run("introspect") == {"active": False}
        response = app.test_client().get("/me", headers=bearer(pair.access))
        assert response.status_code == 401
