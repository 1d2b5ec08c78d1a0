"""Sessions: start, refresh, list and end them with the Python API."""

from __future__ import annotations

import logging
import time
import typing as t
from collections import Counter
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from itertools import product
from pathlib import Path

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask_jwt_extended import create_refresh_token
from flask_jwt_extended import get_current_user
from flask_jwt_extended import get_jwt
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy

from flask_logout import ConfigError
from flask_logout import LogoutExtension
from flask_logout import RefreshRejectedError
from flask_logout import reuse_detected
from flask_logout import revoked
from flask_logout import session_claims
from flask_logout import session_refreshed
from flask_logout import session_started
from flask_logout import TokenPair
from flask_logout.domain.revocation import covers
from flask_logout.domain.revocation import Retention
from flask_logout.domain.revocation import Revocation
from flask_logout.domain.rotation import is_ended
from flask_logout.sessions.records import describe

from .conftest import MakeApp
from .conftest import SECRET
from .session_apps import age
from .session_apps import generation
from .session_apps import log_in
from .session_apps import make_session_app
from .session_apps import renew
from .session_apps import renewed
from .session_apps import revocations_of
from .session_apps import REVOKED
from .session_apps import rows_of
from .session_apps import sessions_of
from .session_apps import sid_of
from .session_apps import sids_of
from .tokens import bearer
from .tokens import claims_of
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair

logout = LogoutExtension()


@pytest.fixture
def app(make_app: MakeApp, database_url: str) -> Flask:
    """An app with sessions, on every database."""
    return make_session_app(make_app, SQLALCHEMY_DATABASE_URI=database_url)


@pytest.fixture
def local(make_app: MakeApp) -> Flask:
    """An app with sessions, on SQLite."""
    return make_session_app(make_app)


def status(app: Flask, pair: Pair) -> tuple[int, int]:
    """Return the status codes for the access and for the refresh token of a pair."""
    return get_status(app.test_client(), pair)


def test_a_login_starts_a_session(app: Flask) -> None:
    before = datetime.now(timezone.utc)
    pair = log_in(app.test_client(), label="my phone")
    access, refresh = claims_of(pair.access), claims_of(pair.refresh)
    assert access["fresh"] is True
    assert refresh["generation"] == 0 and "generation" not in access
    assert access["sid"] == refresh["sid"]
    assert access["login_at"] == refresh["login_at"]
    assert status(app, pair) == (200, 200)
    (session,) = sessions_of(app)
    assert session.sid == refresh["sid"]
    assert session.subject == "ada"
    assert session.label == "my phone"
    assert (session.user_agent, session.ip_address) == (None, None)
    assert abs(session.created_at.timestamp() - refresh["login_at"]) < 1e-5
    assert session.expires_at is not None and session.last_seen_at is not None
    assert session.expires_at.timestamp() == refresh["exp"]
    assert abs(session.last_seen_at - before) < timedelta(seconds=60)


def test_a_refresh_returns_the_next_generation(app: Flask) -> None:
    client = app.test_client()
    first = log_in(client)
    second = renewed(client, first)
    old, new = claims_of(first.refresh), claims_of(second.refresh)
    assert (old["generation"], new["generation"]) == (0, 1)
    assert {x: new[x] for x in ("sid", "login_at", "sub")} == {
        x: old[x] for x in ("sid", "login_at", "sub")
    }
    assert claims_of(second.access)["fresh"] is False
    assert status(app, second) == (200, 200)
    assert sids_of(app) == [old["sid"]]


def test_a_session_is_one_row_however_often_it_is_refreshed(local: Flask) -> None:
    client = local.test_client()
    pair = log_in(client)
    for count in range(1, 6):
        pair = renewed(client, pair)
        age(local, pair, 60)
        assert generation(pair) == count
    (row,) = rows_of(local)
    assert (row["generation"], row["parent"]) == (5, 4)


def test_both_tokens_can_be_presented_again_within_the_grace_period(app: Flask) -> None:
    client = app.test_client()
    first = log_in(client)
    second = renewed(client, first)
    assert [generation(renewed(client, x)) for x in (first, second, first)] == [1, 1, 1]


def test_a_reused_token_ends_the_session(app: Flask) -> None:
    client = app.test_client()
    first = log_in(client)
    second, other = renewed(client, first), log_in(client)
    age(app, second, 31)
    response = renew(client, first)
    assert (response.status_code, response.json) == (401, REVOKED)
    assert status(app, second) == (401, 401)
    assert status(app, first) == (401, 401)
    assert status(app, other) == (200, 200)
    assert sids_of(app) == [sid_of(other)]


def test_every_route_rejects_a_reused_token(app: Flask) -> None:
    client = app.test_client()
    first = log_in(client)
    second = renewed(client, first)
    age(app, second, 31)
    # This route does not refresh anything.
    response = client.post("/refresh", headers=bearer(first.refresh))
    assert (response.status_code, response.json) == (401, REVOKED)
    assert status(app, second) == (401, 401)


def test_reuse_is_reported_once(local: Flask, caplog: pytest.LogCaptureFixture) -> None:
    client, received = local.test_client(), []
    first = log_in(client)
    age(local, renewed(client, first), 31)
    with (
        reuse_detected.connected_to(lambda _, **x: received.append(("reuse", x))),
        revoked.connected_to(lambda _, **x: received.append(("revoked", x))),
    ):
        assert [renew(client, first).status_code for _ in range(3)] == [401, 401, 401]
    (reuse, (name, values)) = received
    claims = claims_of(first.refresh)
    assert reuse[0] == "reuse"
    assert {x: reuse[1][x] for x in ("sid", "subject")} == {
        "sid": claims["sid"],
        "subject": "ada",
    }
    assert reuse[1]["claims"]["jti"] == claims["jti"]
    assert (name, values["reason"], values["actor"]) == ("revoked", "token_reuse", None)
    (line,) = [x for x in caplog.records if x.levelno == logging.CRITICAL]
    _, event, text = line.getMessage().split(" ", 2)
    assert event == "authn_token_reuse"
    assert text == f'{{"sid": "{claims["sid"]}", "subject": "ada", "generation": 0}}'
    assert revocations_of(local) == [("session", "token_reuse")]


def test_is_revoked_notices_a_reused_token(local: Flask) -> None:
    client = local.test_client()
    first = log_in(client)
    second = renewed(client, first)
    with local.app_context():
        assert not logout.is_revoked(claims_of(first.refresh))
        age(local, second, 31)
        assert not logout.is_revoked(claims_of(second.access))
        assert logout.is_revoked(claims_of(first.refresh))
        assert logout.is_revoked(claims_of(second.access))


def test_a_late_retry_replaces_the_successor(make_app: MakeApp) -> None:
    app = make_session_app(
        make_app, LOGOUT_ROTATION_LATE_RETRY=True, LOGOUT_ROTATION_GRACE=0
    )
    client = app.test_client()
    first = log_in(client)
    lost = renewed(client, first)
    second = renewed(client, first)
    assert (generation(lost), generation(second)) == (1, 2)
    assert generation(renewed(client, second)) == 3
    assert renew(client, lost).status_code == 401
    assert status(app, second) == (401, 401)


def test_without_grace_a_second_refresh_ends_the_session(make_app: MakeApp) -> None:
    app = make_session_app(make_app, LOGOUT_ROTATION_GRACE=0)
    client = app.test_client()
    first = log_in(client)
    second = renewed(client, first)
    assert renew(client, first).status_code == 401
    assert status(app, second) == (401, 401)


@pytest.mark.parametrize("is_old", [False, True])
def test_a_logout_ends_the_session(app: Flask, is_old: bool) -> None:
    client = app.test_client()
    first = log_in(client)
    second = renewed(client, first)
    age(app, second, 31)
    # An old refresh token in the body is no alarm.
    pair = Pair(second.access, first.refresh if is_old else second.refresh)
    assert log_out(client, pair).data == LOGGED_OUT
    assert status(app, second) == (401, 401)
    assert renew(client, second).json == REVOKED
    assert sids_of(app) == []
    assert {reason for _, reason in revocations_of(app)} == {"logout"}


@pytest.mark.parametrize("has_session", [False, True])
def test_switching_sessions_on_logs_nobody_out(app: Flask, has_session: bool) -> None:
    client = app.test_client()
    options = {"additional_claims": session_claims()} if has_session else {}
    old = make_pair(app, **options)
    assert status(app, old) == (200, 200)
    new = renewed(client, old)
    assert generation(new) == 1
    assert sids_of(app) == [sid_of(new)]
    # The old token belongs to the same session.
    assert generation(renewed(client, old)) == 1
    assert log_out(client, old).data == LOGGED_OUT
    assert status(app, new) == status(app, old)[1:] * 2 == (401, 401)


def test_a_used_token_without_session_ends_the_adopted_session(app: Flask) -> None:
    client = app.test_client()
    old = make_pair(app)
    stolen = renewed(client, old)
    age(app, stolen, 31)
    assert renew(client, old).status_code == 401
    assert status(app, stolen) == (401, 401)


def test_switching_sessions_off_and_on_logs_nobody_out(make_app: MakeApp) -> None:
    on = make_session_app(make_app)
    off = make_session_app(make_app, LOGOUT_SESSIONS=False)
    first = log_in(on.test_client())
    second = renewed(on.test_client(), first)
    third = renewed(off.test_client(), second)
    assert sid_of(third) == sid_of(first)
    assert generation(third) == 1
    fourth = renewed(on.test_client(), third)
    # The generation of the row is young.
    assert generation(fourth) == 1
    age(on, fourth, 31)
    assert generation(renewed(on.test_client(), fourth)) == 2
    assert status(off, fourth) == (200, 200)


def test_with_sessions_off_nothing_is_stored(make_app: MakeApp) -> None:
    app = make_session_app(make_app, LOGOUT_SESSIONS=False)
    client = app.test_client()
    pair = log_in(client)
    assert generation(pair) == 0
    again = [renewed(client, pair) for _ in range(3)]
    assert [generation(x) for x in again] == [0, 0, 0]
    legacy = renewed(client, make_pair(app))
    assert "generation" not in claims_of(legacy.refresh)
    with app.app_context():
        names = app.extensions["sqlalchemy"].metadata.tables.keys()
    assert set(names) == {"logout_revocation"}
    with app.app_context(), pytest.raises(RuntimeError) as caught:
        logout.sessions_of("ada")
    assert str(caught.value) == (
        "sessions_of() needs sessions, which are off. Set LOGOUT_SESSIONS to True."
    )


def test_two_users_with_the_same_sid_are_refused(
    local: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    client, claims = local.test_client(), session_claims()
    first = make_pair(local, additional_claims=claims)
    renewed(client, first)
    second = make_pair(local, "bob", additional_claims=claims)
    response = renew(client, second)
    assert (response.status_code, response.json) == (401, REVOKED)
    assert status(local, first) == (200, 200)
    (line,) = [x for x in caplog.records if x.levelno == logging.WARNING]
    assert "session_refused" in line.getMessage()
    assert revocations_of(local) == []


def test_a_missing_row_is_adopted_with_a_warning(
    local: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    client = local.test_client()
    pair = renewed(client, log_in(client))
    with local.app_context():
        local.extensions["logout"].sessions.store.inspect().clear()
    assert generation(renewed(client, pair)) == 2
    (line,) = [x for x in caplog.records if x.levelno == logging.WARNING]
    assert "session_row_missing" in line.getMessage()


def test_signals_are_sent(local: Flask) -> None:
    client, received = local.test_client(), []
    with (
        session_started.connected_to(lambda _, **x: received.append(x), local),
        session_refreshed.connected_to(lambda _, **x: received.append(x), local),
    ):
        pair = log_in(client, label="x")
        renewed(client, pair)
        renewed(client, pair)
        renewed(client, make_pair(local))
    assert received[0]["session"].label == "x"
    names = {"sid": sid_of(pair), "subject": "ada"}
    assert received[1:3] == [
        {**names, "outcome": "rotated"},
        {**names, "outcome": "repeated"},
    ]
    assert received[3]["outcome"] == "adopted"


def test_the_details_of_the_client_are_kept_on_demand(make_app: MakeApp) -> None:
    details = ["user_agent", "ip_address"]
    app = make_session_app(make_app, LOGOUT_SESSION_DETAILS=details)
    client = app.test_client()
    client.post(
        "/login",
        json={"identity": "ada", "label": "not kept"},
        headers={"User-Agent": "Browser/1\x1b[2J" + "x" * 300},
        environ_base={"REMOTE_ADDR": "192.0.2.7"},
    )
    (session,) = sessions_of(app)
    assert session.user_agent == ("Browser/1\ufffd[2J" + "x" * 300)[:255]
    assert session.ip_address == "192.0.2.7"
    assert session.label is None


def test_a_session_can_start_outside_of_a_request(local: Flask) -> None:
    with local.app_context():
        pair = logout.start_session("ada", label="job")
    assert repr(pair) == "TokenPair(access_token=…, refresh_token=…)"
    assert isinstance(pair, TokenPair)
    assert status(local, Pair(*pair)) == (200, 200)
    assert [x.label for x in sessions_of(local)] == ["job"]


def test_the_lifetime_of_a_session_limits_its_tokens(make_app: MakeApp) -> None:
    app = make_session_app(
        make_app, LOGOUT_SESSION_LIFETIME=600, LOGOUT_ROTATION_GRACE=0
    )
    client = app.test_client()
    with time_machine.travel(time.time(), tick=False) as traveller:
        pair = log_in(client)
        end = claims_of(pair.access)["login_at"] + 600
        assert claims_of(pair.access)["exp"] == int(end)
        assert claims_of(pair.refresh)["exp"] == int(end)
        traveller.shift(300)
        pair = renewed(client, pair)
        assert claims_of(pair.access)["exp"] == claims_of(pair.refresh)["exp"]
        assert claims_of(pair.refresh)["exp"] == int(end)
        traveller.shift(300)
        assert renew(client, pair).status_code == 401


def test_a_session_that_has_lasted_too_long_is_rejected(make_app: MakeApp) -> None:
    app = make_session_app(make_app)
    with time_machine.travel(time.time() - 3600):
        old = log_in(app.test_client())
    limited = make_session_app(make_app, LOGOUT_SESSION_LIFETIME=600)
    response = renew(limited.test_client(), old)
    assert (response.status_code, response.json) == (401, REVOKED)
    with limited.test_request_context(headers=bearer(old.refresh)):
        with pytest.raises(RefreshRejectedError, match="Session has expired"):
            jwt_required(refresh=True)(logout.refresh_session)()


def test_tokens_that_never_expire_are_limited_by_the_session(
    make_app: MakeApp,
) -> None:
    endless = {"JWT_ACCESS_TOKEN_EXPIRES": False, "JWT_REFRESH_TOKEN_EXPIRES": False}
    app = make_session_app(make_app, **endless)
    pair = renewed(app.test_client(), log_in(app.test_client()))
    assert "exp" not in claims_of(pair.access) | claims_of(pair.refresh)
    assert sessions_of(app)[0].expires_at is None
    (row,) = rows_of(app)
    assert row["kept_until"] is None
    limited = make_session_app(make_app, **endless, LOGOUT_SESSION_LIFETIME=600)
    pair = log_in(limited.test_client())
    assert claims_of(pair.access)["exp"] == int(
        claims_of(pair.access)["login_at"] + 600
    )


def test_the_newest_sessions_stay(make_app: MakeApp, database_url: str) -> None:
    app = make_session_app(
        make_app, SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_MAX_SESSIONS=2
    )
    client = app.test_client()
    other = log_in(client, "bob")
    pairs = [log_in(client) for _ in range(4)]
    assert [status(app, x) for x in pairs] == [(401, 401)] * 2 + [(200, 200)] * 2
    assert sids_of(app) == [sid_of(pairs[3]), sid_of(pairs[2])]
    assert status(app, other) == (200, 200)
    assert {reason for _, reason in revocations_of(app)} == {"max_sessions"}
    # A session that has ended doesn't count.
    assert log_out(client, pairs[3]).data == LOGGED_OUT
    last = log_in(client)
    assert sids_of(app) == [sid_of(last), sid_of(pairs[2])]


def test_many_surplus_sessions_are_ended(make_app: MakeApp) -> None:
    app = make_session_app(make_app)
    with app.app_context():
        for _ in range(120):
            logout.start_session("ada")
    limited = make_session_app(make_app, LOGOUT_MAX_SESSIONS=1)
    assert len(sids_of(limited)) == 120
    last = log_in(limited.test_client())
    assert sids_of(limited) == [sid_of(last)]


def test_sessions_of_lists_every_issuer(make_app: MakeApp) -> None:
    issuers = {"JWT_ENCODE_ISSUER": "new", "JWT_DECODE_ISSUER": ["old", "new"]}
    old = make_session_app(make_app, JWT_ENCODE_ISSUER="old", JWT_DECODE_ISSUER=["old"])
    first = log_in(old.test_client())
    app = make_session_app(make_app, **issuers)
    second = log_in(app.test_client())
    assert sids_of(app) == [sid_of(second), sid_of(first)]
    # The tokens of the refresh have the new issuer, so this adopts the session.
    third = renewed(app.test_client(), first)
    assert claims_of(third.refresh)["iss"] == "new"
    fourth = renewed(app.test_client(), third)
    assert log_out(app.test_client(), fourth).data == LOGGED_OUT
    assert status(app, second) == (200, 200)


def test_revoking_everything_ends_the_sessions(app: Flask) -> None:
    client = app.test_client()
    first, second = log_in(client), log_in(client)
    with app.app_context():
        logout.revoke_user("ada", keep_session=sid_of(first))
    assert sids_of(app) == [sid_of(first)]
    assert renew(client, second).json == REVOKED
    with app.app_context():
        logout.revoke_session(sid_of(first))
    assert sids_of(app) == []
    third = log_in(client)
    with app.app_context():
        logout.revoke_everyone()
    assert sids_of(app) == []
    assert status(app, third) == (401, 401)


def test_a_user_object_is_passed_to_the_loaders_of_the_app(make_app: MakeApp) -> None:
    class User:
        def __init__(self, name: str) -> None:
            self.name = name

    app = make_session_app(make_app)
    jwt: JWTManager = app.extensions["flask-jwt-extended"]
    jwt.user_identity_loader(lambda user: user.name)
    jwt.user_lookup_loader(lambda _, claims: User(claims["sub"]))
    jwt.additional_claims_loader(lambda user: {"initial": user.name[0], "sid": "x"})

    @app.post("/login/object")
    def log_object_in() -> dict[str, str]:
        return logout.start_session(User("ada"))._asdict()

    @app.get("/name")
    @jwt_required()
    def name() -> str:
        return t.cast(str, get_current_user().name)

    client = app.test_client()
    body = client.post("/login/object").get_json()
    pair = renewed(client, Pair(body["access_token"], body["refresh_token"]))
    claims = claims_of(pair.access)
    assert (claims["sub"], claims["initial"]) == ("ada", "a")
    assert claims["sid"] == claims_of(body["refresh_token"])["sid"] != "x"
    assert client.get("/name", headers=bearer(pair.access)).text == "ada"


def test_a_refresh_copies_no_claims_of_the_app(local: Flask) -> None:
    @local.post("/renew/guest")
    @jwt_required(refresh=True)
    def renew_as_guest() -> dict[str, str]:
        return logout.refresh_session(additional_claims={"role": "guest"})._asdict()

    client = local.test_client()
    pair = log_in(client, additional_claims={"role": "admin"})
    assert claims_of(pair.access)["role"] == claims_of(pair.refresh)["role"] == "admin"
    new = renewed(client, pair)
    assert "role" not in claims_of(new.access) | claims_of(new.refresh)
    body = client.post("/renew/guest", headers=bearer(new.refresh)).get_json()
    assert claims_of(body["access_token"])["role"] == "guest"


@pytest.mark.parametrize(
    "claim", ["exp", "generation", "iat", "login_at", "sid", "sub"]
)
def test_claims_of_the_extension_are_rejected(local: Flask, claim: str) -> None:
    with local.app_context(), pytest.raises(ValueError) as caught:
        logout.start_session("ada", additional_claims={claim: 1, "role": 2})
    assert str(caught.value) == (
        f"Invalid additional_claims: {claim}. Flask-Logout sets these claims itself."
        " Remove them."
    )
    assert rows_of(local) == []


def test_a_label_must_be_a_string(local: Flask) -> None:
    with local.app_context(), pytest.raises(TypeError) as caught:
        logout.start_session("ada", label=t.cast(t.Any, {"a": 1}))
    assert str(caught.value) == "Invalid label of type dict. Expected a string."
    assert rows_of(local) == []


def test_refresh_session_needs_a_refresh_token(local: Flask) -> None:
    client, messages = local.test_client(), []

    @local.post("/wrong")
    @jwt_required()
    def wrong() -> dict[str, str]:
        with pytest.raises(RuntimeError) as caught:
            logout.refresh_session()
        messages.append(str(caught.value))
        return {}

    client.post("/wrong", headers=bearer(log_in(client).access))
    assert messages == [
        "refresh_session() needs a refresh token. Call it in a view with"
        " @jwt_required(refresh=True)."
    ]


def test_a_revocation_during_a_slow_request_is_noticed(make_app: MakeApp) -> None:
    app = make_session_app(make_app, LOGOUT_PURGE_MARGIN=0)

    @app.post("/slow")
    @jwt_required(refresh=True)
    def slow() -> dict[str, str]:
        logout.revoke_session(get_jwt()["sid"])
        with pytest.raises(RefreshRejectedError, match="Token has been revoked"):
            logout.refresh_session()
        return {}

    client = app.test_client()
    pair = log_in(client)
    assert client.post("/slow", headers=bearer(pair.refresh)).status_code == 200


def test_a_refresh_without_a_check_is_checked(local: Flask) -> None:
    @local.post("/unchecked")
    @jwt_required(refresh=True, skip_revocation_check=True)
    def unchecked() -> dict[str, str]:
        return logout.refresh_session()._asdict()

    client = local.test_client()
    pair = log_in(client)
    headers = bearer(pair.refresh)
    assert client.post("/unchecked", headers=headers).status_code == 200
    log_out(client, pair)
    assert client.post("/unchecked", headers=headers).status_code == 401


def test_expired_sessions_are_purged(make_app: MakeApp, database_url: str) -> None:
    app = make_session_app(
        make_app, SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_PURGE_EVERY=0
    )
    with time_machine.travel(time.time() - 40 * 86_400):
        old = log_in(app.test_client())
    new = log_in(app.test_client())
    assert len(rows_of(app)) == 2
    assert sids_of(app) == [sid_of(new)]
    with app.app_context():
        assert logout.purge() == 1
    assert [x["sid"] for x in rows_of(app)] == [sid_of(new)]
    assert sid_of(old) != sid_of(new)


def test_logins_purge_now_and_then(make_app: MakeApp) -> None:
    app = make_session_app(make_app, LOGOUT_PURGE_EVERY=3)
    with time_machine.travel(time.time() - 40 * 86_400):
        log_in(app.test_client())
    log_in(app.test_client())
    assert len(rows_of(app)) == 2
    # The third login deletes the row of the first one.
    log_in(app.test_client())
    assert len(rows_of(app)) == 2


def test_a_login_before_1970_is_listed(local: Flask) -> None:
    claims = {"sid": "s", "login_at": -1e300, "iat": 0}
    with local.app_context():
        token = create_refresh_token("ada", additional_claims=claims)
    renewed(local.test_client(), Pair("", token))
    (session,) = sessions_of(local)
    assert session.created_at == datetime.fromtimestamp(0, timezone.utc)


def test_a_limit_without_sessions_is_an_error(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError) as caught:
        make_app(LOGOUT_MAX_SESSIONS=3)
    assert str(caught.value) == (
        "Invalid LOGOUT_MAX_SESSIONS: 3. It needs sessions, which are off. Set"
        " LOGOUT_SESSIONS to True, or remove LOGOUT_MAX_SESSIONS."
    )
    make_app(LOGOUT_MAX_SESSIONS=None, LOGOUT_SESSION_LIFETIME=None)


def test_a_response_with_an_error_sets_no_cookies(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_SESSIONS=True, JWT_TOKEN_LOCATION=["headers", "cookies"])

    @app.post("/login/<int:status>")
    def log_in_with(status: int) -> tuple[dict[str, str], int]:
        logout.start_session("ada")
        return {}, status

    client = app.test_client()
    assert client.post("/login/200").headers.getlist("Set-Cookie") != []
    assert client.post("/login/500").headers.getlist("Set-Cookie") == []


def test_a_table_of_the_app_with_the_same_name_is_an_error(tmp_path: Path) -> None:
    app = Flask("tests", instance_path=str(tmp_path))
    app.config.update(JWT_SECRET_KEY=SECRET, LOGOUT_SESSIONS=True)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.db'}"
    db = SQLAlchemy(app)
    sa.Table("logout_session", db.metadata, sa.Column("id", sa.Integer))
    with pytest.raises(ConfigError) as caught:
        LogoutExtension(app)
    assert str(caught.value) == (
        "The app already has a table named 'logout_session', which Flask-Logout needs for"
        " sessions. Set LOGOUT_TABLE_NAME to another name, which ends with '_revocation'."
    )


def test_an_old_version_of_sqlite_is_an_error(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 34, 1))
    make_app()
    with pytest.raises(ConfigError, match="LOGOUT_SESSIONS needs SQLite 3.35 or later"):
        make_app(LOGOUT_SESSIONS=True)


def test_the_table_is_named_after_that_of_the_revocations(make_app: MakeApp) -> None:
    app = make_session_app(make_app, LOGOUT_TABLE_NAME="my_revocation")
    assert app.extensions["logout"].sessions.store.table.name == "my_session"
    other = make_session_app(make_app, LOGOUT_TABLE_NAME="blocked")
    assert other.extensions["logout"].sessions.store.table.name == "blocked_session"


def test_a_swap_that_never_succeeds_is_given_up(
    local: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    client = local.test_client()
    pair = log_in(client)
    with local.app_context(), local.extensions["sqlalchemy"].engine.begin() as x:
        # As if another refresh changed the row each time.
        x.execute(
            sa.text(
                "CREATE TRIGGER hinder BEFORE UPDATE ON logout_session BEGIN"
                " SELECT RAISE(IGNORE); END"
            )
        )
    assert renew(client, pair).status_code == 503
    assert "other refreshes keep changing this session" in caplog.text


def test_a_slow_revocation_is_written_again_for_mirrors(
    local: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "flask_logout.stores.sqlalchemy.sessions.LONGEST_WRITE", timedelta(0)
    )
    client, statements = local.test_client(), []
    first = log_in(client)
    age(local, renewed(client, first), 31)
    with local.app_context():
        engine = local.extensions["logout"].store.engine.get()
    sa.event.listen(
        engine,
        "before_cursor_execute",
        lambda *event: statements.append(event[2].split()[0]),
    )
    assert renew(client, first).status_code == 401
    assert statements.count("INSERT") == 2
    assert revocations_of(local) == [("session", "token_reuse")]


BEGAN = 1_790_000_000.000002
OFFSETS = [-2e9, -1, -1e-6, -6e-7, -4e-7, 0, 4e-7, 6e-7, 1e-6, 1, 1e99]


def test_a_revocation_that_covers_a_token_ends_its_session(local: Flask) -> None:
    """A store compares revocations with a session, and a check with the token."""
    kept = Retention(timedelta(0), timedelta(0), None)
    cutoff = datetime.fromtimestamp(BEGAN, timezone.utc)
    times = [None, "text", *(BEGAN + x for x in OFFSETS)]
    outcomes: Counter[tuple[bool, bool]] = Counter()
    for login_at, iat, sid in product(times, times, [None, "a"]):
        given = {"login_at": login_at, "iat": iat, "sid": sid}
        claims = {"type": "refresh", "sub": "ada", "jti": "b", **given}
        claims = {name: value for name, value in claims.items() if value is not None}
        with local.app_context():
            began = session_claims(claims)["login_at"]
            session = describe(claims, began, None, kept, {})
        for spared, after in product([None, session.key], [None, cutoff]):
            revocation = Revocation(
                bytes(16),
                "subject",
                cutoff=cutoff,
                spared_session=spared,
                spared_after=after,
            )
            is_covered = covers(revocation, claims)
            outcome = is_covered, is_ended(session, [revocation])
            assert outcome != (True, False)
            outcomes[outcome] += 1
    assert min(outcomes[True, True], outcomes[False, False]) > 400
