"""The adapter to Flask-JWT-Extended: its settings, and its work in a request."""

from __future__ import annotations

import typing as t
from collections.abc import Collection
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from functools import partial

from flask import current_app
from flask import g
from flask_jwt_extended.config import config as jwt_config
from flask_jwt_extended.exceptions import CSRFError
from flask_jwt_extended.exceptions import NoAuthorizationError
from flask_jwt_extended.internal_utils import custom_verification_for_token
from flask_jwt_extended.internal_utils import verify_token_not_blocklisted
from flask_jwt_extended.view_decorators import _decode_jwt_from_cookies
from flask_jwt_extended.view_decorators import _decode_jwt_from_headers
from flask_jwt_extended.view_decorators import _decode_jwt_from_json
from flask_jwt_extended.view_decorators import _decode_jwt_from_query_string

from .claims import Claims
from .config import LONGEST
from .config import read_duration
from .config import show
from .errors import ConfigError

LIFETIMES = ("JWT_ACCESS_TOKEN_EXPIRES", "JWT_REFRESH_TOKEN_EXPIRES")
"""The settings that say how long a token is valid."""

# Each finds the encoded token in the current request, and what CSRF protection sent.
_READERS: dict[str, t.Callable[[], tuple[str, str | None]]] = {
    "headers": _decode_jwt_from_headers,
    "cookies": partial(_decode_jwt_from_cookies, refresh=False),
    "query_string": _decode_jwt_from_query_string,
    "json": partial(_decode_jwt_from_json, refresh=False),
}
_LOCATIONS = _READERS.keys()
_COOKIE_NAMES = ("JWT_ACCESS_COOKIE_NAME", "JWT_REFRESH_COOKIE_NAME")


class Presented(t.NamedTuple):
    """A token as it came with the request, not verified yet."""

    token: str
    """The encoded token; whatever JSON value it is, if it came in the body."""

    csrf: str | None
    """What the page sent to prove that it may use the cookies."""

    location: str
    """Where it was, one of ``JWT_TOKEN_LOCATION``."""


def find_access_token(read_json: t.Callable[[], object]) -> Presented:
    """Find the access token of the current request, as ``jwt_required()`` does.

    :param read_json: reads the body, which has a token only if it is an object.
    :returns: the token of the first location that has one.
    :raises NoAuthorizationError: there is none.
    :raises CSRFError: the token is in a cookie, and the proof is missing or unreadable.
    """
    for location in jwt_config.token_location:
        if location == "json" and not isinstance(read_json(), dict):
            continue
        try:
            token, csrf = _READERS[location]()
        except NoAuthorizationError:
            continue
        # compare_digest() raises TypeError for a string that is not ASCII.
        if csrf is not None and not csrf.isascii():
            raise CSRFError("CSRF double submit tokens do not match")
        return Presented(token, csrf, location)
    raise NoAuthorizationError("Missing JWT")


def ask_loaders(header: dict[str, t.Any], claims: Claims) -> None:
    """Ask the blocklist loader and the verification loader about a decoded token.

    :param header: the header of the token.
    :param claims: its claims.
    :raises JWTExtendedException: one of them rejects the token.
    """
    verify_token_not_blocklisted(header, dict(claims))
    custom_verification_for_token(header, dict(claims))


def forget_token() -> None:
    """Let ``get_jwt()`` and ``current_user`` find nothing in the rest of the request.

    They then return what they return in a request without a token, because a response
    handler that raises would replace the response to a logout that has happened.
    """
    if "_jwt_extended_jwt" in g:
        g._jwt_extended_jwt = {}
        g._jwt_extended_jwt_header = {}
        g._jwt_extended_jwt_user = {"loaded_user": None}
        g._jwt_extended_jwt_location = None


def check_settings() -> None:
    """Check every setting that Flask-JWT-Extended itself checks late or never.

    :raises ConfigError: a setting of the current app is invalid.
    """
    config = current_app.config
    read_leeway()
    for key in LIFETIMES:
        read_lifetime(key)
    locations = _texts(config["JWT_TOKEN_LOCATION"]) or set()
    _require(
        bool(locations) and locations <= _LOCATIONS,
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
        _require(is_text, key, "a string that is not empty")


def read_leeway() -> timedelta:
    """Read how long after its expiry Flask-JWT-Extended still accepts a token.

    :returns: ``JWT_DECODE_LEEWAY``.
    :raises ConfigError: it is not a duration. In a comparison with NaN, for example, no
        token would ever expire.
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
    """Read how long the tokens that Flask-JWT-Extended makes are valid.

    :param key: one of :data:`LIFETIMES`.
    :returns: the lifetime, or ``None`` if such tokens never expire.
    :raises ConfigError: it is not a duration, or too long to have an end.
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
    # For a zero, as for False, Flask-JWT-Extended makes tokens without exp.
    return lifetime or None


def _as_timedelta(value: t.Any) -> timedelta:
    if type(value) is int:
        return timedelta(seconds=value)
    # Flask-JWT-Extended also accepts a relativedelta of dateutil.
    start = datetime(2000, 1, 1, tzinfo=timezone.utc)
    return t.cast(timedelta, start + value - start)


def _texts(value: object) -> set[str] | None:
    """Return the strings of a setting that is a string or a collection of them."""
    if isinstance(value, str):
        return {value}
    if not isinstance(value, Collection) or isinstance(value, bytes):
        return None
    return {*value} if all(isinstance(x, str) for x in value) else None


def _require(is_valid: bool, key: str, expected: str) -> None:
    if not is_valid:
        value = show(current_app.config[key])
        raise ConfigError(f"Invalid {key}: {value}. Expected {expected}.")
