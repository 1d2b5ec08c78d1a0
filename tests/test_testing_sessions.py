"""The fixtures of the pytest plugin for sessions."""

from __future__ import annotations

import typing as t
from datetime import timedelta

import pytest

from .plugin_suites import contains
from .plugin_suites import RunSuite
from .plugin_suites import without_pytest_flask

HOUR = timedelta(hours=1)


def test_sessions_are_real(run_suite: RunSuite) -> None:
    run_suite("real_sessions", LOGOUT_SESSIONS=True).assert_outcomes(passed=13)


@without_pytest_flask
def test_sessions_are_real_on_every_database(
    run_suite: RunSuite, database_url: str
) -> None:
    config = {"LOGOUT_SESSIONS": True, "SQLALCHEMY_DATABASE_URI": database_url}
    options = ["-k", "stale or session_is_listed or can_be_refreshed"]
    result = run_suite("real_sessions", *options, **config)
    result.assert_outcomes(passed=5, deselected=8)


@without_pytest_flask
@pytest.mark.parametrize(
    "config",
    [
        {"LOGOUT_ROTATION_GRACE": 0},
        {"LOGOUT_ROTATION_GRACE": HOUR, "LOGOUT_ROTATION_LATE_RETRY": True},
        {"LOGOUT_ROTATION_GRACE": 0, "LOGOUT_ROTATION_LATE_RETRY": True},
        {"LOGOUT_MAX_STALENESS": 60},
        {"LOGOUT_SESSION_LIFETIME": HOUR, "LOGOUT_MAX_SESSIONS": 5},
        {"JWT_TOKEN_LOCATION": ["cookies", "headers"]},
        {"JWT_HEADER_NAME": "X-Token", "JWT_HEADER_TYPE": ""},
        {"JWT_ENCODE_ISSUER": "us", "JWT_DECODE_ISSUER": "us"},
    ],
)
def test_a_token_is_stale_with_any_setting(
    run_suite: RunSuite, config: dict[str, t.Any]
) -> None:
    result = run_suite("real_sessions", LOGOUT_SESSIONS=True, **config)
    result.assert_outcomes(passed=13)


@without_pytest_flask
def test_the_fixtures_say_that_the_app_has_no_sessions(run_suite: RunSuite) -> None:
    result = run_suite("no_sessions")
    result.assert_outcomes(passed=1, errors=3)
    for name in ("logout_start_session", "logout_sessions", "logout_make_stale"):
        assert contains(
            result,
            f"The app under test has no sessions, which {name} needs. Set"
            " LOGOUT_SESSIONS to True in its config.",
        )


def test_sessions_are_deleted_at_the_end_of_a_test(run_suite: RunSuite) -> None:
    run_suite("clean_up_sessions").assert_outcomes(passed=3)


def test_the_loaders_of_the_app_apply_to_sessions(run_suite: RunSuite) -> None:
    run_suite("session_loaders", LOGOUT_SESSIONS=True).assert_outcomes(passed=2)
