"""Settings, and the errors that explain invalid ones."""

from __future__ import annotations

import math
import typing as t
from datetime import timedelta
from urllib.parse import quote

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flask_logout import ConfigError
from flask_logout.config import Settings
from flask_logout.config.value_types import show
from flask_logout.views import make_blueprint


def settings(**config: t.Any) -> Settings:
    """Read the settings of an app with this configuration."""
    app = Flask("tests")
    app.config.update(config)
    return Settings.from_app(app)


def test_the_defaults() -> None:
    assert settings().model_dump() == {
        "url_prefix": "/auth",
        "endpoints": frozenset({"logout"}),
        "app_wide_errors": False,
        "require_refresh_token": True,
        "require_fresh": False,
        "max_token_length": 8192,
        "expired_access_grace": timedelta(0),
        "max_token_lifetime": None,
        "store_uri": None,
        "table_name": "logout_revocation",
        "bind_key": None,
        "timeout": timedelta(seconds=2),
        "redis_wait": 0,
        "commit_app_session": False,
        "max_staleness": timedelta(0),
        "sessions": False,
        "session_lifetime": None,
        "max_sessions": None,
        "session_details": frozenset({"label"}),
        "rotation_grace": timedelta(seconds=30),
        "rotation_late_retry": False,
        "purge_margin": timedelta(hours=1),
        "backchannel": {},
        "metrics": False,
        "purge_every": 100,
    }


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        settings().max_token_length = 1  # type: ignore[misc]


def test_values_from_environment_variables_are_converted() -> None:
    read = settings(
        LOGOUT_APP_WIDE_ERRORS="false",
        LOGOUT_MAX_TOKEN_LENGTH="100",
        LOGOUT_PURGE_MARGIN=90,
        LOGOUT_URL_PREFIX="",
    )
    assert read.app_wide_errors is False
    assert read.max_token_length == 100
    assert read.purge_margin == timedelta(seconds=90)
    assert read.url_prefix == ""


EXPECTED_DURATION = "a timedelta or a number of seconds, from 0 to 365000 days"
EXPECTED = {
    "LOGOUT_URL_PREFIX": (
        'a path that starts with "/" and doesn\'t end with "/", such as "/auth", or ""'
        " to use POST /logout. It can't contain spaces or any of %?#<>[]{}|"
    ),
    "LOGOUT_ENDPOINTS": (
        'a set, list or tuple of "logout", "logout_all", "refresh", "sessions", "revoke",'
        ' "introspect" and "backchannel_logout", or set() for no endpoint'
    ),
    "LOGOUT_APP_WIDE_ERRORS": "True or False",
    "LOGOUT_REQUIRE_REFRESH_TOKEN": "True or False",
    "LOGOUT_REQUIRE_FRESH": "True or False",
    "LOGOUT_MAX_TOKEN_LENGTH": "a whole number from 64 to 1048576",
    "LOGOUT_EXPIRED_ACCESS_GRACE": EXPECTED_DURATION,
    "LOGOUT_MAX_TOKEN_LIFETIME": (
        "a timedelta or a number of seconds, more than 0 and at most 365000 days, or"
        " None for the longest JWT_ACCESS_TOKEN_EXPIRES or JWT_REFRESH_TOKEN_EXPIRES"
    ),
    "LOGOUT_STORE_URI": (
        "the URL of a Redis server or of a database, or None for the app's database"
    ),
    "LOGOUT_TABLE_NAME": (
        "1 to 40 ASCII letters, digits and underscores, the first of them not a digit"
    ),
    "LOGOUT_BIND_KEY": "a key of SQLALCHEMY_BINDS, or None for the default database",
    "LOGOUT_TIMEOUT": (
        "a timedelta or a number of seconds, more than 0 and at most 3600"
    ),
    "LOGOUT_REDIS_WAIT": "a whole number, 0 or more",
    "LOGOUT_COMMIT_APP_SESSION": "True or False",
    "LOGOUT_MAX_STALENESS": EXPECTED_DURATION,
    "LOGOUT_SESSIONS": "True or False",
    "LOGOUT_SESSION_LIFETIME": (
        "a timedelta or a number of seconds, more than 0 and at most 365000 days, or None"
        " for no limit"
    ),
    "LOGOUT_MAX_SESSIONS": "a whole number, 1 or more, or None for no limit",
    "LOGOUT_SESSION_DETAILS": (
        'a set, list or tuple of "user_agent", "ip_address" and "label", or set() to keep'
        " none of them"
    ),
    "LOGOUT_ROTATION_GRACE": ("a timedelta or a number of seconds, from 0 to 3600"),
    "LOGOUT_ROTATION_LATE_RETRY": "True or False",
    "LOGOUT_BACKCHANNEL": (
        'a dict such as {"https://idp.example.com": {"client_id": "…", "jwks_uri":'
        ' "https://…"}}, with HTTPS URLs, and "algorithms", such as ["ES256"], if they'
        " aren't RS256"
    ),
    "LOGOUT_METRICS": "True or False",
    "LOGOUT_PURGE_MARGIN": EXPECTED_DURATION,
    "LOGOUT_PURGE_EVERY": "a whole number, 0 or more",
}


class Unreadable:
    """A value with a long repr."""

    def __repr__(self) -> str:
        return "<" + 100 * "x" + ">"


NEVER_VALID = [-1, math.nan, math.inf, -math.inf, timedelta.min, [], {}, Unreadable()]
NOT_A_NUMBER = [
    *NEVER_VALID,
    True,
    None,
    "",
    "soon",
    "PT1S",
    "nan",
    "inf",
    1e300,
    b"\xff",
]
NOT_A_DURATION = [*NOT_A_NUMBER, timedelta.max, -0.001, "-1", 10**5000]
INVALID: dict[str, list[object]] = {
    "LOGOUT_URL_PREFIX": [
        *(
            *NEVER_VALID,
            True,
            None,
            "auth",
            "/",
            "/auth/",
            "/a b",
            "/a\n",
            "/%41",
            "//a",
        ),
        *("/a/../b", "/.", "/a?b", "/a#b", "/<int:x>", "/a\\b", "\x00", "/[a]", "/{a}"),
        *("https://example.org/auth", "/a\u2028", "/\ud800", " /a"),
    ],
    "LOGOUT_ENDPOINTS": [
        *(x for x in NEVER_VALID if x != []),
        *(True, None, "logout", {"logout": 1}, {"log_out"}, ["logout", "renew"], [1]),
    ],
    "LOGOUT_APP_WIDE_ERRORS": [*NEVER_VALID, None, "perhaps", 2, ""],
    "LOGOUT_REQUIRE_REFRESH_TOKEN": [*NEVER_VALID, None, "perhaps", 2, ""],
    "LOGOUT_REQUIRE_FRESH": [*NEVER_VALID, None, "perhaps", 2, ""],
    "LOGOUT_MAX_TOKEN_LENGTH": [*NOT_A_NUMBER, 63, (1 << 20) + 1, 64.5, 10**5000],
    "LOGOUT_EXPIRED_ACCESS_GRACE": NOT_A_DURATION,
    "LOGOUT_MAX_TOKEN_LIFETIME": [
        *(x for x in NOT_A_DURATION if x is not None),
        0,
        "0",
    ],
    "LOGOUT_STORE_URI": [*NEVER_VALID, True, "", 7],
    "LOGOUT_TABLE_NAME": [
        *(*NEVER_VALID, True, None, "", "a-b", "1a", "tâble", "a\n", "x" * 41),
    ],
    "LOGOUT_BIND_KEY": [*NEVER_VALID, True, "", 7],
    "LOGOUT_TIMEOUT": [*NOT_A_DURATION, 0, timedelta(0), 1e-9, 3601, timedelta(days=1)],
    "LOGOUT_REDIS_WAIT": [*NOT_A_NUMBER, 0.5],
    "LOGOUT_COMMIT_APP_SESSION": [*NEVER_VALID, None, "perhaps", 2, ""],
    "LOGOUT_MAX_STALENESS": NOT_A_DURATION,
    "LOGOUT_SESSIONS": [*NEVER_VALID, None, "perhaps", 2, ""],
    "LOGOUT_SESSION_LIFETIME": [*(x for x in NOT_A_DURATION if x is not None), 0, "0"],
    "LOGOUT_MAX_SESSIONS": [*(x for x in NOT_A_NUMBER if x is not None), 0, 0.5],
    "LOGOUT_SESSION_DETAILS": [
        *(x for x in NEVER_VALID if x != []),
        *(True, None, "label", {"label": 1}, {"address"}, ["label", "country"], [1]),
    ],
    "LOGOUT_ROTATION_GRACE": [*NOT_A_DURATION, 3601],
    "LOGOUT_ROTATION_LATE_RETRY": [*NEVER_VALID, None, "perhaps", 2, ""],
    "LOGOUT_BACKCHANNEL": [
        *(x for x in NEVER_VALID if x != {}),
        *(None, "https://idp", ["https://idp"], {"https://idp": "app"}),
    ],
    "LOGOUT_METRICS": [*NEVER_VALID, None, "perhaps", 2, ""],
    "LOGOUT_PURGE_MARGIN": NOT_A_DURATION,
    "LOGOUT_PURGE_EVERY": [*NOT_A_NUMBER, 0.5],
}


def test_every_setting_is_tested_with_invalid_values() -> None:
    keys = [f"LOGOUT_{name.upper()}" for name in Settings.model_fields]
    assert list(INVALID) == list(EXPECTED) == keys


@pytest.mark.parametrize(
    ("key", "value"),
    # Number the values, because an integer can be too long for a test id.
    [
        pytest.param(key, value, id=f"{key}-{number}")
        for key, values in INVALID.items()
        for number, value in enumerate(values)
    ],
)
def test_an_invalid_value_raises_an_error_that_says_what_is_expected(
    key: str, value: object
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(**{key: value})
    shown = f"a value of type {type(value).__name__}"
    if key != "LOGOUT_STORE_URI" or value == "":
        shown = show(value)
    assert str(caught.value) == f"Invalid {key}: {shown}. Expected {EXPECTED[key]}."


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/auth/", "'/auth/'"),
        (timedelta(seconds=-1.5), "-1.5 seconds"),
        (timedelta(0), "0 seconds"),
        pytest.param(10**5000, "a value of type int", id="long"),
        ("\x1b[31m", r"'\x1b[31m'"),
        (Unreadable(), f"<{79 * 'x'}…"),
    ],
)
def test_a_rejected_value_is_shown_in_the_message(value: object, shown: str) -> None:
    assert show(value) == shown


def test_a_rejected_url_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        settings(LOGOUT_STORE_URI=["redis://:secret@host"])
    assert str(caught.value).startswith(
        "Invalid LOGOUT_STORE_URI: a value of type list."
    )


@given(st.from_regex(r"(/[!-~é]{1,3}){0,2}", fullmatch=True))
def test_every_accepted_prefix_leads_to_the_endpoint(prefix: str) -> None:
    app = Flask("tests")
    try:
        app.register_blueprint(
            make_blueprint(settings(LOGOUT_URL_PREFIX=prefix).url_prefix, {"logout"})
        )
    except ConfigError:
        return
    path = quote(f"{prefix}/logout", safe="/")
    with app.test_request_context(path, method="POST") as context:
        assert context.request.endpoint == "logout.logout"


def test_every_invalid_value_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        settings(LOGOUT_TABLE_NAME="", LOGOUT_BIND_KEY=1)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "Invalid LOGOUT_TABLE_NAME",
        "Invalid LOGOUT_BIND_KEY",
    ]


MISSPELLED = {
    "LOGOUT_URL_PREFIX": [
        *(
            "LOGOUT_PREFIX",
            "LOGOUT_URLPREFIX",
            "LOGOUT_URL_PERFIX",
            "LOGOUT_URI_PREFIX",
        ),
    ],
    "LOGOUT_ENDPOINTS": ["LOGOUT_ENDPOINT", "LOGOUT_END_POINTS", "LOGOUT_ENPOINTS"],
    "LOGOUT_APP_WIDE_ERRORS": [
        *("LOGOUT_APP_WIDE_ERROR", "LOGOUT_APPWIDE_ERRORS", "LOGOUT_WIDE_ERRORS"),
    ],
    "LOGOUT_REQUIRE_REFRESH_TOKEN": [
        *("LOGOUT_REQUIRE_REFRESH", "LOGOUT_REQUIRES_REFRESH_TOKEN"),
        *("LOGOUT_REQUIRE_REFRESH_TOKENS", "LOGOUT_REQUIRE_REFRESHTOKEN"),
    ],
    "LOGOUT_REQUIRE_FRESH": [
        *("LOGOUT_REQUIRES_FRESH", "LOGOUT_REQUIRE_FRESHNESS", "LOGOUT_REQUIRE_FRSH"),
    ],
    "LOGOUT_MAX_TOKEN_LENGTH": [
        *("LOGOUT_MAX_TOKEN_LEN", "LOGOUT_TOKEN_MAX_LENGTH", "LOGOUT_MAX_LENGTH"),
    ],
    "LOGOUT_EXPIRED_ACCESS_GRACE": [
        *("LOGOUT_ACCESS_GRACE", "LOGOUT_EXPIRED_GRACE", "LOGOUT_EXPIRED_TOKEN_GRACE"),
    ],
    "LOGOUT_MAX_TOKEN_LIFETIME": [
        *("LOGOUT_MAX_LIFETIME", "LOGOUT_TOKEN_LIFETIME", "LOGOUT_MAX_TOKEN_LIFE"),
    ],
    "LOGOUT_STORE_URI": [
        *("LOGOUT_STORAGE_URI", "LOGOUT_STORAGE_URL", "LOGOUT_STORE_URL"),
        *("LOGOUT_STOREURI", "LOGOUT_STORES_URI", "LGOOUT_STORE_URI"),
    ],
    "LOGOUT_TABLE_NAME": ["LOGOUT_TABLENAME", "LOGOUT_TABLE_NAMES"],
    "LOGOUT_BIND_KEY": ["LOGOUT_BINDKEY", "LOGOUT_BIND_KEYS", "LOGOUT_BINDS_KEY"],
    "LOGOUT_TIMEOUT": ["LOGOUT_TIME_OUT", "LOGOUT_TIMEOUTS", "LOGOUT_TIMOUT"],
    "LOGOUT_REDIS_WAIT": ["LOGOUT_REDIS_WAITS", "LOGOUT_REDISWAIT"],
    "LOGOUT_COMMIT_APP_SESSION": [
        *("LOGOUT_COMMIT_SESSION", "LOGOUT_COMMIT_APP_SESSIONS"),
    ],
    "LOGOUT_MAX_STALENESS": ["LOGOUT_STALENESS", "LOGOUT_MAX_STALE"],
    "LOGOUT_SESSIONS": ["LOGOUT_SESSION", "LOGOUT_SESIONS"],
    "LOGOUT_SESSION_LIFETIME": ["LOGOUT_SESSIONS_LIFETIME", "LOGOUT_SESSION_LIFETIMES"],
    "LOGOUT_MAX_SESSIONS": ["LOGOUT_MAX_SESSION", "LOGOUT_MAX_SESION"],
    "LOGOUT_SESSION_DETAILS": ["LOGOUT_SESSION_DETAIL", "LOGOUT_SESSIONS_DETAILS"],
    "LOGOUT_ROTATION_GRACE": ["LOGOUT_ROTATE_GRACE", "LOGOUT_ROTATION_GRACE_PERIOD"],
    "LOGOUT_ROTATION_LATE_RETRY": [
        "LOGOUT_ROTATION_LATE_RETRIES",
        "LOGOUT_ROTATE_LATE_RETRY",
    ],
    "LOGOUT_BACKCHANNEL": ["LOGOUT_BACK_CHANNEL", "LOGOUT_BACKCHANNELS"],
    "LOGOUT_METRICS": ["LOGOUT_METRIC", "LOGOUT_METRICES"],
    "LOGOUT_PURGE_MARGIN": [
        *("LOGOUT_PURGE_MARGN", "LOGOUT_PURGE_MARGINS", "LOGOUT_PURGE_MARGUN"),
        *("LOGOUT_PURGE_MARGNI", "LOGUOT_PURGE_MARGIN", "LOGOUTPURGE_MARGIN"),
        *("OGOUT_PURGE_MARGIN", "logout_purge_margin", "Logout_Purge_Margin"),
    ],
    "LOGOUT_PURGE_EVERY": ["LOGOUT_PURGE_EVER", "LOGOUT_PURGES_EVERY"],
}


def test_every_setting_is_tested_with_misspellings() -> None:
    assert list(MISSPELLED) == list(EXPECTED)


@pytest.mark.parametrize(
    ("key", "meant"),
    [(key, meant) for meant, keys in MISSPELLED.items() for key in keys],
)
def test_a_misspelled_setting_raises_an_error_with_the_right_name(
    key: str, meant: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(**{key: 60})
    assert str(caught.value) == (
        f"Unknown setting {key}. Did you mean {meant}? If {key} is a setting of your own"
        " app, rename it, because its name is too similar."
    )


APP_SETTINGS = """
    AFTER_MINUTES ALL_DEVICES AUDIT_TABLE BIND_HOST BUTTON_LABEL CALLBACK_URL CONFIRM
    COOKIE_NAME COUNTDOWN DELAY ENABLED EVENT EVERYWHERE FLASH_MESSAGE GRACE HANDLER ICON
    IDLE_TIMEOUT KEY LANDING_PAGE LINK MENU_LABEL MESSAGE METHODS NEXT_URL
    ON_PASSWORD_CHANGE PAGE_TITLE PATH PURGES QUEUE RATE_LIMIT REASONS REDIRECT_URI
    REDIRECT_URL REQUIRE_LOGIN REQUIRE_POST RETURN_URL ROUTE SESSION_KEY SUCCESS_URL
    TEMPLATE TEXT TIME TITLE TOKEN_HEADER TOKEN_URL TOPIC URL USER_KEY VIEW VIEW_NAME
    WARNING_SECONDS WEBHOOK_URL
""".split()


@pytest.mark.parametrize("name", APP_SETTINGS)
def test_other_logout_keys_are_ignored(name: str) -> None:
    assert settings(**{f"LOGOUT_{name}": 1}) == settings()


@pytest.mark.parametrize(
    "key", ["LOGOUT", "LOGIN_TIMEOUT", "LOG_TIMEOUT", "STORE_URI", "logout", "TIMEOUT"]
)
def test_keys_of_other_extensions_are_ignored(key: str) -> None:
    assert settings(**{key: 1}) == settings()


def test_a_key_that_is_not_a_string_is_ignored() -> None:
    app = Flask("tests")
    app.config[t.cast(str, 7)] = 1
    assert Settings.from_app(app) == settings()
