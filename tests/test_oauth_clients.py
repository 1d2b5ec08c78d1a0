"""The endpoints for other systems authenticate their clients, and read forms only."""

from __future__ import annotations

import typing as t
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from flask import Flask
from flask_jwt_extended import JWTManager

from flask_logout import LogoutExtension

from .conftest import MakeApp
from .oauth_apps import CLIENT_ID
from .oauth_apps import CLIENT_SECRET
from .oauth_apps import make_oauth_app
from .oauth_apps import send_form
from .tokens import get_status
from .tokens import make_pair

PATHS = ["/auth/revoke", "/auth/introspect"]
RIGHT = (CLIENT_ID, CLIENT_SECRET)


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    """The path of each endpoint that has clients."""
    return t.cast(str, request.param)


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An app that knows one client."""
    return make_oauth_app(make_app)


@pytest.mark.parametrize(
    ("basic", "form"),
    [
        (RIGHT, {}),
        (tuple(map(quote_plus, RIGHT)), {}),
        (RIGHT, {"client_id": CLIENT_ID}),
        (None, {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}),
    ],
)
def test_a_known_client_is_accepted(
    app: Flask, path: str, basic: t.Any, form: dict[str, str]
) -> None:
    response = send_form(app.test_client(), path, basic=basic, token="x", **form)
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("basic", "form"),
    [
        (None, {}),
        ((CLIENT_ID, "wrong"), {}),
        (("nobody", CLIENT_SECRET), {}),
        # The app's lookup finds an empty secret for it.
        (("nobody", ""), {}),
        (("", CLIENT_SECRET), {}),
        ((CLIENT_ID, ""), {}),
        (RIGHT, {"client_id": "another"}),
        (None, {"client_id": CLIENT_ID}),
        (None, {"client_id": "nobody"}),
        (None, {"client_id": CLIENT_ID, "client_secret": "wrong"}),
        (None, {"client_secret": CLIENT_SECRET}),
    ],
)
def test_any_other_client_is_rejected(
    app: Flask, path: str, basic: t.Any, form: dict[str, str]
) -> None:
    pair = make_pair(app)
    client = app.test_client()
    response = send_form(client, path, basic=basic, token=pair.refresh, **form)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Basic realm="logout"'
    assert response.headers["Cache-Control"] == "no-store"
    assert response.get_json() == {
        "error": "invalid_client",
        "error_description": "Client authentication failed",
    }
    assert get_status(client, pair) == (200, 200)


@pytest.mark.parametrize("header", ["Bearer x", "Basic", "Basic !", "Basic eA=="])
def test_a_malformed_header_is_rejected(app: Flask, path: str, header: str) -> None:
    headers = {"Authorization": header}
    data = {"token": "x"}
    response = app.test_client().post(path, data=data, headers=headers)
    assert response.status_code == 401


def test_two_methods_at_once_are_rejected(app: Flask, path: str) -> None:
    form = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    response = send_form(app.test_client(), path, basic=RIGHT, token="x", **form)
    assert response.status_code == 400
    assert response.get_json() == {
        "error": "invalid_request",
        "error_description": "The client uses more than one authentication method",
    }


@pytest.mark.parametrize("answer", [None, 0, 1, "yes", [True]])
def test_only_true_accepts_a_client(
    make_app: MakeApp, path: str, answer: t.Any
) -> None:
    app = make_oauth_app(make_app, client_loader=lambda *_: answer)
    response = send_form(app.test_client(), path, basic=RIGHT, token="x")
    assert response.status_code == 401


def test_the_loader_may_be_a_coroutine_function(make_app: MakeApp, path: str) -> None:
    async def load(client_id: str, client_secret: str) -> bool:
        return (client_id, client_secret) == RIGHT

    app = make_oauth_app(make_app, client_loader=load)
    client = app.test_client()
    assert send_form(client, path, basic=RIGHT, token="x").status_code == 200
    assert send_form(client, path, basic=("a", "b"), token="x").status_code == 401


@pytest.mark.parametrize("form", [{"token": ""}, {"other": "x"}])
def test_the_token_is_required(app: Flask, path: str, form: dict[str, str]) -> None:
    response = send_form(app.test_client(), path, basic=RIGHT, **form)
    assert response.status_code == 400
    assert response.get_json() == {
        "error": "invalid_request",
        "error_description": "The parameter token is missing",
    }


@pytest.mark.parametrize(
    "options",
    [
        {"json": {"token": "x"}},
        {"data": "token=x", "content_type": "text/plain"},
        {"data": {"token": (None, "x")}, "content_type": "multipart/form-data"},
        {"query_string": {"token": "x"}},
    ],
)
def test_only_forms_are_read(app: Flask, path: str, options: dict[str, t.Any]) -> None:
    response = app.test_client().post(path, auth=RIGHT, **options)
    assert response.status_code == 400
    assert response.get_json() == {
        "error": "invalid_request",
        "error_description": "Expected the type application/x-www-form-urlencoded",
    }


def test_a_parameter_may_occur_once(app: Flask, path: str) -> None:
    data = {"token": ["x", "y"]}
    response = app.test_client().post(path, auth=RIGHT, data=data)
    assert response.status_code == 400
    assert response.get_json() == {
        "error": "invalid_request",
        "error_description": "A parameter occurs more than once",
    }


def test_a_large_body_is_not_read(app: Flask, path: str) -> None:
    response = send_form(app.test_client(), path, basic=RIGHT, token=1_000_000 * "x")
    assert response.status_code == 413
    assert response.get_json() == {
        "error": "invalid_request",
        "error_description": "The body is too large",
    }


def test_the_store_is_down(app: Flask, path: str) -> None:
    pair = make_pair(app)
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()
    response = send_form(app.test_client(), path, basic=RIGHT, token=pair.access)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert response.get_json() == {
        "error": "temporarily_unavailable",
        "error_description": "The store did not respond",
    }


def test_the_extension_registers_the_loader(tmp_path: Path) -> None:
    app = Flask(__name__, instance_path=str(tmp_path))
    app.config.update(JWT_SECRET_KEY=32 * "x", LOGOUT_ENDPOINTS={"revoke"})
    JWTManager(app)
    logout = LogoutExtension(app)

    @logout.client_loader
    def load(client_id: str, client_secret: str) -> bool:
        return False

    assert load("a", "b") is False
    response = send_form(app.test_client(), "/auth/revoke", basic=RIGHT, token="x")
    assert response.status_code == 401


def test_introspect_needs_a_client_loader(make_app: MakeApp) -> None:
    app = make_oauth_app(make_app, client_loader=None)
    with pytest.raises(RuntimeError, match="introspect needs a function") as caught:
        send_form(app.test_client(), "/auth/introspect", token="x")
    assert str(caught.value) == (
        "The endpoint introspect needs a function that authenticates its clients. Register"
        " one with @logout.client_loader, or remove introspect from LOGOUT_ENDPOINTS."
    )
    result = app.test_cli_runner().invoke(args=["logout", "check"])
    assert f"problem: route: {caught.value}\n" in result.output


def test_introspect_rejects_everybody_if_the_loader_is_removed(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/open").status_code == 200
    app.extensions["logout"].loaders.client = None
    with pytest.raises(RuntimeError, match="introspect needs a function"):
        send_form(client, "/auth/introspect", token="x")
