"""When a login begins, which tokens belong to it, and what revokes it."""

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
from flask_logout.domain.claims import token_key

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
    """An app on SQLite, in an app context, so that all requests share its g."""
    app = make_app()
    with app.app_context():
        yield app


@pytest.fixture
def host(make_app: MakeApp, database_url: str) -> Flask:
    """An app on each kind of database."""
    return make_app(SQLALCHEMY_DATABASE_URI=database_url)


def status(app: Flask, pair: Pair) -> tuple[int, int]:
    """Return the status codes of the routes for access and for refresh tokens."""
    return get_status(app.test_client(), pair)


def issue(claims: dict[str, t.Any], identity: str = "ada") -> dict[str, str]:
    """Issue a pair of tokens in a view."""
    return {
        "access": create_access_token(identity, additional_claims=claims),
        "refresh": create_refresh_token(identity, additional_claims=claims),
    }


def post(app: Flask, path: str, token: str | None = None) -> dict[str, t.Any]:
    """Send a POST request, and return the JSON of the response."""
    headers = bearer(token) if token else {}
    response = app.test_client().post(path, headers=headers)
    assert response.status_code == 200
    return t.cast(dict[str, t.Any], response.get_json())


def login(app: Flask) -> Pair:
    """Issue the tokens of a new login, outside a request."""
    return make_pair(app, additional_claims=session_claims())


def refreshed(app: Flask, pair: Pair) -> Pair:
    """Issue more tokens of the same login."""
    return make_pair(app, additional_claims=session_claims(claims_of(pair.refresh)))


def test_session_claims_identify_a_login_and_when_it_began() -> None:
    before = datetime.now(timezone.utc).timestamp()
    first, second = session_claims(), session_claims()
    after = datetime.now(timezone.utc).timestamp()
    assert sorted(first) == ["iat", "login_at", "sid"]
    assert first["sid"] != second["sid"]
    assert before <= first["login_at"] <= first["iat"] <= after


def test_a_refresh_keeps_sid_and_login_at() -> None:
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
def test_a_refresh_of_a_token_without_a_session_starts_one(
    claims: dict[str, t.Any], expected: float
) -> None:
    made = session_claims(claims)
    assert made == session_claims(claims) | {"iat": made["iat"]}
    assert made["sid"] == f"t:{token_key(claims).hex()}"
    assert made["login_at"] == expected


def test_empty_claims_start_a_new_login() -> None:
    """``get_jwt()`` returns an empty dict if a token is optional and missing."""
    made = session_claims({})
    assert len(made["sid"]) == 36
    assert made["login_at"] == made["iat"]


def test_tokens_of_a_refresh_in_progress_are_revoked_by_log_out_everywhere(
    host: Flask,
) -> None:
    """The user logs out everywhere after the refresh has passed its check."""

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


def test_keep_session_does_not_restore_a_session_refreshed_meanwhile(
    host: Flask,
) -> None:
    """Whether a session is kept depends on when it began, as well."""
    with host.app_context():
        pair = login(host)
        logout.revoke_user("ada")
        late = refreshed(host, pair)
        logout.revoke_user("ada", keep_session=claims_of(pair.access)["sid"])
        assert status(host, pair) == status(host, late) == (401, 401)


@pytest.mark.parametrize("everybody", [False, True])
def test_a_login_that_read_the_old_password_is_revoked(
    host: Flask, everybody: bool
) -> None:
    """It issues its tokens after the password has changed."""

    @host.post("/slow-login")
    def slow_login() -> dict[str, str]:
        # The password changes after this login has checked it.
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
    # The request that changes the password returns valid tokens.
    assert status(host, Pair(**post(host, "/password"))) == (200, 200)


def test_a_password_change_can_return_tokens_while_the_clock_stands_still(
    host: Flask,
) -> None:
    """Tests of apps often freeze the clock, and some clocks are coarse."""

    @host.post("/password")
    def change_password() -> dict[str, str]:
        logout.revoke_user("ada")
        return issue(session_claims())

    with time_machine.travel(datetime.now(timezone.utc), tick=False):
        assert status(host, Pair(**post(host, "/password"))) == (200, 200)


def test_a_failed_revocation_does_not_move_login_at(make_app: MakeApp) -> None:
    app = make_app()

    @app.post("/password")
    def change_password() -> dict[str, t.Any]:
        before = session_claims()["login_at"]
        app.extensions["sqlalchemy"].drop_all()
        with pytest.raises(Exception, match="no such table"):
            logout.revoke_user("ada")
        return {"moved": session_claims()["login_at"] != before}

    assert post(app, "/password") == {"moved": False}


def test_a_single_session_policy_keeps_only_the_new_session(
    host: Flask,
) -> None:
    """The recipe in the docs passes the new session as ``keep_session``."""

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
    """Get a view, and parse the numbers in its response."""
    response = app.test_client().get(path)
    assert response.status_code == 200
    return [float(line) for line in response.text.split()]


def stamp() -> str:
    """Return a line with the ``login_at`` of a new login."""
    return f"{session_claims()['login_at']!r}\n"


def test_a_login_begins_when_its_request_begins(make_app: MakeApp) -> None:
    app, other = make_app(), make_app()

    @app.get("/plain")
    def plain() -> str:
        return stamp() + stamp()

    @app.get("/nested")
    def nested() -> str:
        inner = app.test_client().get("/plain").text
        return stamp() + inner.split()[0] + "\n" + stamp()

    @other.get("/passed-on")
    def passed_on() -> str:
        return stamp()

    @app.get("/across")
    def across() -> str:
        inner = other.test_client().get("/passed-on").text
        return stamp() + inner + stamp()

    @app.get("/async")
    async def view() -> str:
        await asyncio.sleep(0)
        return stamp() + await asyncio.to_thread(stamp) + stamp()

    @app.get("/stream")
    def stream() -> t.Iterator[str]:
        return stream_with_context(stamp() for _ in range(3))

    for path in ("/plain", "/async", "/stream"):
        assert len(set(stamps_of(app, path))) == 1
    for path in ("/nested", "/across"):
        first, inner, last = stamps_of(app, path)
        assert first == last < inner


def test_a_login_outside_a_request_begins_now(local: Flask) -> None:
    """For example in a shell or a queue worker, whose app context stays open."""
    first = session_claims()["login_at"]
    assert session_claims()["login_at"] > first
    logout.revoke_user("ada")
    assert status(local, login(local)) == (200, 200)
    with local.test_request_context():
        assert session_claims()["login_at"] > first


def test_two_requests_in_one_app_context_have_their_own_login_at(local: Flask) -> None:
    @local.get("/plain")
    def plain() -> str:
        return stamp()

    (first,), (second,) = stamps_of(local, "/plain"), stamps_of(local, "/plain")
    assert first < second


def test_an_app_that_forwards_its_environ_keeps_login_at(
    make_app: MakeApp,
) -> None:
    outer, inner = make_app(), make_app()

    @outer.get("/plain")
    def call() -> str:
        response = Response.from_app(inner, request.environ)
        return stamp() + response.get_data(as_text=True)

    @inner.get("/plain")
    def plain() -> str:
        return stamp()

    first, second = stamps_of(outer, "/plain")
    assert first == second


def test_login_at_is_never_in_the_future(make_app: MakeApp) -> None:
    app = make_app()

    @app.get("/plain")
    def plain() -> str:
        with time_machine.travel(datetime.now(timezone.utc) - timedelta(hours=1)):
            claims = session_claims()
        return f"{claims['login_at']} {claims['iat']} {stamp()}"

    login_at, iat, now = stamps_of(app, "/plain")
    assert iat - 0.001 < login_at <= iat < now - 3500


def test_a_sid_that_the_app_sets_itself_is_not_a_session(host: Flask) -> None:
    """If ``sid`` names a shop, one customer's logout must not log out the others."""
    ada = make_pair(host, "ada", additional_claims={"sid": "shop"})
    eve = make_pair(host, "eve", additional_claims={"sid": "shop"})
    assert log_out(host.test_client(), ada).data == LOGGED_OUT
    assert status(host, ada) == (401, 401)
    assert status(host, eve) == (200, 200)
    with host.app_context():
        logout.revoke_token(claims_of(eve.access), session=True)
        assert status(host, eve) == (401, 200)
        # revoke_session() covers every token with this sid.
        logout.revoke_session("shop")
        assert status(host, eve) == (401, 401)


def test_keep_session_ignores_a_sid_that_the_app_sets_itself(local: Flask) -> None:
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
    """Many apps do this, and the login must stay valid."""

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
def test_a_logout_revokes_no_session_of_another_issuer(
    make_app: MakeApp, named: str | None
) -> None:
    """Two issuers may use the same ``sid``."""
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


def test_any_issuer_includes_tokens_without_one(make_app: MakeApp) -> None:
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
    """PyJWT compares the whole seconds of ``iat`` with the clock."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    with time_machine.travel(now + timedelta(seconds=fraction), tick=False):
        assert status(local, login(local)) == (200, 200)


def test_a_token_from_a_clock_that_is_ahead_is_covered(
    make_app: MakeApp,
) -> None:
    """Its ``login_at`` is after the cutoff, but the earlier ``iat`` decides."""
    app = make_app(JWT_DECODE_LEEWAY=10)
    now = datetime.now(timezone.utc).timestamp()
    claims = {"sub": "ada", "jti": "j", "sid": "s", "login_at": now + 5, "iat": now - 1}
    token = encode(app, **claims, exp=now + 60, type="access")
    client = app.test_client()
    assert client.get("/me", headers=bearer(token)).status_code == 200
    with app.app_context():
        logout.revoke_user("ada")
    assert client.get("/me", headers=bearer(token)).status_code == 401
