"""Tokens with a longer lifetime than the settings say."""

from __future__ import annotations

import re
import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import time_machine
from flask import Flask

from flask_logout import LogoutExtension
from flask_logout import session_claims

from .conftest import MakeApp
from .tokens import bearer
from .tokens import encode
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair

logout = LogoutExtension()
DAY = timedelta(days=1)


def later(days: float) -> t.Any:
    """Travel to a number of days from now."""
    return time_machine.travel(datetime.now(timezone.utc) + days * DAY, tick=False)


def refresh_status(app: Flask, token: str) -> int:
    """Return the status code of the route for refresh tokens."""
    response = app.test_client().post("/refresh", headers=bearer(token))
    return response.status_code


def warning(found: str, kept: str) -> str:
    """Make the warning that is expected in the log."""
    return (
        f"A valid token {found}, but revocations are kept for a lifetime of {kept}. From"
        " now on, this worker keeps new revocations long enough. Revocations that are"
        " already stored may be deleted while their tokens are still valid. Set"
        " LOGOUT_MAX_TOKEN_LIFETIME to the longest lifetime of any token that may still"
        " be valid, and don't issue tokens without an exp claim."
    )


SHORT = {"JWT_REFRESH_TOKEN_EXPIRES": DAY}


def test_revocations_are_kept_for_tokens_issued_with_a_longer_lifetime(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """The 30-day token was issued before the setting was shortened to 1 day."""
    pair = make_pair(make_app())
    app = make_app(**SHORT)
    assert refresh_status(app, pair.refresh) == 200
    with app.app_context():
        logout.revoke_user("ada")
        with later(29):
            logout.purge()
            assert refresh_status(app, pair.refresh) == 401
        with later(31):
            assert logout.purge() == 1
    assert caplog.messages == [
        warning("has a lifetime of 30 days, 0:00:00", "1 day, 0:00:00")
    ]


def test_a_logout_takes_the_lifetime_of_its_refresh_token_into_account(
    make_app: MakeApp,
) -> None:
    """No route has checked that token before."""
    app = make_app(JWT_REFRESH_TOKEN_EXPIRES=DAY)
    claims = session_claims()
    long = make_pair(app, additional_claims=claims, expires_delta=30 * DAY)
    short = make_pair(app, additional_claims=claims)
    client = app.test_client()
    assert log_out(client, Pair(short.access, long.refresh)).data == LOGGED_OUT
    with app.app_context():
        logout.revoke_user("ada")
        with later(29):
            assert logout.purge() == 0


def test_each_longer_lifetime_is_logged_once(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(**SHORT)
    for days in (0.5, 1, 1.04, 30, 30, 20, 90, 30, 90):
        options = {"additional_claims": session_claims(), "expires_delta": days * DAY}
        assert refresh_status(app, make_pair(app, **options).refresh) == 200
    assert len(caplog.messages) == 2
    # Signing can be slow under load, so the lifetime may be a minute longer.
    assert re.match(
        r"A valid token has a lifetime of 30 days, 0:0\d", caplog.messages[0]
    )
    assert re.match(
        r"A valid token has a lifetime of 90 days, 0:0\d:00, but revocations are kept for"
        r" a lifetime of 30 days, 0:0\d:00\.",
        caplog.messages[1],
    )


@pytest.mark.parametrize("setting", [None, 2 * DAY])
def test_revocations_are_never_deleted_after_a_token_that_never_expires(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, setting: timedelta | None
) -> None:
    app = make_app(**SHORT, LOGOUT_MAX_TOKEN_LIFETIME=setting)
    pair = make_pair(app, expires_delta=False)
    for _ in range(2):
        assert refresh_status(app, pair.refresh) == 200
    kept = "1 day, 0:00:00" if setting is None else "2 days, 0:00:00"
    assert caplog.messages == [warning("never expires", kept)]
    with app.app_context():
        logout.revoke_user("ada")
        with later(36500):
            assert logout.purge() == 0
            assert refresh_status(app, pair.refresh) == 401


def test_a_lifetime_covered_by_the_settings_is_not_logged(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(**SHORT, LOGOUT_MAX_TOKEN_LIFETIME=30 * DAY)
    endless = make_app(JWT_REFRESH_TOKEN_EXPIRES=False)
    for each in (app, endless):
        for token in (make_pair(each), make_pair(each, expires_delta=30 * DAY)):
            assert refresh_status(each, token.refresh) == 200
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("claims", "found"),
    [
        ({"exp": 9}, "has a lifetime of 9 days, 0:0"),
        ({"exp": 9, "iat": str}, "has a lifetime of 9 days, 0:0"),
        ({"exp": 10**15}, "never expires"),
    ],
)
def test_the_lifetime_of_a_token_without_a_usable_iat_starts_now(
    make_app: MakeApp,
    caplog: pytest.LogCaptureFixture,
    claims: dict[str, t.Any],
    found: str,
) -> None:
    app = make_app(**SHORT)
    now = datetime.now(timezone.utc).timestamp()
    given = {"exp": int(now) + claims["exp"] * 86400}
    if "iat" in claims:
        given["iat"] = claims["iat"](int(now))
    token = encode(app, sub="ada", jti="j", type="refresh", **given)
    assert refresh_status(app, token) == 200
    (message,) = caplog.messages
    assert message.startswith(f"A valid token {found}")
