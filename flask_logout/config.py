"""The settings: every ``LOGOUT_*`` key, read and checked once, at ``init_app``."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches

from flask import Flask
from pydantic import AfterValidator
from pydantic import BaseModel
from pydantic import BeforeValidator
from pydantic import ConfigDict
from pydantic import Field
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from .exceptions import ConfigError
from .schemas import DEFAULT_MAX_TOKEN_LENGTH

PREFIX = "LOGOUT_"

LONGEST = timedelta(days=365_000)
"""The longest duration: instants that are so far away still have a date."""

# Chosen by the lists of misspelt and of unrelated names in tests/test_config.py.
_ALIKE = 0.75
_ALIKE_WITH_PREFIX = 0.92

_SHOWN_SIZE = 80
_SEGMENT = re.compile(r"[\w.~!$&'()*+,;=:@-]+")


@dataclass(frozen=True)
class Expected:
    """What a setting must be; the words complete "Expected …" in an error message."""

    words: str


def read_duration(value: object) -> timedelta:
    """Read a duration.

    :param value: a ``timedelta`` or a number of seconds, which may be a string.
    :returns: the duration.
    :raises ValueError: it is something else, not finite, or has no ``timedelta``.
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
    """Show a rejected value in an error message.

    :param value: the value.
    :returns: its ``repr``, cut if it is long; durations are shown in seconds.
    """
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.10g} seconds"
    try:
        shown = repr(value)
    except ValueError:  # an integer of more than 4300 digits
        return show_type(value)
    return shown if len(shown) <= _SHOWN_SIZE else f"{shown[:_SHOWN_SIZE]}…"


def show_type(value: object) -> str:
    """Show what kind of value was rejected, where the value itself may be secret.

    :param value: the value.
    :returns: the name of its type.
    """
    return f"a value of type {type(value).__name__}"


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("not a number")
    return value


def _check_path(value: str) -> str:
    before, *segments = value.split("/")
    # Clients resolve "." and "..", so no request for such a path would arrive.
    if before or not all(
        _SEGMENT.fullmatch(x) and x not in {".", ".."} for x in segments
    ):
        raise ValueError("not a path")
    return value


def _check_names(value: object) -> object:
    if not isinstance(value, (set, frozenset, list, tuple)):
        raise ValueError("not a collection of names")
    return value


_Number = BeforeValidator(_refuse_bool)
_Duration = BeforeValidator(read_duration)

_NotNegative = t.Annotated[
    timedelta,
    _Duration,
    Field(ge=timedelta(0), le=LONGEST),
    Expected("a timedelta or a number of seconds, from 0 to 365000 days"),
]


class Settings(BaseModel):
    """Every setting with its type, unit, range and default.

    A key of ``app.config`` is the name of a field, in capitals, after ``LOGOUT_``.
    A duration is a ``timedelta`` or a number of seconds.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
    )

    url_prefix: t.Annotated[
        str,
        AfterValidator(_check_path),
        Expected(
            'a path that starts with "/" and doesn\'t end with "/", such as "/auth",'
            ' or "" to use POST /logout. It can\'t contain spaces or any of %?#<>[]{}|'
        ),
    ] = "/auth"
    """The path of the endpoint without ``/logout``. It starts with ``/`` and doesn't end
    with ``/``, or it is ``""`` for ``POST /logout``."""

    max_token_length: t.Annotated[
        int,
        _Number,
        Field(ge=64, le=1 << 20),
        Expected("a whole number from 64 to 1048576"),
    ] = DEFAULT_MAX_TOKEN_LENGTH
    """The maximum length of a refresh token, 64 to 1048576 characters."""

    require_refresh_token: t.Annotated[bool, Expected("True or False")] = True
    """Whether a logout needs a refresh token. With ``False``, a request without one
    revokes the access token, or its session if it has one."""

    endpoints: t.Annotated[
        frozenset[t.Literal["logout"]],
        BeforeValidator(_check_names),
        Expected(
            'a set, list or tuple with no name other than "logout", or set() for no'
            " endpoint"
        ),
    ] = frozenset({"logout"})
    """The endpoints to register. ``set()`` registers none."""

    expired_access_grace: _NotNegative = timedelta(0)
    """How long after its expiry the endpoint still accepts an access token."""

    app_wide_errors: t.Annotated[bool, Expected("True or False")] = False
    """Whether every route of the app answers JWT failures in the envelope."""

    commit_app_session: t.Annotated[bool, Expected("True or False")] = False
    """Whether the logout endpoint writes the revocation with ``db.session`` and commits
    it, together with whatever else the request has written in that session."""

    purge_margin: _NotNegative = timedelta(hours=1)
    """How long to keep a revocation after the last token it covers has expired. The
    margin allows for clock differences between machines and for refresh requests in
    progress."""

    max_token_lifetime: t.Annotated[
        t.Annotated[timedelta, _Duration, Field(gt=timedelta(0), le=LONGEST)] | None,
        Expected(
            "a timedelta or a number of seconds, more than 0 and at most 365000 days,"
            " or None for the longest JWT_ACCESS_TOKEN_EXPIRES or"
            " JWT_REFRESH_TOKEN_EXPIRES"
        ),
    ] = None
    """The longest lifetime of any token that the app issues, more than 0; ``None``: the
    longer one of ``JWT_ACCESS_TOKEN_EXPIRES`` and ``JWT_REFRESH_TOKEN_EXPIRES``. Set it
    if the app passes a longer ``expires_delta``."""

    table_name: t.Annotated[
        str,
        Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,39}$"),
        Expected(
            "1 to 40 ASCII letters, digits and underscores, the first of them not a"
            " digit"
        ),
    ] = "logout_revocation"
    """The name of the table, 1 to 40 letters, digits and underscores."""

    bind_key: t.Annotated[
        str | None,
        Field(min_length=1),
        Expected("a key of SQLALCHEMY_BINDS, or None for the default database"),
    ] = None
    """The key in ``SQLALCHEMY_BINDS`` of the database that has the table; ``None``:
    the default database."""

    store_uri: t.Annotated[
        str | None,
        Field(min_length=1, repr=False),
        Expected(
            "the URL of a Redis server or of a database, or None for the app's database"
        ),
    ] = None
    """Where revocations are kept, if not in the app's database: a URL of Redis
    (redis://, rediss://, unix://, redis+sentinel://, redis+cluster://) or a SQLAlchemy
    URL of a database of their own; ``None``: in the app's database."""

    redis_wait: t.Annotated[
        int, _Number, Field(ge=0), Expected("a whole number, 0 or more")
    ] = 0
    """How many replicas of a Redis primary have to acknowledge a revocation, 0 or more.
    With 0, a failover can lose a logout that was acknowledged."""

    timeout: t.Annotated[
        timedelta,
        _Duration,
        Field(gt=timedelta(0), le=timedelta(hours=1)),
        Expected("a timedelta or a number of seconds, more than 0 and at most 3600"),
    ] = timedelta(seconds=2)
    """How long a request waits for the store before it is rejected, more than 0, at
    most 3600 seconds."""

    max_staleness: _NotNegative = timedelta(0)
    """The longest time before one worker notices a revocation made by another. A value
    above 0 enables the in-memory mirror, so most checks need no round trip. With 0,
    every check queries the store."""

    purge_every: t.Annotated[
        int, _Number, Field(ge=0), Expected("a whole number, 0 or more")
    ] = 100
    """Each worker deletes expired rows after this many revocations, 0 or more. With 0
    it never does, so run ``flask logout purge`` on a schedule instead."""

    @classmethod
    def from_app(cls, app: Flask) -> Settings:
        """Read and check the settings of an app.

        :param app: the app, configured.
        :returns: the settings, which never change.
        :raises ConfigError: a value is invalid, or a key looks like a misspelt setting.
        """
        known = {PREFIX + name.upper(): name for name in cls.model_fields}
        for key in app.config.keys() - known.keys():
            _refuse_misspelling(key, known)
        given = {
            name: app.config[key] for key, name in known.items() if key in app.config
        }
        try:
            return cls(**given)
        except ValidationError as e:
            raise ConfigError(_explain(e, given)) from None


def _refuse_misspelling(key: object, known: t.Collection[str]) -> None:
    meant = _find_alike(key, known) if isinstance(key, str) else None
    if meant is not None:
        raise ConfigError(
            f"Unknown setting {key}. Did you mean {meant}? If {key} is a setting of your"
            " own app, rename it, because its name is too similar."
        )


def _find_alike(key: str, known: t.Collection[str]) -> str | None:
    """Find the setting that a key of the app's config probably means."""
    name = key.upper()
    if name in known:
        return name
    if not name.startswith(PREFIX):
        return next(iter(get_close_matches(name, known, 1, _ALIKE_WITH_PREFIX)), None)
    # What all of them begin with would make any two alike.
    names = [x.removeprefix(PREFIX) for x in known]
    found = get_close_matches(name.removeprefix(PREFIX), names, 1, _ALIKE)
    return PREFIX + found[0] if found else None


def _explain(error: ValidationError, given: dict[str, t.Any]) -> str:
    names = dict.fromkeys(str(problem["loc"][0]) for problem in error.errors())
    return "\n".join(
        f"Invalid {PREFIX}{name.upper()}: {_show(field, given[name])}. Expected"
        f" {expected_of(field)}."
        for name in names
        for field in [Settings.model_fields[name]]
    )


def expected_of(field: FieldInfo) -> str:
    """Say what a setting must be.

    :param field: the setting.
    :returns: words that complete "Expected …".
    """
    return next(x.words for x in field.metadata if isinstance(x, Expected))


def _show(field: FieldInfo, value: object) -> str:
    # A URL may contain a password.
    return show(value) if field.repr else show_type(value)
