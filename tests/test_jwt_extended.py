"""Invalid settings of Flask-JWT-Extended are errors in ``init_app``."""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta

import pytest

from flask_logout import ConfigError
from flask_logout import LogoutExtension
from flask_logout.config.jwt_settings import read_leeway
from flask_logout.config.jwt_settings import read_lifetime
from flask_logout.config.value_types import show

from .conftest import MakeApp
from .tokens import bearer
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair


@dataclass
class Calendar:
    """A duration that can be added to a date, like dateutil's relativedelta."""

    years: int = 0
    seconds: int = 0

    def __bool__(self) -> bool:
        return bool(self.years or self.seconds)

    def __radd__(self, start: datetime) -> datetime:
        end = start.replace(year=start.year + self.years, day=1)
        return end + timedelta(seconds=self.seconds)

    __add__ = __radd__


EXPECTED_TEXT = "a non-empty string"
EXPECTED_LIFETIME = (
    "a timedelta or a whole number of seconds, from 0 to 365000 days, or False for tokens"
    " that never expire"
)
EXPECTED = {
    "JWT_DECODE_LEEWAY": "a timedelta or a number of seconds, from 0 to 365000 days",
    "JWT_ACCESS_TOKEN_EXPIRES": EXPECTED_LIFETIME,
    "JWT_REFRESH_TOKEN_EXPIRES": EXPECTED_LIFETIME,
    "JWT_TOKEN_LOCATION": (
        'one or more of "headers", "cookies", "query_string" and "json"'
    ),
    "JWT_DECODE_ISSUER": "a string, a list of strings, or None",
    "JWT_ALGORITHM": 'the name of an algorithm, such as "HS256"',
    "JWT_IDENTITY_CLAIM": EXPECTED_TEXT,
    "JWT_ACCESS_COOKIE_NAME": EXPECTED_TEXT,
    "JWT_REFRESH_COOKIE_NAME": EXPECTED_TEXT,
}
NO_TEXT: list[object] = [math.nan, 7, True, [], {}, object(), b"x"]
NO_DURATION = [
    *(math.nan, math.inf, -math.inf, -1, timedelta(seconds=-1), timedelta.min),
    *(timedelta.max, 10**12, 10**5000, True, None, "10", "", [], {}, object()),
]
TOO_LATE = [1.5, Calendar(years=9000), Calendar(seconds=-1)]
INVALID = {
    "JWT_DECODE_LEEWAY": [*NO_DURATION, Calendar(seconds=1), 1e300],
    "JWT_ACCESS_TOKEN_EXPIRES": [*NO_DURATION, *TOO_LATE],
    "JWT_REFRESH_TOKEN_EXPIRES": [*NO_DURATION, *TOO_LATE],
    "JWT_TOKEN_LOCATION": [*NO_TEXT, None, "", "header", ["headers", "body"], [None]],
    "JWT_DECODE_ISSUER": [*(x for x in NO_TEXT if x not in ([], {})), [7], ["a", None]],
    "JWT_ALGORITHM": [*NO_TEXT, None],
    "JWT_IDENTITY_CLAIM": [*NO_TEXT, None, ""],
    "JWT_ACCESS_COOKIE_NAME": [*NO_TEXT, None, ""],
    "JWT_REFRESH_COOKIE_NAME": [*NO_TEXT, None, ""],
}


@pytest.mark.parametrize(
    ("key", "value"),
    # The values are not part of the test ids, because an integer can be too long.
    [
        pytest.param(key, value, id=f"{key}-{number}")
        for key, values in INVALID.items()
        for number, value in enumerate(values)
    ],
)
def test_the_error_of_an_invalid_setting_says_what_is_expected(
    make_app: MakeApp, key: str, value: object
) -> None:
    config: dict[str, t.Any] = {
        "JWT_TOKEN_LOCATION": ["headers", "cookies"],
        key: value,
    }
    with pytest.raises(ConfigError) as caught:
        make_app(**config)
    assert str(caught.value) == (
        f"Invalid {key}: {show(value)}. Expected {EXPECTED[key]}."
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("JWT_DECODE_LEEWAY", 0),
        ("JWT_DECODE_LEEWAY", 0.5),
        ("JWT_DECODE_LEEWAY", timedelta(days=365_000)),
        ("JWT_ACCESS_TOKEN_EXPIRES", False),
        ("JWT_ACCESS_TOKEN_EXPIRES", timedelta(days=365_000)),
        ("JWT_ACCESS_TOKEN_EXPIRES", Calendar(years=1)),
        ("JWT_REFRESH_TOKEN_EXPIRES", 60),
        ("JWT_REFRESH_TOKEN_EXPIRES", timedelta(days=365_000)),
        ("JWT_TOKEN_LOCATION", "headers"),
        ("JWT_TOKEN_LOCATION", {"headers", "json"}),
        ("JWT_TOKEN_LOCATION", ("query_string", "headers")),
        ("JWT_DECODE_ISSUER", "me"),
        ("JWT_DECODE_ISSUER", ["me", "you"]),
        ("JWT_IDENTITY_CLAIM", "user_id"),
        ("JWT_ACCESS_COOKIE_NAME", None),  # Cookies are not enabled.
    ],
)
def test_logout_works_with_every_valid_setting(
    make_app: MakeApp, key: str, value: object
) -> None:
    app = make_app(JWT_ENCODE_ISSUER="me", **{key: value})
    client, pair, other = app.test_client(), make_pair(app), make_pair(app)
    assert log_out(client, pair).data == LOGGED_OUT
    assert get_status(client, pair) == (401, 401)
    with app.app_context():
        LogoutExtension().revoke_user("ada")
    assert client.get("/me", headers=bearer(other.access)).status_code == 401


@pytest.mark.parametrize("value", [60, 60.0, timedelta(minutes=1)])
def test_a_leeway_is_read_as_a_duration(make_app: MakeApp, value: object) -> None:
    app = make_app(JWT_DECODE_LEEWAY=value)
    with app.app_context():
        assert read_leeway() == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("value", "lifetime"),
    [
        (60, timedelta(minutes=1)),
        (timedelta(minutes=1), timedelta(minutes=1)),
        (Calendar(seconds=60), timedelta(minutes=1)),
        (False, None),
        (0, None),
        (timedelta(0), None),
        (Calendar(), None),
    ],
)
def test_a_lifetime_is_read_as_a_duration(
    make_app: MakeApp, value: object, lifetime: timedelta | None
) -> None:
    app = make_app(JWT_ACCESS_TOKEN_EXPIRES=value)
    with app.app_context():
        assert read_lifetime("JWT_ACCESS_TOKEN_EXPIRES") == lifetime
