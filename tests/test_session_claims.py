"""The endpoint exchanges exactly the refresh tokens that a check accepts.

The endpoint checks a token in the statement that rotates it, and a check reads the
revocations. They must agree on tokens with any claims, which the key of the app signed.
"""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

import jwt
import pytest
from flask import Flask
from flask_jwt_extended import decode_token
from flask_jwt_extended import JWTManager
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from flask_logout import LogoutExtension

from .ci import examples
from .conftest import dispose
from .conftest import SECRET
from .sessions import KINDS
from .sessions import Opened
from .sessions import opened_with_url
from .tokens import bearer

logout = LogoutExtension()

IDENTITIES: list[t.Any] = ["ada", "bob", 7]
SIDS: list[t.Any] = ["a", "b", "", 5, None]
ISSUERS = ["x", "y"]
# Seconds since the token was made, or other values.
TIMES: list[t.Any] = [0.0, -1e-6, -0.3, -1.2, -3.0, None]
ODD_TIMES: list[t.Any] = ["text", True, 1e300]

CLAIMS = st.fixed_dictionaries(
    {
        "sub": st.sampled_from(IDENTITIES),
        "jti": st.sampled_from(["j", None]),
        "sid": st.sampled_from(SIDS),
        "iss": st.sampled_from(ISSUERS),
        "iat": st.sampled_from(TIMES),
        "login_at": st.sampled_from([*TIMES, *ODD_TIMES]),
        "generation": st.sampled_from([0, 3, None, "text", -1]),
    }
)
EVENTS = st.one_of(
    st.sampled_from([("token",), ("login",), ("everyone",)]),
    st.tuples(st.just("session"), st.sampled_from(["a", "b", "c"])),
    st.tuples(
        st.just("user"),
        st.sampled_from(IDENTITIES),
        st.sampled_from(["a", "b", None]),
    ),
)

Event = tuple[t.Any, ...]
Place = tuple[Flask, Opened]


@pytest.fixture(scope="module", params=KINDS)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Place]:
    """An app with each kind of store."""
    folder: Path = tmp_path_factory.mktemp("claims")
    with opened_with_url(request.param, folder) as (stores, url, name):
        app = Flask(__name__)
        app.config.update(
            JWT_SECRET_KEY=SECRET,
            JWT_VERIFY_SUB=False,
            JWT_ENCODE_ISSUER="x",
            JWT_DECODE_ISSUER=ISSUERS,
            LOGOUT_STORE_URI=url,
            LOGOUT_TABLE_NAME=name,
            LOGOUT_ENDPOINTS={"refresh"},
            LOGOUT_TIMEOUT=30,
        )
        JWTManager(app)
        LogoutExtension(app)
        yield app, stores
        dispose(app)


def make_token(claims: dict[str, t.Any]) -> str:
    """Make a refresh token whose times are relative to now."""
    now = time.time()
    found = {name: value for name, value in claims.items() if value is not None}
    for name in ("iat", "login_at"):
        if isinstance(found.get(name), float) and found[name] <= 0:
            found[name] += now
    common = {"type": "refresh", "exp": now + 3600}
    return jwt.encode({**common, **found}, SECRET, "HS256")


def revoke(event: Event, token: str) -> None:
    """Revoke the token, or others."""
    kind, *arguments = event
    claims = decode_token(token)
    if kind == "token":
        logout.revoke_token(claims)
    elif kind == "login":
        logout.revoke_token(claims, session=True)
    elif kind == "session":
        logout.revoke_session(*arguments)
    elif kind == "user":
        logout.revoke_user(arguments[0], keep_session=arguments[1])
    else:
        logout.revoke_everyone()


@settings(max_examples=examples(160), deadline=None)
@given(
    claims=CLAIMS,
    before=st.lists(EVENTS, max_size=2),
    after=st.lists(EVENTS, max_size=1),
)
def test_the_endpoint_and_a_check_agree(
    place: Place, claims: dict[str, t.Any], before: list[Event], after: list[Event]
) -> None:
    app, stores = place
    stores.clear()
    client = app.test_client()

    def refresh(token: str) -> TestResponse:
        return client.post("/auth/refresh", headers=bearer(token))

    with app.test_request_context():
        earlier = make_token(claims)
        # Store the session, unless the token gets one of its own.
        assert refresh(earlier).status_code == 200
        for event in before:
            revoke(event, earlier)
        token = make_token(claims)
        for event in after:
            revoke(event, token)
        is_revoked = logout.is_revoked(decode_token(token))
        response = refresh(token)
        if is_revoked:
            assert response.status_code == 401
            assert "Token has been revoked" in response.headers["WWW-Authenticate"]
            return
        assert response.status_code == 200
        for made in response.get_json()["data"].values():
            assert not logout.is_revoked(decode_token(made))
