"""The types of the settings: how each value is read, checked, and shown in an error."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from pydantic import BeforeValidator
from pydantic import Field

LONGEST = timedelta(days=365_000)
"""The longest duration. Adding it to the present still gives a valid ``datetime``."""

Detail = t.Literal["user_agent", "ip_address", "label"]
"""A detail that a session can keep."""

Endpoint = t.Literal[
    "logout",
    "logout_all",
    "refresh",
    "sessions",
    "revoke",
    "introspect",
    "backchannel_logout",
]
"""The name of an endpoint, or of a group of endpoints, in ``LOGOUT_ENDPOINTS``."""

_SHOWN_SIZE = 80
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SEGMENT = re.compile(r"[\w.~!$&'()*+,;=:@-]+")


@dataclass(frozen=True)
class Expected:
    """What a setting must be, in words that complete "Expected …" in an error message."""

    words: str


def read_duration(value: object) -> timedelta:
    """Read a ``timedelta``, or a number of seconds, which may be a string.

    :raises ValueError: the value is neither, or it is not finite or too long.
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("not a duration")
    try:
        return timedelta(seconds=float(value))
    except OverflowError as e:
        raise ValueError("not finite, or too long") from e


def show(value: object) -> str:
    """Show a rejected value in an error message, shortened if it is long."""
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.10g} seconds"
    try:
        shown = repr(value)
    except ValueError:  # an integer of more than 4300 digits
        return show_type(value)
    return shown if len(shown) <= _SHOWN_SIZE else f"{shown[:_SHOWN_SIZE]}…"


def show_type(value: object) -> str:
    """Show only the type of a rejected value, because the value may be secret."""
    return f"a value of type {type(value).__name__}"


def check_path(value: str) -> str:
    """Check that clients can send requests to a path.

    :raises ValueError: they can't.
    """
    before, *segments = value.split("/")
    # Clients resolve "." and "..", so no request for such a path would arrive.
    if before or not all(
        _SEGMENT.fullmatch(x) and x not in {".", ".."} for x in segments
    ):
        raise ValueError("not a path")
    return value


def check_provider_url(value: str) -> str:
    """Check that nobody between this app and an identity provider can change a response.

    :raises ValueError: the URL is neither HTTPS nor HTTP on this machine, or it contains
        credentials or a fragment.
    """
    url = urlsplit(value)
    is_local = url.scheme == "http" and url.hostname in _LOOPBACK
    if not (url.scheme == "https" or is_local) or not url.hostname:
        raise ValueError("not an HTTPS URL")
    if url.username is not None or url.password is not None or url.fragment:
        raise ValueError("not a plain URL")
    return value


def check_names(value: object) -> object:
    """Check that a value is a collection other than a string or a mapping.

    :raises ValueError: it is not.
    """
    if not isinstance(value, (set, frozenset, list, tuple)):
        raise ValueError("not a collection of names")
    return value


def _reject_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


Flag = t.Annotated[bool, Expected("True or False")]

Number = t.Annotated[int, BeforeValidator(_reject_bool)]

Count = t.Annotated[Number, Field(ge=0), Expected("a whole number, 0 or more")]

Duration = t.Annotated[timedelta, BeforeValidator(read_duration)]

LongDuration = t.Annotated[
    Duration,
    Field(ge=timedelta(0), le=LONGEST),
    Expected("a timedelta or a number of seconds, from 0 to 365000 days"),
]
