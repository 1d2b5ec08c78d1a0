"""The upstream that revokes a token of an OAuth provider."""

from __future__ import annotations

import base64
import logging
import sys
import time
import typing as t
from datetime import timedelta
from importlib import import_module

import jwt
import pytest
from flask import Flask

from flask_logout import ConfigError
from flask_logout import upstream_failed
from flask_logout.upstreams.oauth import OAuthRevocation

from .conftest import MakeApp
from .key_server import make_key
from .key_server import make_pem
from .oauth_server import Server
from .oauth_server import serving_oauth
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

SECRET = "a secret: 100% +1"
TOKEN = "the token of the provider"


@pytest.fixture
def server() -> t.Iterator[Server]:
    """A provider."""
    with serving_oauth() as server:
        yield server


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An app that may get an upstream."""
    return make_app()


def add(app: Flask, **options: t.Any) -> OAuthRevocation:
    """Add the upstream to an app."""
    given: dict[str, t.Any] = {
        "client_id": "app",
        "token": lambda _: TOKEN,
        **options,
    }
    if "private_key" not in given:
        given.setdefault("client_secret", SECRET)
    upstream = OAuthRevocation(**given)
    upstreams = t.cast("list[t.Any]", app.extensions["logout"].upstreams)
    upstreams[:] = [upstream]
    return upstream


def assert_fails(app: Flask, status: int | None, name: str | None = None) -> None:
    """Log out, which fails, and revokes nothing."""
    pair = make_pair(app)
    response = log_out(app.test_client(), pair)
    assert response.status_code == 400
    data = response.get_json()["data"]
    assert data["type"] == "external_api_error"
    assert data["details"]["status"] == status
    if name is not None:
        assert data["details"]["upstream"] == name
    assert get_status(app.test_client(), pair) == (200, 200)


def assert_succeeds(app: Flask) -> None:
    """Log out."""
    pair = make_pair(app)
    assert log_out(app.test_client(), pair).data == LOGGED_OUT
    assert get_status(app.test_client(), pair) == (401, 401)


def test_the_secret_is_sent_in_the_header(app: Flask, server: Server) -> None:
    add(app, endpoint=f"{server.url}/revoke")
    assert_succeeds(app)
    ((path, headers, form),) = server.requests
    assert path == "/revoke"
    scheme, _, value = headers["Authorization"].partition(" ")
    # Both parts are encoded as in a form.
    assert (scheme, base64.b64decode(value)) == (
        "Basic",
        b"app:a+secret%3A+100%25+%2B1",
    )
    assert form == {"token": [TOKEN], "token_type_hint": ["refresh_token"]}
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_the_secret_is_sent_in_the_form(app: Flask, server: Server) -> None:
    add(
        app,
        endpoint=f"{server.url}/revoke",
        auth_method="client_secret_post",
        token_type_hint="access_token",
    )
    assert_succeeds(app)
    ((_, headers, form),) = server.requests
    assert "Authorization" not in headers
    assert form == {
        "token": [TOKEN],
        "token_type_hint": ["access_token"],
        "client_id": ["app"],
        "client_secret": [SECRET],
    }


@pytest.mark.parametrize("has_issuer", [False, True])
def test_a_key_signs_an_assertion(app: Flask, server: Server, has_issuer: bool) -> None:
    server.show_metadata("/.well-known/oauth-authorization-server")
    endpoint = f"{server.url}/revoke"
    place = {"issuer": server.url} if has_issuer else {"endpoint": endpoint}
    add(app, private_key=make_pem(0), **place)
    for _ in range(2):
        assert_succeeds(app)
    forms = [form for path, _, form in server.requests if path == "/revoke"]
    assert len(forms) == 2
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    audience = server.url if has_issuer else endpoint
    ids = set()
    for form in forms:
        assert (form["client_id"], form["client_assertion_type"]) == (["app"], [kind])
        claims = jwt.decode(
            form["client_assertion"][0],
            make_key(0).public_key(),
            algorithms=["RS256"],
            audience=audience,
            issuer="app",
            options={"require": ["jti", "exp", "iat"]},
        )
        assert (claims["sub"], claims["exp"] - claims["iat"]) == ("app", 60)
        ids.add(claims["jti"])
    assert len(ids) == 2


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ],
)
def test_the_metadata_names_the_endpoint(app: Flask, server: Server, path: str) -> None:
    server.show_metadata(path)
    add(app, issuer=server.url)
    for _ in range(3):
        assert_succeeds(app)
    # The metadata is read once.
    assert server.paths().count(path) == 1
    assert server.paths().count("/revoke") == 3


def test_an_issuer_with_a_path(app: Flask, server: Server) -> None:
    issuer = f"{server.url}/tenant"
    server.show_metadata(
        "/.well-known/oauth-authorization-server/tenant", issuer=issuer
    )
    add(app, issuer=issuer)
    assert_succeeds(app)
    server.replies.pop("/.well-known/oauth-authorization-server/tenant")
    server.show_metadata("/tenant/.well-known/openid-configuration", issuer=issuer)
    add(app, issuer=issuer)
    assert_succeeds(app)


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"revocation_endpoint": None},
        {"revocation_endpoint": 5},
        # Requests to other protocols and hosts would be forged ones.
        {"revocation_endpoint": "http://169.254.169.254/revoke"},
        {"revocation_endpoint": "file:///etc/passwd"},
        {"revocation_endpoint": "https://user:secret@host/revoke"},
    ],
)
def test_wrong_metadata_is_rejected(
    app: Flask, server: Server, metadata: dict[str, t.Any]
) -> None:
    server.show_metadata("/.well-known/oauth-authorization-server", **metadata)
    add(app, issuer=server.url)
    assert_fails(app, None)
    assert "/revoke" not in server.paths()


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ((404, {}, b""), 404),
        ((500, {}, b""), 404),
        ((302, {"Location": "/elsewhere"}, b""), 404),
        ((200, {}, b"no json"), 404),
        ((200, {}, b"[]"), 404),
        ((200, {}, 600_000 * b" "), 404),
    ],
)
def test_metadata_that_cannot_be_read(
    app: Flask, server: Server, reply: t.Any, status: int
) -> None:
    server.replies["/.well-known/oauth-authorization-server"] = reply
    add(app, issuer=server.url)
    assert_fails(app, status)
    assert "/elsewhere" not in server.paths()


@pytest.mark.parametrize("status", [302, 400, 401, 403, 500, 503])
def test_a_rejection_fails_the_logout(app: Flask, server: Server, status: int) -> None:
    server.replies["/revoke"] = (status, {"Location": "/elsewhere"}, TOKEN.encode())
    add(app, endpoint=f"{server.url}/revoke", name="our provider")
    assert_fails(app, status, "our provider")
    # It is neither repeated nor redirected.
    assert server.paths() == ["/revoke"]


def test_a_broken_connection_is_retried_once(app: Flask, server: Server) -> None:
    add(app, endpoint=f"{server.url}/revoke")
    server.breaks = 1
    assert_succeeds(app)
    assert len(server.requests) == 2
    server.breaks = 2
    assert_fails(app, None, server.url.removeprefix("http://"))
    assert len(server.requests) == 4


def test_nobody_listens(app: Flask, server: Server) -> None:
    add(app, endpoint="http://127.0.0.1:9/revoke")
    assert_fails(app, None, "127.0.0.1:9")


@pytest.mark.parametrize("delay", [0.05, 30])
def test_a_slow_provider_is_waited_for_briefly(
    app: Flask, server: Server, delay: float
) -> None:
    # Each byte comes soon enough for the timeout of a read.
    server.delay = delay
    add(app, endpoint=f"{server.url}/revoke", timeout=timedelta(seconds=0.5))
    began = time.monotonic()
    assert_fails(app, None)
    assert time.monotonic() - began < 10
    # A provider that doesn't respond is not asked twice.
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [503, None])
def test_a_best_effort_logs_and_signals_the_failure(
    app: Flask, server: Server, caplog: pytest.LogCaptureFixture, status: int | None
) -> None:
    seen: list[dict[str, t.Any]] = []

    def receive(sender: Flask, **values: t.Any) -> None:
        seen.append({"app": sender, **values})

    if status is None:
        server.breaks = 2
    else:
        server.replies["/revoke"] = (status, {}, b"")
    add(app, endpoint=f"{server.url}/revoke", required=False, name="idp")
    with upstream_failed.connected_to(receive, app):
        assert_succeeds(app)
    assert seen == [{"app": app, "upstream": "idp", "status": status}]
    (record,) = [x for x in caplog.records if x.levelno == logging.WARNING]
    assert ' upstream_failed {"upstream": "idp"' in record.getMessage()


def test_a_login_without_a_token_of_the_provider(app: Flask, server: Server) -> None:
    async def load(_: t.Any) -> None:
        return None

    add(app, endpoint=f"{server.url}/revoke", token=load)
    assert_succeeds(app)
    assert server.requests == []


def test_no_secret_is_logged_or_returned(
    app: Flask, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.replies["/revoke"] = (400, {}, TOKEN.encode())
    upstream = add(app, endpoint=f"{server.url}/revoke")
    response = log_out(app.test_client(), make_pair(app))
    shown = response.get_data(as_text=True) + repr(upstream) + caplog.text
    assert TOKEN not in shown and SECRET not in shown


def test_an_error_of_the_client_library_is_a_failure(
    app: Flask, server: Server
) -> None:
    add(app, endpoint=f"{server.url}/revoke", private_key="no key")
    assert_fails(app, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "OAuthRevocation got neither of endpoint and issuer. Pass one of them."),
        (
            {"endpoint": "https://a/b", "issuer": "https://a"},
            "OAuthRevocation got both of endpoint and issuer. Pass one of them.",
        ),
        (
            {"issuer": "https://a", "client_secret": None},
            "OAuthRevocation got neither of client_secret and private_key. Pass one of"
            " them.",
        ),
        (
            {"issuer": "https://a", "private_key": "x"},
            "OAuthRevocation got both of client_secret and private_key. Pass one of them.",
        ),
        (
            {"issuer": "http://idp.example.com"},
            "Invalid issuer of OAuthRevocation: 'http://idp.example.com'. Expected an HTTPS"
            " URL without credentials, or an HTTP URL of this machine.",
        ),
        (
            {"endpoint": "idp.example.com"},
            "Invalid endpoint of OAuthRevocation: 'idp.example.com'. Expected an HTTPS URL"
            " without credentials, or an HTTP URL of this machine.",
        ),
        (
            {"issuer": "https://a", "auth_method": "private_key_jwt"},
            "Invalid auth_method of OAuthRevocation: 'private_key_jwt'. Expected"
            " 'client_secret_basic' or 'client_secret_post' with a client_secret.",
        ),
        (
            {
                "issuer": "https://a",
                "auth_method": "client_secret_basic",
                "client_secret": None,
                "private_key": "x",
            },
            "Invalid auth_method of OAuthRevocation: 'client_secret_basic'. Expected"
            " 'private_key_jwt' with a private_key.",
        ),
        (
            {"issuer": "https://a", "timeout": 0},
            "Invalid timeout of OAuthRevocation: 0. Expected a timedelta or a number of"
            " seconds, more than 0 and at most 3600.",
        ),
        (
            {"issuer": "https://a", "timeout": "soon"},
            "Invalid timeout of OAuthRevocation: 'soon'. Expected a timedelta or a number"
            " of seconds, more than 0 and at most 3600.",
        ),
    ],
)
def test_wrong_arguments(options: dict[str, t.Any], message: str) -> None:
    given: dict[str, t.Any] = {
        "client_id": "app",
        "client_secret": SECRET,
        "token": lambda _: TOKEN,
        **options,
    }
    with pytest.raises(ConfigError) as caught:
        OAuthRevocation(**given)
    assert str(caught.value) == message


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "flask_logout.upstreams.oauth")
    with pytest.raises(ConfigError) as caught:
        import_module("flask_logout.upstreams.oauth")
    assert str(caught.value) == (
        "OAuthRevocation needs the package httpx, which isn't installed. Run `pip install"
        " 'flask-logout[oauth]'`."
    )
