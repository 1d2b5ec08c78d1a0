"""The settings: each mistake is found at start-up, and its message says the remedy."""

from __future__ import annotations

import typing as t
from datetime import timedelta

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flask_logout import ConfigError
from flask_logout.config import _is_one_slip
from flask_logout.config import Settings


def settings(**config: t.Any) -> Settings:
    """Read the settings of an app that is configured so."""
    app = Flask("tests")
    app.config.update(config)
    return Settings.from_app(app)


def test_the_defaults() -> None:
    assert settings().model_dump() == {
        "url_prefix": "/auth",
        "max_token_length": 8192,
        "expired_access_grace": timedelta(0),
        "app_wide_errors": False,
        "purge_margin": timedelta(hours=1),
        "max_token_lifetime": None,
        "table_name": "logout_revocation",
        "bind_key": None,
        "store_uri": None,
        "timeout": timedelta(seconds=2),
        "max_staleness": timedelta(0),
        "purge_every": 100,
    }


def test_settings_never_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        settings().max_token_length = 1  # type: ignore[misc]


def test_what_an_environment_gives_is_understood() -> None:
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


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("LOGOUT_URL_PREFIX", "auth"),
        ("LOGOUT_URL_PREFIX", "/auth/"),
        ("LOGOUT_URL_PREFIX", "/a b"),
        ("LOGOUT_URL_PREFIX", None),
        ("LOGOUT_MAX_TOKEN_LENGTH", 63),
        ("LOGOUT_MAX_TOKEN_LENGTH", "many"),
        ("LOGOUT_EXPIRED_ACCESS_GRACE", timedelta(seconds=-1)),
        ("LOGOUT_EXPIRED_ACCESS_GRACE", "soon"),
        ("LOGOUT_APP_WIDE_ERRORS", "perhaps"),
        ("LOGOUT_PURGE_MARGIN", -1),
        ("LOGOUT_MAX_TOKEN_LIFETIME", 0),
        ("LOGOUT_TABLE_NAME", "a-b"),
        ("LOGOUT_TABLE_NAME", "x" * 41),
        ("LOGOUT_BIND_KEY", 7),
        ("LOGOUT_TIMEOUT", 0),
        ("LOGOUT_MAX_STALENESS", -1),
        ("LOGOUT_PURGE_EVERY", -1),
    ],
)
def test_a_wrong_value_is_an_error(key: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(**{key: value})
    message = str(caught.value)
    assert message.startswith(f"{key} is {value!r}: ")
    assert "It is: " in message
    assert "or leave it out for the default, " in message


def test_the_message_of_a_wrong_value() -> None:
    with pytest.raises(ConfigError) as caught:
        settings(LOGOUT_MAX_TOKEN_LENGTH=9)
    assert str(caught.value) == (
        "LOGOUT_MAX_TOKEN_LENGTH is 9: Input should be greater than or equal to 64. It"
        " is: The longest refresh token that is taken, 64 to 1048576 characters. Set it"
        " so, or leave it out for the default, 8192."
    )


def test_a_url_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        settings(LOGOUT_STORE_URI=["redis://:secret@host"])
    assert str(caught.value).startswith("LOGOUT_STORE_URI is of the type list: ")
    assert "secret" not in str(caught.value)


def test_every_wrong_value_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        settings(LOGOUT_TABLE_NAME="", LOGOUT_BIND_KEY=1)
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines] == [
        "LOGOUT_TABLE_NAME",
        "LOGOUT_BIND_KEY",
    ]


@pytest.mark.parametrize(
    "key",
    [
        "LOGOUT_PURGE_MARGN",
        "LOGOUT_PURGE_MARGINS",
        "LOGOUT_PURGE_MARGUN",
        "LOGOUT_PURGE_MARGNI",
        "LOGUOT_PURGE_MARGIN",
        "LOGOUTPURGE_MARGIN",
        "OGOUT_PURGE_MARGIN",
    ],
)
def test_a_typing_slip_is_an_error(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(**{key: 60})
    assert str(caught.value) == (
        f"{key} is not a setting of Flask-Logout, and is one typing slip away from"
        " LOGOUT_PURGE_MARGIN. Rename it to LOGOUT_PURGE_MARGIN, or to something less"
        " alike."
    )


def test_other_keys_are_the_app_s_own() -> None:
    assert settings(LOGOUT_PAGE_TITLE="Bye", LOGOUT_PURGES=1, LOGOUT=2) == settings()


words = st.text("AB_", max_size=6)


@given(words, words)
def test_a_slip_is_one_letter_or_one_swap(a: str, b: str) -> None:
    slips = {a}
    for i in range(len(a) + 1):
        slips.add(a[:i] + a[i + 1 :])
        slips.add(a[:i] + a[i : i + 2][::-1] + a[i + 2 :])
        for letter in "AB_":
            slips.update((a[:i] + letter + a[i:], a[:i] + letter + a[i + 1 :]))
    assert _is_one_slip(a, b) == (b in slips)
