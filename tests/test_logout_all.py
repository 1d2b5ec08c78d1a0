"""The HTTP contract of ``POST /auth/logout/all``, on every kind of store."""

from __future__ import annotations

import subprocess
import sys
import time
import typing as t
from datetime import timedelta

import pytest
from flask import Flask
from flask import request
from flask.testing import FlaskClient
from flask_jwt_extended import decode_token
from flask_jwt_extended import get_jwt
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from werkzeug.test import TestResponse

from flask_logout import ConfigError
from flask_logout import ExternalAPIError
from flask_logout import InvalidRequestError
from flask_logout import logged_out
from flask_logout import LogoutExtension
from flask_logout import LogoutTokens
from flask_logout import Revocation
from flask_logout import revoked
from flask_logout import session_claims

from .conftest import MakeApp
from .proxy import new_redis
from .proxy import proxied
from .tokens import bearer
from .tokens import claims_of
from .tokens import encode
from .tokens import expired
from .tokens import get_status
from .tokens import INVALID_TOKEN
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair
from .tokens import tampered
from .tokens import TOO_LARGE
from .tokens import UNAVAILABLE
from .tokens import unset
from .tokens import validation_failed

URL = "/auth/logout/all"
BOTH = {"logout", "logout_all"}
REFUSED = b'{"code":400,"message":"external api error","data":{"type":'
FAILED = REFUSED + b'"external_api_error","errors":[],"details":{"status":502}}}'
SESSION_REQUIRED = validation_failed("keep_current", "session_required", "true")
# psycopg prepares a statement at its sixth execution, which takes another round trip.
WARM = 8


class Receiver:
    """A signal receiver that records its calls."""

    def __init__(self) -> None:
        self.calls: list[dict[str, t.Any]] = []

    def __call__(self, _: Flask, **values: t.Any) -> None:
        """Record a call."""
        self.calls.append(values)


@pytest.fixture
def host(make_app: MakeApp, database_url: str) -> Flask:
    """An app on each kind of database."""
    return make_app(
        SQLALCHEMY_DATABASE_URI=database_url,
        MAX_CONTENT_LENGTH=20_000,
        LOGOUT_ENDPOINTS=BOTH,
    )


@pytest.fixture
def http(host: Flask) -> FlaskClient:
    """A test client of that app."""
    return host.test_client()


@pytest.fixture
def local(make_app: MakeApp) -> Flask:
    """An app on SQLite."""
    return make_app(LOGOUT_ENDPOINTS=BOTH)


def login(app: Flask, identity: str = "ada", **options: t.Any) -> Pair:
    """Issue the tokens of a new login."""
    return make_pair(app, identity, additional_claims=session_claims(), **options)


def log_out_all(client: FlaskClient, access: str, **body: t.Any) -> TestResponse:
    """Send a request to log out everywhere."""
    return client.post(URL, headers=bearer(access), **body)


def assert_response(response: TestResponse, status: int, body: bytes) -> None:
    """Assert that a response has exactly this status and body."""
    assert (response.status_code, response.data) == (status, body)
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"


def get_challenge(response: TestResponse) -> str:
    """Return the description of a 401 response."""
    start, _, rest = response.headers["WWW-Authenticate"].partition("description=")
    assert start == 'Bearer error="invalid_token", error_'
    return rest.strip('"')


@pytest.mark.parametrize(
    "body", [{}, {"json": {}}, {"json": {"keep_current": False, "more": 1}}]
)
def test_every_login_of_the_caller_is_revoked(
    host: Flask, http: FlaskClient, body: t.Any
) -> None:
    pairs = [login(host), login(host), make_pair(host)]
    eve = login(host, "eve")
    response = log_out_all(http, pairs[0].access, **body)
    assert_response(response, 200, LOGGED_OUT)
    assert [get_status(http, x) for x in pairs] == [(401, 401)] * 3
    assert get_status(http, eve) == (200, 200)
    later = Pair(*[encode(host, **_later(claims_of(x))) for x in login(host)])
    assert get_status(http, later) == (200, 200)
    response = log_out_all(http, pairs[0].access)
    assert_response(response, 401, INVALID_TOKEN)
    assert get_challenge(response) == "Token has been revoked"


def _later(claims: dict[str, t.Any]) -> dict[str, t.Any]:
    # Without a request, a login begins at the current time.
    return {**claims, "login_at": time.time(), "iat": time.time()}


def test_the_current_login_can_be_kept(host: Flask, http: FlaskClient) -> None:
    mine, other, old = login(host), login(host), make_pair(host)
    refreshed = make_pair(
        host, additional_claims=session_claims(claims_of(mine.refresh))
    )
    response = log_out_all(http, refreshed.access, json={"keep_current": True})
    assert_response(response, 200, LOGGED_OUT)
    assert get_status(http, mine) == get_status(http, refreshed) == (200, 200)
    assert get_status(http, other) == get_status(http, old) == (401, 401)
    assert log_out_all(http, mine.access).data == LOGGED_OUT
    assert get_status(http, mine) == get_status(http, refreshed) == (401, 401)


@pytest.mark.parametrize("claims", [{}, {"sid": "shop 7"}, {"login_at": 1}])
def test_keep_current_needs_a_session(
    host: Flask, http: FlaskClient, claims: dict[str, t.Any]
) -> None:
    pair, other = make_pair(host, additional_claims=claims), login(host)
    response = log_out_all(http, pair.access, json={"keep_current": True})
    assert_response(response, 400, SESSION_REQUIRED)
    assert get_status(http, pair) == get_status(http, other) == (200, 200)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (None, "null"),
        (1, "1"),
        (0, "0"),
        ("true", "true"),
        ("x" * 99, "x" * 12 + "…"),
        ([True], "[true]"),
        ({"a": "é"}, '{\\"a\\": \\"é\\"}'),
        ("\ud800", "?"),
    ],
)
def test_keep_current_must_be_a_boolean(
    host: Flask, http: FlaskClient, sent: t.Any, shown: str
) -> None:
    pair = login(host)
    response = log_out_all(http, pair.access, json={"keep_current": sent})
    expected = validation_failed("keep_current", "boolean_expected", shown)
    assert_response(response, 400, expected)
    assert get_status(http, pair) == (200, 200)


FILE = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("body", "content_type", "value"),
    [
        (b"{", "application/json", ""),
        (b"null", "application/json", ""),
        (b" ", "application/json", ""),
        (b"\xff", "application/json", ""),
        (b"1" * 5000, "application/json", ""),
        (b"[" * 19_000, "application/json", ""),
        (b'{"keep_current":true}', "text/plain", ""),
        (b'{"keep_current":true}', None, ""),
        (b"keep_current=true", "application/x-www-form-urlencoded", ""),
        (FILE, "multipart/form-data; boundary=x", ""),
        (b"[1,2]", "application/json", "[1, 2]"),
        (b"true", "application/json", "true"),
        (b'"a string that is long"', "application/json", "a string tha…"),
    ],
)
@pytest.mark.parametrize("is_parsed", [False, True])
def test_a_body_that_is_not_a_json_object_is_rejected(
    host: Flask,
    http: FlaskClient,
    body: bytes,
    content_type: str | None,
    value: str,
    is_parsed: bool,
) -> None:
    if is_parsed:
        host.before_request(_parse_form)
    pair = login(host)
    response = log_out_all(http, pair.access, data=body, content_type=content_type)
    assert_response(response, 400, validation_failed("body", "invalid_json", value))
    assert get_status(http, pair) == (200, 200)


def _parse_form() -> None:
    assert request.form is not None


def test_an_empty_body_with_a_content_type_is_accepted(
    host: Flask, http: FlaskClient
) -> None:
    for content_type in ("application/json", "application/x-www-form-urlencoded"):
        access = login(host).access
        response = log_out_all(http, access, data=b"", content_type=content_type)
        assert_response(response, 200, LOGGED_OUT)


INVALID = {
    "malformed": "Not enough segments",
    "forged": "Signature verification failed",
    "expired": "Signature has expired",
    "refresh": "Only non-refresh tokens are allowed",
    "revoked": "Token has been revoked",
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_access_token_is_rejected(
    host: Flask, http: FlaskClient, case: str
) -> None:
    pair, other, gone = login(host), login(host), login(host)
    assert log_out(http, gone).data == LOGGED_OUT
    token = {
        "malformed": "x.y",
        "forged": tampered(pair.access),
        "expired": expired(host).access,
        "refresh": pair.refresh,
        "revoked": gone.access,
    }[case]
    # The access token is verified before the body.
    response = log_out_all(http, token, json={"keep_current": 1})
    assert_response(response, 401, INVALID_TOKEN)
    assert get_challenge(response) == INVALID[case]
    assert get_status(http, pair) == get_status(http, other) == (200, 200)


def test_a_missing_access_token_is_rejected(http: FlaskClient) -> None:
    response = http.post(URL)
    assert_response(response, 401, INVALID_TOKEN)
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_body_that_is_too_large_is_rejected(host: Flask, http: FlaskClient) -> None:
    pair = login(host)
    for body in ({"json": {"x": "x" * 20_000}}, {"data": b"x" * 20_001}):
        response = log_out_all(http, pair.access, **body)
        assert_response(response, 413, TOO_LARGE)
    assert get_status(http, pair) == (200, 200)


def test_a_large_body_is_rejected_without_a_limit_of_the_app(local: Flask) -> None:
    pair, most = login(local), 65_536 + 8 * 8192
    client = local.test_client()
    response = log_out_all(client, pair.access, data=b"x" * (most + 1))
    assert_response(response, 413, TOO_LARGE)
    response = log_out_all(client, pair.access, data=b"x" * most)
    assert_response(response, 400, validation_failed("body", "invalid_json", ""))


@pytest.mark.parametrize("keep_current", [False, True])
def test_an_unavailable_store_is_a_503(
    host: Flask, http: FlaskClient, keep_current: bool
) -> None:
    pair, db = login(host), host.extensions["sqlalchemy"]
    with host.app_context():
        db.drop_all()
    response = log_out_all(http, pair.access, json={"keep_current": keep_current})
    assert_response(response, 503, UNAVAILABLE)
    assert response.headers["Retry-After"] == "5"
    with host.app_context():
        db.create_all()
    assert get_status(http, pair) == (200, 200)


def test_logging_out_everywhere_works_on_redis(make_app: MakeApp) -> None:
    with new_redis() as url:
        app = make_app(LOGOUT_ENDPOINTS=BOTH, LOGOUT_STORE_URI=str(url))
        client, mine, other = app.test_client(), login(app), login(app)
        response = log_out_all(client, mine.access, json={"keep_current": True})
        assert_response(response, 200, LOGGED_OUT)
        assert get_status(client, mine) == (200, 200)
        assert get_status(client, other) == (401, 401)
        assert_response(log_out_all(client, mine.access), 200, LOGGED_OUT)
        assert get_status(client, mine) == (401, 401)


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql", "redis"])
@pytest.mark.parametrize("keep_current", [False, True])
def test_logging_out_everywhere_takes_two_round_trips(
    make_app: MakeApp, driver: str, keep_current: bool
) -> None:
    with proxied(driver) as (url, proxy):
        uri = url.render_as_string(hide_password=False)
        name = "LOGOUT_STORE_URI" if driver == "redis" else "SQLALCHEMY_DATABASE_URI"
        app = make_app(**{name: uri}, LOGOUT_ENDPOINTS=BOTH, LOGOUT_PURGE_EVERY=0)
        client, body = app.test_client(), {"keep_current": keep_current}
        for number in range(WARM):
            access = login(app, f"warm {number}").access
            assert log_out_all(client, access, json=body).data == LOGGED_OUT
        pair = login(app)
        proxy.reset()
        assert log_out_all(client, pair.access, json=body).data == LOGGED_OUT
        assert proxy.round_trips == 2


@pytest.mark.parametrize("keep_current", [False, True])
@pytest.mark.parametrize("accepted", [None, ["a", "b"]])
def test_the_same_subject_of_another_issuer_is_not_affected(
    make_app: MakeApp, accepted: list[str] | None, keep_current: bool
) -> None:
    app = make_app(LOGOUT_ENDPOINTS=BOTH, JWT_DECODE_ISSUER=accepted)
    client = app.test_client()

    def issue(issuer: str) -> Pair:
        claims = {**session_claims(), "iss": issuer}
        return make_pair(app, additional_claims=claims)

    mine, other, theirs = issue("a"), issue("a"), issue("b")
    response = log_out_all(client, mine.access, json={"keep_current": keep_current})
    assert_response(response, 200, LOGGED_OUT)
    kept = (200, 200) if keep_current else (401, 401)
    assert get_status(client, mine) == kept
    assert get_status(client, other) == (401, 401)
    assert get_status(client, theirs) == (200, 200)


def test_an_empty_issuer_is_an_issuer(local: Flask) -> None:
    client = local.test_client()
    mine = make_pair(local, additional_claims={"iss": ""})
    theirs = make_pair(local, additional_claims={"iss": "b"})
    assert_response(log_out_all(client, mine.access), 200, LOGGED_OUT)
    assert get_status(client, mine) == (401, 401)
    assert get_status(client, theirs) == (200, 200)


def test_the_subject_is_read_from_the_identity_claim(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_ENDPOINTS=BOTH, JWT_IDENTITY_CLAIM="uid")
    client, mine, other, theirs = (
        app.test_client(),
        make_pair(app, 7),
        make_pair(app, 7),
        make_pair(app, 8),
    )
    assert_response(log_out_all(client, mine.access), 200, LOGGED_OUT)
    assert get_status(client, mine) == get_status(client, other) == (401, 401)
    assert get_status(client, theirs) == (200, 200)


def test_a_login_from_a_worker_whose_clock_is_ahead_is_revoked(
    make_app: MakeApp,
) -> None:
    app = make_app(LOGOUT_ENDPOINTS=BOTH, JWT_DECODE_LEEWAY=60)
    ahead = time.time() + 30
    claims = {"sid": "s", "login_at": ahead, "iat": ahead, "nbf": ahead}
    pair = make_pair(app, additional_claims=claims)
    client = app.test_client()
    assert get_status(client, pair) == (200, 200)
    assert_response(log_out_all(client, pair.access), 200, LOGGED_OUT)
    assert get_status(client, pair) == (401, 401)


def test_a_token_without_a_subject_is_revoked(make_app: MakeApp) -> None:
    app = make_app(
        LOGOUT_ENDPOINTS=BOTH, JWT_VERIFY_SUB=False, JWT_IDENTITY_CLAIM="uid"
    )
    client = app.test_client()
    first, second = (
        encode(app, uid=None, type="access", jti=x, exp=time.time() + 60) for x in "ab"
    )
    assert_response(log_out_all(client, first), 200, LOGGED_OUT)
    assert client.get("/me", headers=bearer(first)).status_code == 401
    assert client.get("/me", headers=bearer(second)).status_code == 200


def test_logging_out_everywhere_works_for_deleted_users(local: Flask) -> None:
    jwt = local.extensions["flask-jwt-extended"]
    jwt.user_lookup_loader(lambda header, claims: None)
    pair = login(local)
    client = local.test_client()
    assert client.get("/me", headers=bearer(pair.access)).status_code == 401
    assert_response(log_out_all(client, pair.access), 200, LOGGED_OUT)


def test_expired_access_tokens_are_rejected_within_the_grace_period(
    make_app: MakeApp,
) -> None:
    app = make_app(
        LOGOUT_ENDPOINTS=BOTH, LOGOUT_EXPIRED_ACCESS_GRACE=timedelta(minutes=5)
    )
    client, valid = app.test_client(), login(app)
    response = log_out_all(client, expired(app).access)
    assert_response(response, 401, INVALID_TOKEN)
    assert get_challenge(response) == "Signature has expired"
    assert get_status(client, valid) == (200, 200)


@pytest.mark.parametrize("fresh", [False, timedelta(seconds=-1), 0, "x", None])
def test_tokens_that_are_not_fresh_can_be_rejected(
    make_app: MakeApp, fresh: t.Any
) -> None:
    app = make_app(LOGOUT_ENDPOINTS=BOTH, LOGOUT_REQUIRE_FRESH=True)
    client, pair = app.test_client(), login(app)
    other = login(app)
    if isinstance(fresh, timedelta):
        fresh = int(time.time() + fresh.total_seconds())
    access = encode(app, **{**claims_of(pair.access), "fresh": fresh})
    for body in ({}, {"json": {"keep_current": True}}):
        response = log_out_all(client, access, **body)
        assert_response(response, 401, INVALID_TOKEN)
        is_usual = isinstance(fresh, (bool, int))
        expected = "Fresh token required" if is_usual else "The token cannot be decoded"
        assert get_challenge(response) == expected
    assert get_status(client, other) == (200, 200)
    # It is required for this endpoint alone.
    assert log_out(client, Pair(access, pair.refresh)).data == LOGGED_OUT


@pytest.mark.parametrize("fresh", [True, timedelta(minutes=1)])
def test_fresh_tokens_are_accepted(make_app: MakeApp, fresh: t.Any) -> None:
    app = make_app(LOGOUT_ENDPOINTS=BOTH, LOGOUT_REQUIRE_FRESH=True)
    if isinstance(fresh, timedelta):
        fresh = int(time.time() + fresh.total_seconds())
    pair, client = login(app), app.test_client()
    access = encode(app, **{**claims_of(pair.access), "fresh": fresh})
    assert_response(log_out_all(client, access), 200, LOGGED_OUT)


def test_an_upstream_is_called_only_if_the_current_login_ends(local: Flask) -> None:
    seen: list[LogoutTokens] = []
    local.extensions["logout"].upstreams.append(seen.append)
    client, mine, other = local.test_client(), login(local), login(local)
    response = log_out_all(client, mine.access, json={"keep_current": True})
    assert_response(response, 200, LOGGED_OUT)
    assert seen == []
    assert get_status(client, other) == (401, 401)
    assert_response(log_out_all(client, mine.access), 200, LOGGED_OUT)
    assert seen == [LogoutTokens(claims_of(mine.access), None, None)]


def test_a_failed_upstream_revokes_nothing(host: Flask, http: FlaskClient) -> None:
    def fail(_: LogoutTokens) -> None:
        raise ExternalAPIError(details={"status": 502})

    host.extensions["logout"].upstreams.append(fail)
    mine, other = login(host), login(host)
    assert_response(log_out_all(http, mine.access), 400, FAILED)
    assert get_status(http, mine) == get_status(http, other) == (200, 200)
    response = log_out_all(http, mine.access, json={"keep_current": True})
    assert_response(response, 200, LOGGED_OUT)


def test_an_upstream_that_succeeded_before_the_store_failed_is_logged(
    local: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    def drop(_: LogoutTokens) -> None:
        local.extensions["sqlalchemy"].drop_all()

    local.extensions["logout"].upstreams.append(drop)
    response = log_out_all(local.test_client(), login(local).access)
    assert_response(response, 503, UNAVAILABLE)
    (line,) = [x for x in caplog.messages if "logout_incomplete" in x]
    assert '{"subject": "ada", "upstreams": 1}' in line


def test_the_signals_and_the_record(local: Flask) -> None:
    receiver, listener = Receiver(), Receiver()
    client, mine = local.test_client(), login(local)
    access = claims_of(mine.access)
    with logged_out.connected_to(receiver), revoked.connected_to(listener):
        log_out_all(client, mine.access, json={"keep_current": True})
        assert receiver.calls == []
        log_out_all(client, mine.access)
    assert receiver.calls == [{"access": access, "refresh": None}]
    for values in listener.calls:
        (made,) = values["revocations"]
        assert isinstance(made, Revocation)
        assert (made.kind, made.subject, made.token_id) == ("subject", "ada", None)
        assert (values["reason"], values["actor"]) == ("logout", "ada")
    assert len(listener.calls) == 2


def test_a_login_in_the_same_request_is_accepted(local: Flask) -> None:
    logout = LogoutExtension()

    @local.post("/start-over")
    @jwt_required()
    def start_over() -> dict[str, str]:
        logout.log_out_everywhere(get_jwt())
        return make_pair(local, additional_claims=session_claims())._asdict()

    old, client = login(local), local.test_client()
    response = client.post("/start-over", headers=bearer(old.access))
    assert get_status(client, old) == (401, 401)
    assert get_status(client, Pair(**response.get_json())) == (200, 200)


def test_a_loader_that_was_replaced_is_an_error(local: Flask) -> None:
    pair, client = login(local), local.test_client()
    assert get_status(client, pair) == (200, 200)
    jwt: JWTManager = local.extensions["flask-jwt-extended"]
    jwt.token_in_blocklist_loader(lambda header, claims: False)
    with pytest.raises(ConfigError, match="Revocation is disabled"):
        log_out_all(client, pair.access)


@pytest.mark.parametrize("keep_current", [False, True])
def test_the_apps_session_is_committed(
    make_app: MakeApp, database_url: str, keep_current: bool
) -> None:
    app = make_app(
        SQLALCHEMY_DATABASE_URI=database_url,
        LOGOUT_ENDPOINTS=BOTH,
        LOGOUT_COMMIT_APP_SESSION=True,
    )
    mine, other, client = login(app), login(app), app.test_client()
    listener = Receiver()
    with revoked.connected_to(listener):
        body = {"keep_current": keep_current}
        response = log_out_all(client, mine.access, json=body)
    assert_response(response, 200, LOGGED_OUT)
    assert len(listener.calls) == 1
    assert get_status(client, mine) == ((200, 200) if keep_current else (401, 401))
    assert get_status(client, other) == (401, 401)


# Cookies

ACCESS = {"access_token_cookie", "csrf_access_token"}
REFRESH = {"refresh_token_cookie", "csrf_refresh_token"}


@pytest.fixture
def web(make_app: MakeApp) -> Flask:
    """An app that accepts tokens in headers and cookies."""
    return make_app(JWT_TOKEN_LOCATION=["headers", "cookies"], LOGOUT_ENDPOINTS=BOTH)


def make_browser(app: Flask, pair: Pair) -> FlaskClient:
    """Make a client with the cookies of a pair."""
    client = app.test_client()
    client.set_cookie("access_token_cookie", pair.access)
    client.set_cookie("refresh_token_cookie", pair.refresh)
    return client


def csrf(token: str) -> dict[str, str]:
    """Make the header with the CSRF token of an access cookie."""
    return {"X-CSRF-TOKEN": claims_of(token)["csrf"]}


@pytest.mark.parametrize("has_session", [False, True])
def test_the_cookies_of_the_login_are_unset(web: Flask, has_session: bool) -> None:
    pair = login(web) if has_session else make_pair(web)
    response = make_browser(web, pair).post(URL, headers=csrf(pair.access))
    assert_response(response, 200, LOGGED_OUT)
    assert unset(response) == ACCESS | REFRESH
    assert get_status(web.test_client(), pair) == (401, 401)


def test_the_cookies_of_the_current_login_can_stay(web: Flask) -> None:
    pair, other = login(web), login(web)
    response = make_browser(web, pair).post(
        URL, headers=csrf(pair.access), json={"keep_current": True}
    )
    assert_response(response, 200, LOGGED_OUT)
    assert unset(response) == set()
    assert get_status(web.test_client(), pair) == (200, 200)
    assert get_status(web.test_client(), other) == (401, 401)


def test_the_cookies_of_another_login_of_the_user_are_unset(web: Flask) -> None:
    mine, other = login(web), login(web)
    response = log_out_all(
        make_browser(web, other), mine.access, json={"keep_current": True}
    )
    assert_response(response, 200, LOGGED_OUT)
    assert unset(response) == ACCESS | REFRESH


def test_the_cookies_of_another_user_stay(web: Flask) -> None:
    mine, theirs = login(web), login(web, "eve")
    response = log_out_all(make_browser(web, theirs), mine.access)
    assert_response(response, 200, LOGGED_OUT)
    assert unset(response) == set()
    assert get_status(web.test_client(), theirs) == (200, 200)


@pytest.mark.parametrize("header", [{}, {"X-CSRF-TOKEN": "wrong"}])
def test_a_cookie_needs_the_csrf_token(web: Flask, header: dict[str, str]) -> None:
    pair = login(web)
    response = make_browser(web, pair).post(URL, headers=header)
    assert_response(response, 401, INVALID_TOKEN)
    assert unset(response) == set()
    assert get_status(web.test_client(), pair) == (200, 200)


def test_an_expired_access_cookie_is_rejected(web: Flask) -> None:
    pair = Pair(expired(web).access, login(web).refresh)
    response = make_browser(web, pair).post(URL, headers=csrf(pair.access))
    assert_response(response, 401, INVALID_TOKEN)
    assert get_challenge(response) == "Signature has expired"
    assert unset(response) == ACCESS
    assert get_status(web.test_client(), pair) == (401, 200)


def test_the_access_token_may_be_in_the_body(make_app: MakeApp) -> None:
    app = make_app(JWT_TOKEN_LOCATION=["json", "headers"], LOGOUT_ENDPOINTS=BOTH)
    client, mine, other = app.test_client(), login(app), login(app)
    body = {"access_token": mine.access, "keep_current": True}
    assert_response(client.post(URL, json=body), 200, LOGGED_OUT)
    assert get_status(client, mine) == (200, 200)
    assert get_status(client, other) == (401, 401)


# Python API


def test_the_method_works_in_a_route_of_the_app(make_app: MakeApp) -> None:
    app, logout = make_app(LOGOUT_ENDPOINTS=set()), LogoutExtension()

    @app.post("/leave/<int:keep>")
    @jwt_required()
    def leave(keep: int) -> dict[str, t.Any]:
        logout.log_out_everywhere(get_jwt(), keep_current=bool(keep))
        return {"claims": get_jwt()}

    client, mine, other, old = app.test_client(), login(app), login(app), make_pair(app)
    response = client.post("/leave/1", headers=bearer(old.access))
    assert_response(response, 400, SESSION_REQUIRED)
    response = client.post("/leave/1", headers=bearer(mine.access))
    assert response.get_json() == {"claims": claims_of(mine.access)}
    assert get_status(client, mine) == (200, 200)
    assert get_status(client, other) == get_status(client, old) == (401, 401)
    response = client.post("/leave/0", headers=bearer(mine.access))
    assert response.get_json() == {"claims": {}}
    assert get_status(client, mine) == (401, 401)
    assert client.post(URL, headers=bearer(mine.access)).status_code == 404


def test_the_method_raises_what_it_documents(local: Flask) -> None:
    logout, pair = LogoutExtension(), make_pair(local)
    with local.test_request_context():
        for claims in ({}, decode_token(pair.refresh)):
            with pytest.raises(ValueError, match="claims of an access token"):
                logout.log_out_everywhere(claims)
        with pytest.raises(InvalidRequestError) as caught:
            logout.log_out_everywhere(decode_token(pair.access), keep_current=True)
    assert str(caught.value) == "keep_current: session_required"
    assert get_status(local.test_client(), pair) == (200, 200)


def test_the_revocation_is_kept_as_long_as_the_token_is_valid(local: Flask) -> None:
    logout, listener = LogoutExtension(), Receiver()
    pair = make_pair(local, expires_delta=timedelta(days=400))
    with local.test_request_context(), revoked.connected_to(listener):
        logout.log_out_everywhere(decode_token(pair.access))
    ((made,),) = [x["revocations"] for x in listener.calls]
    assert made.expires_at.timestamp() > claims_of(pair.access)["exp"]


# The endpoints of an app


@pytest.mark.parametrize(
    ("endpoints", "statuses"),
    [
        ({"logout"}, (401, 404)),
        ({"logout_all"}, (404, 401)),
        (["logout", "logout_all"], (401, 401)),
        ((), (404, 404)),
    ],
)
def test_only_the_enabled_endpoints_respond(
    make_app: MakeApp, endpoints: t.Any, statuses: tuple[int, int]
) -> None:
    client = make_app(LOGOUT_ENDPOINTS=endpoints).test_client()
    found = [client.post(x).status_code for x in ("/auth/logout", URL)]
    assert tuple(found) == statuses


@pytest.mark.parametrize(
    ("prefix", "path"), [("/auth", "/auth/logout"), ("", "/logout")]
)
def test_other_paths_and_methods_have_the_same_json(
    make_app: MakeApp, prefix: str, path: str
) -> None:
    app = make_app(
        LOGOUT_ENDPOINTS={"logout_all"},
        LOGOUT_APP_WIDE_ERRORS=True,
        LOGOUT_URL_PREFIX=prefix,
    )
    client = app.test_client()
    response = client.get(f"{path}/all")
    not_allowed = b'{"code":405,"message":"method not allowed","data":{}}'
    assert_response(response, 405, not_allowed)
    not_found = b'{"code":404,"message":"not found","data":{}}'
    assert_response(client.post(f"{path}/none"), 404, not_found)
    assert client.post("/none").content_type == "text/html; charset=utf-8"


PROGRAM = """
import sys
from flask import Flask
from flask_logout import LogoutExtension
app = Flask("lazy")
app.config.update(JWT_SECRET_KEY="x" * 32, LOGOUT_ENDPOINTS={endpoints})
LogoutExtension(app)
print(*sorted(x for x in sys.modules if x.startswith("flask_logout.views.logout")))
"""


@pytest.mark.parametrize(
    ("endpoints", "imported"),
    [
        ({"logout"}, "flask_logout.views.logout"),
        ({"logout_all"}, "flask_logout.views.logout_all"),
        (set(), ""),
    ],
)
def test_the_module_of_a_disabled_endpoint_is_not_imported(
    tmp_path: t.Any, endpoints: set[str], imported: str
) -> None:
    program = PROGRAM.format(endpoints=endpoints).replace(
        'Flask("lazy")', f'Flask("lazy", instance_path={str(tmp_path)!r})'
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == imported


@pytest.mark.parametrize("path", ["/auth/refresh", "/auth/logout/all/", "/api"])
def test_a_cookie_path_that_excludes_the_endpoint_is_reported(
    make_app: MakeApp, path: str
) -> None:
    app = make_app(
        JWT_TOKEN_LOCATION=["cookies"],
        LOGOUT_ENDPOINTS={"logout_all"},
        JWT_ACCESS_COOKIE_PATH=path,
        JWT_REFRESH_COOKIE_PATH="/auth/refresh",
    )
    result = app.test_cli_runner().invoke(args=["logout", "check"])
    assert (
        f"problem: cookies: JWT_ACCESS_COOKIE_PATH is {path!r}, so browsers don't send the"
        " cookie to /auth/logout/all and logging out fails. Set it to '/' or to '/auth'.\n"
    ) in result.output
    app.config["JWT_ACCESS_COOKIE_PATH"] = "/auth/logout"
    result = app.test_cli_runner().invoke(args=["logout", "check"])
    assert "ok: cookies\n" in result.output
