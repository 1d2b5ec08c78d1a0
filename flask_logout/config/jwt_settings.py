"""Reads and checks the ``JWT_*`` settings that revocation depends on."""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from datetime import datetime
from datetime import timedelta
from datetime import timezone

from flask import current_app

from ..domain.revocation import Retention
from ..domain.revocation_keys import ANY_ISSUER
from ..domain.revocation_keys import Issuer
from ..exceptions import ConfigError
from ..jwt_extended import config as jwt_config
from ..jwt_extended import LOCATIONS
from .value_types import LONGEST
from .value_types import read_duration
from .value_types import show

LIFETIMES = ("JWT_ACCESS_TOKEN_EXPIRES", "JWT_REFRESH_TOKEN_EXPIRES")
"""The settings for the lifetimes of tokens."""

_COOKIE_NAMES = ("JWT_ACCESS_COOKIE_NAME", "JWT_REFRESH_COOKIE_NAME")


def check_settings() -> None:
    """Check the settings that Flask-JWT-Extended checks late or never.

    :raises ConfigError: if a setting of the current app is invalid.
    """
    config = current_app.config
    read_leeway()
    for key in LIFETIMES:
        read_lifetime(key)
    locations = _texts(config["JWT_TOKEN_LOCATION"]) or set()
    _require(
        bool(locations) and locations <= LOCATIONS,
        "JWT_TOKEN_LOCATION",
        'one or more of "headers", "cookies", "query_string" and "json"',
    )
    issuers = config["JWT_DECODE_ISSUER"]
    _require(
        issuers is None or _texts(issuers) is not None,
        "JWT_DECODE_ISSUER",
        "a string, a list of strings, or None",
    )
    _require(
        isinstance(config["JWT_ALGORITHM"], str),
        "JWT_ALGORITHM",
        'the name of an algorithm, such as "HS256"',
    )
    cookies = _COOKIE_NAMES if "cookies" in locations else ()
    for key in ("JWT_IDENTITY_CLAIM", *cookies):
        is_text = isinstance(config[key], str) and config[key] != ""
        _require(is_text, key, "a non-empty string")


def read_leeway() -> timedelta:
    """Read ``JWT_DECODE_LEEWAY``, for which expired tokens are still accepted.

    :returns: the leeway, 0 or more.
    :raises ConfigError: if it isn't a duration. With NaN, for example, no token would
        ever expire, because every comparison with NaN is false.
    """
    value: t.Any = current_app.config["JWT_DECODE_LEEWAY"]
    try:
        leeway = read_duration(value)
    except ValueError:
        leeway = timedelta.min
    _require(
        not isinstance(value, str) and timedelta(0) <= leeway <= LONGEST,
        "JWT_DECODE_LEEWAY",
        "a timedelta or a number of seconds, from 0 to 365000 days",
    )
    return leeway


def read_lifetime(key: str) -> timedelta | None:
    """Read the lifetime of the access or the refresh tokens that the app issues.

    :param key: one of :data:`LIFETIMES`.
    :returns: the lifetime, or ``None`` if these tokens never expire.
    :raises ConfigError: if it isn't a duration, or is too long.
    """
    value: t.Any = current_app.config[key]
    try:
        lifetime = timedelta(0) if value is False else _as_timedelta(value)
    except (TypeError, ValueError, OverflowError):
        lifetime = timedelta.min
    _require(
        timedelta(0) <= lifetime <= LONGEST,
        key,
        "a timedelta or a whole number of seconds, from 0 to 365000 days, or False for"
        " tokens that never expire",
    )
    # Flask-JWT-Extended omits exp for a lifetime of 0, as it does for False.
    return lifetime or None


def accepted_issuers() -> tuple[Issuer, ...]:
    """List the issuers whose tokens the app accepts.

    :returns: the issuers in ``JWT_DECODE_ISSUER``, or :data:`.ANY_ISSUER` if unset.
    """
    issuers = jwt_config.decode_issuer
    if not issuers:
        return (ANY_ISSUER,)
    return (issuers,) if isinstance(issuers, str) else tuple(issuers)


def token_issuers() -> tuple[str | None, ...]:
    """List the issuers of the tokens that the app issues or accepts.

    :returns: the ``iss`` claims, or ``None`` for tokens without one.
    """
    accepted = (x for x in accepted_issuers() if isinstance(x, str))
    return tuple(dict.fromkeys((jwt_config.encode_issuer, *accepted)))


def retention(margin: timedelta, max_lifetime: timedelta | None) -> Retention:
    """Read how long revocations must be kept.

    :param margin: ``LOGOUT_PURGE_MARGIN``.
    :param max_lifetime: ``LOGOUT_MAX_TOKEN_LIFETIME``. If ``None``, the longer one of
        ``JWT_ACCESS_TOKEN_EXPIRES`` and ``JWT_REFRESH_TOKEN_EXPIRES``.
    :returns: the retention of revocations.
    :raises ConfigError: if a setting of Flask-JWT-Extended is invalid.
    """
    if max_lifetime is None:
        access, refresh = map(read_lifetime, LIFETIMES)
        max_lifetime = max(access, refresh) if access and refresh else None
    return Retention(read_leeway(), margin, max_lifetime)


def _as_timedelta(value: t.Any) -> timedelta:
    if type(value) is int:
        return timedelta(seconds=value)
    # Flask-JWT-Extended also accepts dateutil's relativedelta, which has no fixed length.
    start = datetime(2000, 1, 1, tzinfo=timezone.utc)
    return t.cast(timedelta, start + value - start)


def _texts(value: object) -> set[str] | None:
    """Return the strings of a setting, or ``None`` if it is neither one nor several."""
    if isinstance(value, str):
        return {value}
    if not isinstance(value, Collection) or isinstance(value, bytes):
        return None
    return {*value} if all(isinstance(x, str) for x in value) else None


def _require(is_valid: bool, key: str, expected: str) -> None:
    if not is_valid:
        value = show(current_app.config[key])
        raise ConfigError(f"Invalid {key}: {value}. Expected {expected}.")
