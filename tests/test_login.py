"""When a login begins, what belongs to it, and what ends it."""

from __future__ import annotations

import asyncio
import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import time_machine
from flask import Flask
from flask import request
from flask import stream_with_context
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token
from flask_jwt_extended import get_jwt
from flask_jwt_extended import get_jwt_identity
from flask_jwt_extended import jwt_required
from werkzeug.wrappers import Response

from flask_logout import LogoutExtension
from flask_logout import session_claims
from flask_logout.claims import token_key

from .conftest import MakeApp
from .tokens import bearer
from .tokens import claims_of
from .tokens import encode
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair

logout = LogoutExtension()


@pytest.fixture
def local(make_app: MakeApp) -> t.Iterator[Flask]:
    """An app on SQLite, in its context: its requests share one g, as in many tests."""
    app = make_app()
    with app.app_context():
        yield app


@pytest.fixture
def host(make_app: MakeApp, database_url: str) -> Flask:
    """An app on each kind of database."""
    return make_app(SQLALCHEMY_DATABASE_URI=database_url)


def status(app: Flask, pair: Pair) -> tuple[int, int]:
    """Tell how the routes for access and for refresh tokens answer."""
    return get_status(app.test_client(), pair)


def issue(claims: dict[str, t.Any], identity: str = "ada") -> dict[str, str]:
    """Make a pair within a view."""
    return {
        "access": create_access_token(identity, additional_claims=claims),
        "refresh": create_refresh_token(identity, additional_claims=claims),
    }


def post(app: Flask, path: str, token: str | None = None) -> dict[str, t.Any]:
    """Call a view of the test, and give its JSON."""
    headers = bearer(token) if token else {}
    response = app.test_client().post(path, headers=headers)
    assert response.status_code == 200
    return t.cast(dict[str, t.Any], response.get_json())


def login(app: Flask) -> Pair:
    """Issue the pair of a new login, outside a request."""
    return make_pair(app, additional_claims=session_claims())


def refreshed(app: Flask, pair: Pair) -> Pair:
    """Issue another pair of the same login."""
    return make_pair(app, additional_claims=session_claims(claims_of(pair.refresh)))


def test_a_login_has_a_session_a_beginning_and_an_age() -> None:
    before = datetime.now(timezone.utc).timestamp()
    first, second = session_claims(), session_claims()
    after = datetime.now(timezone.utc).timestamp()
    assert sorted(first) == ["iat", "login_at", "sid"]
    assert first["sid"] != second["sid"]
    assert before <= first["login_at"] <= first["iat"] <= after


def test_a_refresh_carries_session_and_beginning_over() -> None:
    start = datetime(2030, 1, 1, tzinfo=timezone.utc)
    with time_machine.travel(start, tick=False):
        first = session_claims()
    with time_machine.travel(start + timedelta(days=1), tick=False):
        second = session_claims(first)
        third = session_claims(second)
    assert second == third
    assert second == {**first, "iat": start.timestamp() + 86400}


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"jti": "j", "iat": 5}, 5),
        ({"jti": "j"}, 0),
        ({"jti": "j", "sid": "shop", "iat": 5}, 5),
        ({"jti": "j", "sid": "shop", "iat": 5, "login_at": "x"}, 5),
    ],
)
def test_a_refresh_of_a_token_without_a_session_makes_one(
    claims: dict[str, t.Any], expected: float
) -> None:
    made = session_claims(claims)
    assert made == session_claims(claims) | {"iat": made["iat"]}
    assert made["sid"] == f"t:{token_key(claims).hex()}"
    assert made["login_at"] == expected


def test_no_claims_are_a_new_login() -> None:
    """As get_jwt() gives them where a token is optional."""
    made = session_claims({})
    assert len(made["sid"]) == 36
    assert made["login_at"] == made["iat"]


def test_a_refresh_in_progress_issues_nothing_that_outlives_log_out_everywhere(
    host: Flask,
) -> None:
    """The refresh has passed its check, then the user logs out everywhere (issue 5)."""

    @host.post("/slow-refresh")
    @jwt_required(refresh=True)
    def slow_refresh() -> dict[str, str]:
        host.test_client().post("/everywhere")
        return issue(session_claims(get_jwt()), get_jwt_identity())

    @host.post("/everywhere")
    def everywhere() -> dict[str, str]:
        logout.revoke_user("ada")
        return {}

    pair = login(host)
    late = Pair(**post(host, "/slow-refresh", pair.refresh))
    assert claims_of(late.access)["iat"] > claims_of(pair.access)["iat"]
    assert status(host, pair) == status(host, late) == (401, 401)
    assert status(host, login(host)) == (200, 200)


def test_a_refresh_in_progress_does_not_bring_an_ended_session_back(
    host: Flask,
) -> None:
    """What spares a session compares with its beginning as well (issue 5)."""
    with host.app_context():
        pair = login(host)
        logout.revoke_user("ada")
        late = refreshed(host, pair)
        logout.revoke_user("ada", keep_session=claims_of(pair.access)["sid"])
        assert status(host, pair) == status(host, late) == (401, 401)


@pytest.mark.parametrize("everybody", [False, True])
def test_a_login_that_read_the_old_password_ends_with_it(
    host: Flask, everybody: bool
) -> None:
    """It makes its tokens after the password has changed (issue 23)."""

    @host.post("/slow-login")
    def slow_login() -> dict[str, str]:
        # The password has been compared; now it changes.
        host.test_client().post("/password")
        return issue(session_claims())

    @host.post("/password")
    def change_password() -> dict[str, str]:
        if everybody:
            logout.revoke_everyone()
        else:
            logout.revoke_user("ada")
        return issue(session_claims())

    late = Pair(**post(host, "/slow-login"))
    assert status(host, late) == (401, 401)
    # The request that changes it returns tokens that work.
    assert status(host, Pair(**post(host, "/password"))) == (200, 200)


def test_one_request_can_change_the_password_of_a_frozen_clock(host: Flask) -> None:
    """As in the tests of apps, and where the clock is coarse."""

    @host.post("/password")
    def change_password() -> dict[str, str]:
        logout.revoke_user("ada")
        return issue(session_claims())

    with time_machine.travel(datetime.now(timezone.utc), tick=False):
        assert status(host, Pair(**post(host, "/password"))) == (200, 200)


def test_a_revocation_that_failed_moves_no_stamp(make_app: MakeApp) -> None:
    app = make_app()

    @app.post("/password")
    def change_password() -> dict[str, t.Any]:
        before = session_claims()["login_at"]
        app.extensions["sqlalchemy"].drop_all()
        with pytest.raises(Exception, match="no such table"):
            logout.revoke_user("ada")
        return {"moved": session_claims()["login_at"] != before}

    assert post(app, "/password") == {"moved": False}


def test_a_single_session_policy_keeps_the_new_one_and_no_old_password(
    host: Flask,
) -> None:
    """The recipe of the docs: name the new session instead of moving its beginning."""

    @host.post("/login")
    def log_in() -> dict[str, str]:
        if request.args:
            host.test_client().post("/password")
        claims = session_claims()
        logout.revoke_user("ada", keep_session=claims["sid"])
        return issue(claims)

    @host.post("/password")
    def change_password() -> dict[str, str]:
        logout.revoke_user("ada")
        return {}

    first, second = Pair(**post(host, "/login")), Pair(**post(host, "/login"))
    assert status(host, first) == (401, 401)
    assert status(host, second) == (200, 200)
    assert status(host, Pair(**post(host, "/login?slow"))) == (401, 401)


def stamps_of(app: Flask, path: str) -> list[float]:
    """Get a view that gives what session_claims() says at three moments."""
    response = app.test_client().get(path)
    assert response.status_code == 200
    return [float(line) for line in response.text.split()]


def tell() -> str:
    """Say when a login that began now would have begun."""
    return f"{session_claims()['login_at']!r}\n"


def test_a_login_begins_when_its_request_does(make_app: MakeApp) -> None:
    app, other = make_app(), make_app()

    @app.get("/plain")
    def plain() -> str:
        return tell() + tell()

    @app.get("/nested")
    def nested() -> str:
        inner = app.test_client().get("/plain").text
        return tell() + inner.split()[0] + "\n" + tell()

    @other.get("/passed-on")
    def passed_on() -> str:
        return tell()

    @app.get("/across")
    def across() -> str:
        inner = other.test_client().get("/passed-on").text
        return tell() + inner + tell()

    @app.get("/async")
    async def view() -> str:
        await asyncio.sleep(0)
        return tell() + await asyncio.to_thread(tell) + tell()

    @app.get("/stream")
    def stream() -> t.Iterator[str]:
        return stream_with_context(tell() for _ in range(3))

    for path in ("/plain", "/async", "/stream"):
        assert len(set(stamps_of(app, path))) == 1
    for path in ("/nested", "/across"):
        first, inner, last = stamps_of(app, path)
        assert first == last < inner


def test_a_login_outside_a_request_begins_now(local: Flask) -> None:
    """In an app context that stays open, such as a shell or a worker of a queue."""
    first = session_claims()["login_at"]
    assert session_claims()["login_at"] > first
    logout.revoke_user("ada")
    assert status(local, login(local)) == (200, 200)
    with local.test_request_context():
        assert session_claims()["login_at"] > first


def test_two_requests_in_one_app_context_begin_apart(local: Flask) -> None:
    @local.get("/plain")
    def plain() -> str:
        return tell()

    (first,), (second,) = stamps_of(local, "/plain"), stamps_of(local, "/plain")
    assert first < second


def test_an_app_that_passes_its_environ_on_keeps_the_beginning(
    make_app: MakeApp,
) -> None:
    outer, inner = make_app(), make_app()

    @outer.get("/plain")
    def call() -> str:
        return tell() + Response.from_app(inner, request.environ).get_data(as_text=True)

    @inner.get("/plain")
    def plain() -> str:
        return tell()

    first, second = stamps_of(outer, "/plain")
    assert first == second


def test_no_login_begins_in_the_future(make_app: MakeApp) -> None:
    app = make_app()

    @app.get("/plain")
    def plain() -> str:
        with time_machine.travel(datetime.now(timezone.utc) - timedelta(hours=1)):
            claims = session_claims()
        return f"{claims['login_at']} {claims['iat']} {tell()}"

    login_at, iat, now = stamps_of(app, "/plain")
    assert iat - 0.001 < login_at <= iat < now - 3500


def test_a_sid_of_the_apps_own_is_no_session(host: Flask) -> None:
    """A shop: the logout of one customer must not lock the others out (issue 22)."""
    ada = make_pair(host, "ada", additional_claims={"sid": "shop"})
    eve = make_pair(host, "eve", additional_claims={"sid": "shop"})
    assert log_out(host.test_client(), ada).data == LOGGED_OUT
    assert status(host, ada) == (401, 401)
    assert status(host, eve) == (200, 200)
    with host.app_context():
        logout.revoke_token(claims_of(eve.access), session=True)
        assert status(host, eve) == (401, 200)
        # Who names it means every token that has it.
        logout.revoke_session("shop")
        assert status(host, eve) == (401, 401)


def test_a_sid_of_the_apps_own_is_not_spared(local: Flask) -> None:
    pair = make_pair(local, additional_claims={"sid": "shop"})
    logout.revoke_user("ada", keep_session="shop")
    assert status(local, pair) == (401, 401)


def test_a_token_can_be_revoked_alone_or_with_its_session(host: Flask) -> None:
    pair = login(host)
    other = refreshed(host, pair)
    with host.app_context():
        logout.revoke_token(claims_of(pair.refresh))
        assert status(host, pair) == (200, 401)
        logout.revoke_token(claims_of(pair.refresh), session=False)
        assert status(host, other) == (200, 200)
        logout.revoke_token(claims_of(pair.refresh), session=True)
        assert status(host, pair) == status(host, other) == (401, 401)


def test_a_view_that_rotates_refresh_tokens_revokes_the_old_one(host: Flask) -> None:
    """The recipe that many apps have: the login must go on (issue 15)."""

    @host.post("/rotate")
    @jwt_required(refresh=True)
    def rotate() -> dict[str, str]:
        logout.revoke_token(get_jwt())
        return issue(session_claims(get_jwt()), get_jwt_identity())

    pair = login(host)
    for _ in range(3):
        rotated = Pair(**post(host, "/rotate", pair.refresh))
        assert status(host, pair) == (200, 401)
        assert status(host, rotated) == (200, 200)
        old, pair = pair, rotated
    assert log_out(host.test_client(), pair).data == LOGGED_OUT
    assert status(host, pair) == status(host, old) == (401, 401)


@pytest.mark.parametrize("named", [None, "a"])
def test_a_token_without_an_issuer_ends_no_session_of_another(
    make_app: MakeApp, named: str | None
) -> None:
    """Issue 37: the same ``sid`` may come from two issuers."""
    app = make_app()
    issuers = ({}, {"iss": "b"}) if named is None else ({"iss": "a"}, {})
    mine, other = (
        make_pair(app, additional_claims={**session_claims(), "sid": "s", **issuer})
        for issuer in issuers
    )
    assert log_out(app.test_client(), mine).data == LOGGED_OUT
    assert status(app, mine) == (401, 401)
    assert status(app, other) == (200, 200)
    with app.app_context():
        logout.revoke_session("s")
        assert status(app, other) == (401, 401)


def test_any_issuer_is_also_none(make_app: MakeApp) -> None:
    app = make_app()
    pairs = [
        make_pair(app, additional_claims={**session_claims(), **issuer})
        for issuer in ({}, {"iss": "a"}, {"iss": ""})
    ]
    kept = claims_of(pairs[1].access)["sid"]
    with app.app_context():
        logout.revoke_user("ada", keep_session=kept)
        found = [status(app, pair) for pair in pairs]
        assert found == [(401, 401), (200, 200), (401, 401)]
        logout.revoke_everyone()
        assert status(app, pairs[1]) == (401, 401)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.999999])
def test_a_fractional_iat_is_valid_at_once(local: Flask, fraction: float) -> None:
    """PyJWT compares its whole seconds with the clock."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    with time_machine.travel(now + timedelta(seconds=fraction), tick=False):
        assert status(local, login(local)) == (200, 200)


def test_a_token_from_a_clock_that_is_ahead_is_covered_within_the_leeway(
    make_app: MakeApp,
) -> None:
    """Its login began, by this clock, after the cutoff; the earlier iat decides."""
    app = make_app(JWT_DECODE_LEEWAY=10)
    now = datetime.now(timezone.utc).timestamp()
    claims = {"sub": "ada", "jti": "j", "sid": "s", "login_at": now + 5, "iat": now - 1}
    token = encode(app, **claims, exp=now + 60, type="access")
    client = app.test_client()
    assert client.get("/me", headers=bearer(token)).status_code == 200
    with app.app_context():
        logout.revoke_user("ada")
    assert client.get("/me", headers=bearer(token)).status_code == 401
