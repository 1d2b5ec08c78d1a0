"""Checks the arguments of :class:`.OAuthRevocation`."""

from __future__ import annotations

import typing as t
from datetime import timedelta
from urllib.parse import urlsplit

from ..config.value_types import check_provider_url
from ..config.value_types import read_duration
from ..config.value_types import show
from ..exceptions import ConfigError

_METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")


def choose(
    first: str, value: str | None, second: str, other: str | None
) -> tuple[str, str]:
    """Return the name and the value of the one of two arguments that is set."""
    if bool(value) == bool(other):
        how_many = "both" if value else "neither"
        raise ConfigError(
            f"OAuthRevocation got {how_many} of {first} and {second}. Pass one of them."
        )
    return (first, value) if value else (second, t.cast(str, other))


def check_url(name: str, url: str) -> str:
    """Check a URL, and return its host."""
    try:
        return urlsplit(check_provider_url(url)).netloc
    except ValueError:
        raise ConfigError(
            f"Invalid {name} of OAuthRevocation: {show(url)}. Expected an HTTPS URL"
            " without credentials, or an HTTP URL of this machine."
        ) from None


def check_method(method: str, has_key: bool) -> str:
    expected = _METHODS[2:] if has_key else _METHODS[:2]
    if method not in expected:
        names = " or ".join(map(repr, expected))
        what = "private_key" if has_key else "client_secret"
        raise ConfigError(
            f"Invalid auth_method of OAuthRevocation: {show(method)}. Expected {names} with"
            f" a {what}."
        )
    return method


def check_timeout(timeout: timedelta | float) -> float:
    try:
        seconds = read_duration(timeout).total_seconds()
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 3600:
        raise ConfigError(
            f"Invalid timeout of OAuthRevocation: {show(timeout)}. Expected a timedelta or a"
            " number of seconds, more than 0 and at most 3600."
        )
    return seconds
