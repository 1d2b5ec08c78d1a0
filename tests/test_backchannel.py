"""Logouts of identity providers are validated, and revoke what they name."""

from __future__ import annotations

import base64
import json
import logging
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
import time_machine
from flask import Flask
from werkzeug.test import TestResponse

from flask_logout import provider_keys
from flask_logout import revoked
from flask_logout import session_claims

from .conftest import MakeApp
from .key_server import EVENT
from .key_server import make_key
from .key_server import Provider
from .key_server import serving_keys
from .redis_servers import running_url
from .tokens import bearer
from .tokens import get_status
from .tokens import make_pair
from .tokens import Pair

PATH = "/auth/backchannel-logout"


@pytest.fixture
def provider() -> t.Iterator[Provider]:
    """A provider whose tokens the app accepts."""
    with serving_keys() as provider:
        yield provider


@pytest.fixture
def other() -> t.Iterator[Provider]:
    """Another provider."""
    with serving_keys() as provider:
        yield provider


@pytest.fixture(params=["database", "redis"])
def app(
    request: pytest.FixtureRequest,
    make_app: MakeApp,
    database_url: str,
    provider: Provider,
    other: Provider,
) -> Flask:
    """An app that accepts the tokens of both providers."""
    config: dict[str, t.Any] = {"SQLALCHEMY_DATABASE_URI": database_url}
    if request.param == "redis":
        if not database_url.startswith("sqlite"):
            pytest.skip("Redis is tried once")
        config = {"LOGOUT_STORE_URI": running_url()}
    app = make_backchannel_app(make_app, provider, other, **config)
    with app.app_context():
        app.extensions["logout"].store.inspect().clear()
    return app


def make_backchannel_app(
    make_app: MakeApp, *providers: Provider, **config: t.Any
) -> Flask:
    """Make an app that receives the logouts of providers."""
    return make_app(
        **{
            "LOGOUT_ENDPOINTS": {"backchannel_logout"},
            "LOGOUT_BACKCHANNEL": {
                x.issuer: {"client_id": "app", "jwks_uri": x.jwks_uri}
                for x in providers
            },
            "JWT_DECODE_ISSUER": [x.issuer for x in providers],
            **config,
        }
    )


def issue(app: Flask, provider: Provider, sid: str, identity: str = "ada") -> Pair:
    """Issue tokens as the provider would."""
    app.config["JWT_ENCODE_ISSUER"] = provider.issuer
    return make_pair(app, identity, additional_claims={"sid": sid})


def send(app: Flask, token: str) -> TestResponse:
    """Send a logout token."""
    response = app.test_client().post(PATH, data={"logout_token": token})
    assert response.headers["Cache-Control"] == "no-store"
    return response


def error_of(response: TestResponse) -> str:
    """Return the description of a rejection."""
    assert response.status_code == 400
    body = response.get_json()
    assert body.keys() == {"error", "error_description"}
    assert body["error"] == "invalid_request"
    return t.cast(str, body["error_description"])


def accepts(app: Flask, pair: Pair) -> bool:
    """Return whether the app accepts a pair."""
    found = get_status(app.test_client(), pair)
    assert found in {(200, 200), (401, 401)}
    return found == (200, 200)


def test_a_session_of_the_provider_is_ended(
    app: Flask, provider: Provider, other: Provider
) -> None:
    ended, kept = issue(app, provider, "s1"), issue(app, provider, "s2")
    # Another provider may use the same names.
    foreign = issue(app, other, "s1")
    response = send(app, provider.sign(sid="s1", sub="ada"))
    assert (response.status_code, response.data) == (200, b"")
    assert [accepts(app, x) for x in (ended, kept, foreign)] == [False, True, True]


def test_a_user_of_the_provider_is_logged_out_everywhere(
    app: Flask, provider: Provider, other: Provider
) -> None:
    first, second = issue(app, provider, "s1"), issue(app, provider, "s2")
    bob, foreign = issue(app, provider, "s3", "bob"), issue(app, other, "s1")
    assert send(app, provider.sign(sub="ada")).status_code == 200
    found = [accepts(app, x) for x in (first, second, bob, foreign)]
    assert found == [False, False, True, True]
    with time_machine.travel(soon(), tick=True):
        later = issue(app, provider, "s4")
        assert accepts(app, later)


def soon() -> float:
    """Return the time in two seconds."""
    return time.time() + 2


def test_the_clock_of_the_provider_may_be_ahead_by_the_leeway(
    make_app: MakeApp, provider: Provider
) -> None:
    app = make_backchannel_app(make_app, provider, JWT_DECODE_LEEWAY=30)
    ahead = int(time.time()) + 10
    with time_machine.travel(ahead, tick=False):
        pair = issue(app, provider, "s1")
    assert accepts(app, pair)
    assert send(app, provider.sign(sub="ada", iat=ahead)).status_code == 200
    assert not accepts(app, pair)


def test_a_logout_token_works_once(app: Flask, provider: Provider) -> None:
    token = provider.sign(sub="ada")
    assert send(app, token).status_code == 200
    with time_machine.travel(soon(), tick=True):
        later = issue(app, provider, "s1")
        assert error_of(send(app, token)) == "The logout token has been used"
        assert accepts(app, later)
        assert send(app, provider.sign(sub="ada")).status_code == 200
        assert not accepts(app, later)


def test_the_same_jti_of_another_provider_is_another_token(
    app: Flask, provider: Provider, other: Provider
) -> None:
    assert send(app, provider.sign(sub="ada", jti="1")).status_code == 200
    assert send(app, other.sign(sub="ada", jti="1")).status_code == 200


@pytest.mark.parametrize(
    ("changes", "description"),
    [
        ({"iss": None}, "The issuer is not configured"),
        ({"iss": "https://evil.example"}, "The issuer is not configured"),
        ({"aud": None}, "The token is invalid: MissingRequiredClaimError"),
        ({"aud": "another"}, "The token is invalid: InvalidAudienceError"),
        ({"iat": None}, "The token is invalid: MissingRequiredClaimError"),
        ({"iat": 9_000_000_000}, "The token is invalid: ImmatureSignatureError"),
        ({"exp": None}, "The token is invalid: MissingRequiredClaimError"),
        ({"exp": 1_000_000_000}, "The token is invalid: ExpiredSignatureError"),
        ({"jti": None}, "The token is invalid: MissingRequiredClaimError"),
        ({"events": None}, "The token is invalid: MissingRequiredClaimError"),
        ({"events": {}}, "The token is no logout token"),
        ({"events": [EVENT]}, "The token is no logout token"),
        ({"events": {EVENT: True}}, "The token is no logout token"),
        ({"events": {f"{EVENT}s": {}}}, "The token is no logout token"),
        ({"nonce": "x"}, "A logout token has no nonce"),
        ({"sub": None}, "The token has neither sid nor sub"),
        ({"sid": ""}, "The claims sid, sub and jti must be strings"),
        ({"sid": 5}, "The claims sid, sub and jti must be strings"),
        ({"sid": ["s1"], "sub": None}, "The claims sid, sub and jti must be strings"),
        ({"jti": ""}, "The claims sid, sub and jti must be strings"),
    ],
)
def test_an_invalid_token_revokes_nothing(
    make_app: MakeApp, provider: Provider, changes: dict[str, t.Any], description: str
) -> None:
    app = make_backchannel_app(make_app, provider)
    pair = issue(app, provider, "s1")
    found = error_of(send(app, provider.sign(**{"sub": "ada", **changes})))
    assert found.startswith(description)
    assert accepts(app, pair)


def forge(provider: Provider, algorithm: str) -> str:
    """Sign a logout token with a key that is not the provider's."""
    headers = {"kid": provider.kid}
    claims = provider.claims(sub="ada")
    if algorithm == "none":
        return jwt.encode(claims, "", "none", headers)
    if algorithm == "RS256":
        key = make_key(99)
        return jwt.encode(claims, key, "RS256", headers)
    # The public key as an HMAC secret: PyJWT refuses to make this token.
    head = {"alg": "HS256", "typ": "JWT", **headers}
    parts = [base64.urlsafe_b64encode(json.dumps(x).encode()) for x in (head, claims)]
    signing_input = b".".join(x.rstrip(b"=") for x in parts)
    signature = jwt.get_algorithm_by_name("HS256").sign(
        signing_input, provider.show_keys()
    )
    encoded = base64.urlsafe_b64encode(signature).rstrip(b"=")
    return (signing_input + b"." + encoded).decode()


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS256"])
def test_a_forged_token_revokes_nothing(
    make_app: MakeApp, provider: Provider, algorithm: str
) -> None:
    app = make_backchannel_app(make_app, provider)
    pair = issue(app, provider, "s1")
    assert error_of(send(app, forge(provider, algorithm))).startswith(
        "The token is inv"
    )
    assert accepts(app, pair)


def test_only_configured_algorithms_are_accepted(
    make_app: MakeApp, provider: Provider
) -> None:
    app = make_backchannel_app(make_app, provider)
    key, headers = provider.keys["first"], {"kid": "first"}
    token = jwt.encode(provider.claims(sub="ada"), key, "PS256", headers)
    assert error_of(send(app, token)).startswith("The token is invalid: InvalidAlg")


@pytest.mark.parametrize("token", ["x", "..", "ä", "a.b.c", 30 * "[", "e30.e30.e30"])
def test_what_is_no_token_revokes_nothing(
    make_app: MakeApp, provider: Provider, token: str
) -> None:
    app = make_backchannel_app(make_app, provider)
    assert error_of(send(app, token))
    assert provider.fetches == 0


def test_an_access_token_of_the_provider_is_no_logout_token(
    make_app: MakeApp, provider: Provider
) -> None:
    app = make_backchannel_app(make_app, provider)
    token = provider.sign(sub="ada", events=None, nonce="n")
    assert error_of(send(app, token)).startswith("The token is invalid: MissingReq")


def test_a_request_without_a_token_is_rejected(
    make_app: MakeApp, provider: Provider
) -> None:
    app = make_backchannel_app(make_app, provider)
    response = app.test_client().post(PATH, data={"token": "x"})
    assert error_of(response) == "The parameter logout_token is missing"
    response = app.test_client().post(PATH, json={"logout_token": "x"})
    assert error_of(response).startswith("Expected the type")


def test_leeway_applies(make_app: MakeApp, provider: Provider) -> None:
    token = provider.sign(sub="ada", exp=int(soon()) - 30)
    app = make_backchannel_app(make_app, provider)
    assert "ExpiredSignatureError" in error_of(send(app, token))
    app.config["JWT_DECODE_LEEWAY"] = 60
    assert send(app, token).status_code == 200


def test_a_loader_names_the_sid_of_the_app(
    make_app: MakeApp, provider: Provider
) -> None:
    app = make_backchannel_app(make_app, provider, JWT_DECODE_ISSUER=None)
    with app.app_context():
        claims = session_claims()
    ended = make_pair(app, additional_claims=claims)
    kept = make_pair(app)
    known = {(provider.issuer, "s1"): claims["sid"]}

    def load(token: dict[str, t.Any]) -> dict[str, str] | None:
        sid = known.get((token["iss"], token["sid"]))
        return None if sid is None else {"sid": sid}

    app.extensions["logout"].loaders.backchannel = load
    assert send(app, provider.sign(sid="unknown")).status_code == 200
    assert accepts(app, ended)
    assert send(app, provider.sign(sid="s1")).status_code == 200
    assert [accepts(app, ended), accepts(app, kept)] == [False, True]


def test_a_loader_names_the_identity_of_the_app(
    make_app: MakeApp, provider: Provider
) -> None:
    app = make_backchannel_app(make_app, provider, JWT_DECODE_ISSUER=None)
    ended, kept = make_pair(app, "42"), make_pair(app, "43")

    async def load(token: dict[str, t.Any]) -> dict[str, t.Any]:
        return {"identity": {"ada": "42"}[token["sub"]]}

    app.extensions["logout"].loaders.backchannel = load
    assert send(app, provider.sign(sub="ada")).status_code == 200
    assert [accepts(app, ended), accepts(app, kept)] == [False, True]


def test_a_loader_that_returns_anything_else_is_an_error(
    make_app: MakeApp, provider: Provider
) -> None:
    app = make_backchannel_app(make_app, provider, JWT_DECODE_ISSUER=None)
    app.extensions["logout"].loaders.backchannel = lambda _: {"user": "ada"}
    with pytest.raises(TypeError, match="returned a mapping with other keys"):
        send(app, provider.sign(sub="ada"))


def test_the_keys_are_fetched_once(make_app: MakeApp, provider: Provider) -> None:
    app = make_backchannel_app(make_app, provider)
    for _ in range(3):
        assert send(app, provider.sign(sub="ada")).status_code == 200
    assert provider.fetches == 1


def test_threads_share_a_fetch(make_app: MakeApp, provider: Provider) -> None:
    app = make_backchannel_app(make_app, provider)
    assert app.test_client().get("/open").status_code == 200
    provider.delay = 0.3
    tokens = [provider.sign(sub="ada") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda x: send(app, x).status_code, tokens))
    assert (found, provider.fetches) == (8 * [200], 1)


def test_a_missing_package_is_named(
    make_app: MakeApp, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for name in ("backchannel", "provider_keys"):
        monkeypatch.delitem(sys.modules, f"flask_logout.{name}", raising=False)
    with pytest.raises(RuntimeError) as caught:
        make_backchannel_app(make_app, provider)
    assert str(caught.value) == (
        "LOGOUT_BACKCHANNEL needs the package cryptography, which isn't installed. Run `pip"
        " install 'flask-logout[backchannel]'`, or remove LOGOUT_BACKCHANNEL."
    )


def test_unknown_keys_cause_few_fetches(
    make_app: MakeApp, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_backchannel_app(make_app, provider)
    assert send(app, provider.sign(sub="ada")).status_code == 200
    key = provider.keys["first"]
    for number in range(20):
        headers = {"kid": f"unknown {number}"}
        token = jwt.encode(provider.claims(sub="ada"), key, "RS256", headers)
        assert error_of(send(app, token)) == "The token is invalid: PyJWKClientError"
    assert provider.fetches == 1
    # A pause later, a new key is found, and the old one still works.
    old = provider.sign(sub="ada")
    provider.add_key("second")
    new = provider.sign(sub="ada")
    assert error_of(send(app, new)) == "The token is invalid: PyJWKClientError"
    monkeypatch.setattr(provider_keys, "PAUSE", 0)
    assert send(app, new).status_code == 200
    assert send(app, old).status_code == 200
    assert provider.fetches == 2


def test_a_token_without_kid_needs_a_single_key(
    make_app: MakeApp, provider: Provider, other: Provider
) -> None:
    app = make_backchannel_app(make_app, provider, other)
    provider.kid = None
    provider.keys[None] = provider.keys.pop("first")
    assert send(app, provider.sign(sub="ada")).status_code == 200
    other.keys[None] = other.keys["first"]
    other.kid = None
    assert error_of(send(app, other.sign(sub="ada"))) == (
        "The token is invalid: PyJWKClientError"
    )


@pytest.mark.parametrize(
    ("reply", "status", "headers"),
    [
        (b"", 503, {}),
        (b"no json", 200, {}),
        (b"[]", 200, {}),
        (b"{}", 200, {}),
        (b'{"keys": []}', 200, {}),
        (b'{"keys": 5}', 200, {}),
        (b'{"keys": ["x"]}', 200, {}),
        (b'{"keys": [{"kty": 5}]}', 200, {}),
        (b" " * (1 << 20), 200, {}),
        (b"", 302, {"Location": "/elsewhere"}),
    ],
)
def test_a_provider_without_keys_is_unavailable(
    make_app: MakeApp,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    reply: bytes,
    status: int,
    headers: dict[str, str],
) -> None:
    app = make_backchannel_app(make_app, provider)
    provider.reply, provider.status, provider.headers = reply, status, headers
    for _ in range(3):
        response = send(app, provider.sign(sub="ada"))
        assert response.status_code == 400
        body = response.get_json()
        assert body["error"] == "temporarily_unavailable"
        assert body["error_description"].startswith("The keys of the provider can't be")
    # It isn't asked again at once, and no redirect is followed.
    assert provider.fetches == 1
    provider.reply, provider.status = None, 200
    monkeypatch.setattr(provider_keys, "PAUSE", 0)
    assert send(app, provider.sign(sub="ada")).status_code == 200


def test_the_store_is_down(make_app: MakeApp, provider: Provider) -> None:
    app = make_backchannel_app(make_app, provider)
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()
    response = send(app, provider.sign(sub="ada"))
    assert response.status_code == 400
    assert response.get_json() == {
        "error": "temporarily_unavailable",
        "error_description": "The store did not respond",
    }


def test_the_log_and_the_signal_name_the_provider(
    make_app: MakeApp, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_backchannel_app(make_app, provider)
    caplog.set_level(logging.INFO, "flask_logout")
    seen: list[dict[str, t.Any]] = []

    def receive(_: Flask, **values: t.Any) -> None:
        seen.append(values)

    token = provider.sign(sub="ada")
    with revoked.connected_to(receive, app):
        assert send(app, token).status_code == 200
    ((found,), reason, actor) = seen[0].values()
    assert (found.kind, found.subject) == ("subject", "ada")
    assert (reason, actor) == ("backchannel_logout", provider.issuer)
    (record,) = caplog.records
    assert " session_logout_all " in record.getMessage()
    assert token not in caplog.text


def test_cookies_and_other_tokens_play_no_role(
    make_app: MakeApp, provider: Provider
) -> None:
    app = make_backchannel_app(make_app, provider)
    pair = issue(app, provider, "s1", "bob")
    response = app.test_client().post(
        PATH,
        data={"logout_token": provider.sign(sub="ada")},
        headers=bearer(pair.access),
    )
    assert response.status_code == 200
    assert "Set-Cookie" not in response.headers
    assert accepts(app, pair)


@pytest.mark.parametrize(
    "value",
    [
        {"https://idp": {}},
        {"https://idp": {"client_id": "app"}},
        {"https://idp": {"client_id": "", "jwks_uri": "https://idp/jwks"}},
        {"https://idp": {"client_id": "app", "jwks_uri": "http://idp/jwks"}},
        {"https://idp": {"client_id": "app", "jwks_uri": "file:///etc/passwd"}},
        {"https://idp": {"client_id": "app", "jwks_uri": "https://u:p@idp/jwks"}},
        {"https://idp": {"client_id": "app", "jwks_uri": "https:///jwks"}},
        {
            "https://idp": {
                "client_id": "app",
                "jwks_uri": "https://idp/jwks",
                "algorithms": ["HS256"],
            }
        },
        {
            "https://idp": {
                "client_id": "app",
                "jwks_uri": "https://idp/jwks",
                "algorithms": [],
            }
        },
        {
            "https://idp": {
                "client_id": "app",
                "jwks_uri": "https://idp/jwks",
                "secret": "x",
            }
        },
        {"": {"client_id": "app", "jwks_uri": "https://idp/jwks"}},
        [],
        "https://idp",
    ],
)
def test_a_wrong_setting_is_an_error(make_app: MakeApp, value: t.Any) -> None:
    with pytest.raises(
        RuntimeError, match="^Invalid LOGOUT_BACKCHANNEL: .* Expected a"
    ):
        make_app(LOGOUT_ENDPOINTS={"backchannel_logout"}, LOGOUT_BACKCHANNEL=value)


def test_the_endpoint_and_the_setting_need_each_other(make_app: MakeApp) -> None:
    with pytest.raises(RuntimeError) as caught:
        make_app(LOGOUT_ENDPOINTS={"backchannel_logout"})
    assert str(caught.value) == (
        "The endpoint backchannel_logout needs LOGOUT_BACKCHANNEL, which is empty. Set it"
        ' to a dict such as {"https://idp.example.com": {"client_id": "…", "jwks_uri":'
        ' "https://…"}}.'
    )
    known = {"https://idp": {"client_id": "app", "jwks_uri": "https://idp/jwks"}}
    with pytest.raises(RuntimeError) as caught:
        make_app(LOGOUT_BACKCHANNEL=known)
    assert str(caught.value) == (
        "Invalid LOGOUT_BACKCHANNEL: it needs the endpoint backchannel_logout. Add"
        ' "backchannel_logout" to LOGOUT_ENDPOINTS, or remove LOGOUT_BACKCHANNEL.'
    )


def test_an_app_that_accepts_no_tokens_of_the_provider_needs_a_loader(
    make_app: MakeApp, provider: Provider
) -> None:
    app = make_backchannel_app(make_app, provider, JWT_DECODE_ISSUER="us")
    with pytest.raises(RuntimeError) as caught:
        app.test_client().get("/open")
    assert str(caught.value) == (
        f"This app accepts no tokens of the issuer {provider.issuer}, so a logout at that"
        " provider would end no login. Register a function with"
        " @logout.backchannel_loader, which returns the sid or the identity in the tokens"
        " of this app, or add the issuer to JWT_DECODE_ISSUER."
    )
    app.extensions["logout"].loaders.backchannel = lambda _: None
    assert app.test_client().get("/open").status_code == 200


def test_another_identity_claim_needs_a_loader(
    make_app: MakeApp, provider: Provider
) -> None:
    app = make_backchannel_app(make_app, provider, JWT_IDENTITY_CLAIM="uid")
    with pytest.raises(RuntimeError) as caught:
        app.test_client().get("/open")
    assert str(caught.value) == (
        "Identity providers name users by the claim sub, but JWT_IDENTITY_CLAIM is 'uid'."
        " Register a function with @logout.backchannel_loader, which returns the sid or the"
        " identity in the tokens of this app."
    )
