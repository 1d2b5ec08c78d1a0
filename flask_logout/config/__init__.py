"""The settings: every ``LOGOUT_*`` config key, read and checked once, in ``init_app``."""

from __future__ import annotations

import typing as t
from datetime import timedelta

from flask import Flask
from pydantic import AfterValidator
from pydantic import BaseModel
from pydantic import BeforeValidator
from pydantic import ConfigDict
from pydantic import Field
from pydantic import ValidationError

from ..exceptions import ConfigError
from ..schemas import DEFAULT_MAX_TOKEN_LENGTH
from .backchannel import Provider
from .consistency import check_backchannel
from .consistency import check_sessions
from .errors import explain_invalid
from .errors import PREFIX
from .errors import reject_misspelling
from .value_types import check_names
from .value_types import check_path
from .value_types import Count
from .value_types import Detail
from .value_types import Duration
from .value_types import Endpoint
from .value_types import Expected
from .value_types import Flag
from .value_types import LongDuration
from .value_types import LONGEST
from .value_types import Number


class Settings(BaseModel):
    """Every setting with its type, unit, range, and default.

    The config key of a field is ``LOGOUT_`` and the field's name in capitals. The
    configuration page repeats each docstring. Its groups have the same order.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
    )

    url_prefix: t.Annotated[
        str,
        AfterValidator(check_path),
        Expected(
            'a path that starts with "/" and doesn\'t end with "/", such as "/auth",'
            ' or "" to use POST /logout. It can\'t contain spaces or any of %?#<>[]{}|'
        ),
    ] = "/auth"
    """The path before ``/logout`` and the paths of the other endpoints. It starts with
    ``/`` and doesn't end with ``/``. Set it to ``""`` to use ``POST /logout``."""

    endpoints: t.Annotated[
        frozenset[Endpoint],
        BeforeValidator(check_names),
        Expected(
            'a set, list or tuple of "logout", "logout_all", "refresh", "sessions",'
            ' "revoke", "introspect" and "backchannel_logout", or set() for no endpoint'
        ),
    ] = frozenset({"logout"})
    """The endpoints to register. ``set()`` registers none."""

    app_wide_errors: Flag = False
    """Whether every route of the app responds to a missing or invalid token with the same
    JSON as the logout endpoint."""

    require_refresh_token: Flag = True
    """Whether a logout needs a refresh token. With ``False``, a request without one
    revokes the access token, or its session if it has one."""

    require_fresh: Flag = False
    """Whether the endpoints that end other logins of the user reject an access token that
    is not fresh."""

    max_token_length: t.Annotated[
        Number,
        Field(ge=64, le=1 << 20),
        Expected("a whole number from 64 to 1048576"),
    ] = DEFAULT_MAX_TOKEN_LENGTH
    """The maximum length of a refresh token, from 64 to 1048576 characters."""

    expired_access_grace: LongDuration = timedelta(0)
    """How long the logout endpoint still accepts an access token that has expired."""

    max_token_lifetime: t.Annotated[
        t.Annotated[Duration, Field(gt=timedelta(0), le=LONGEST)] | None,
        Expected(
            "a timedelta or a number of seconds, more than 0 and at most 365000 days,"
            " or None for the longest JWT_ACCESS_TOKEN_EXPIRES or"
            " JWT_REFRESH_TOKEN_EXPIRES"
        ),
    ] = None
    """The longest lifetime of any token that the app issues, more than 0. Set it if the
    app passes an ``expires_delta`` that is longer than ``JWT_ACCESS_TOKEN_EXPIRES`` and
    ``JWT_REFRESH_TOKEN_EXPIRES``. With ``None``, it is the longer one of these two."""

    store_uri: t.Annotated[
        str | None,
        Field(min_length=1, repr=False),
        Expected(
            "the URL of a Redis server or of a database, or None for the app's database"
        ),
    ] = None
    """Where to store revocations: the URL of a Redis server, or the SQLAlchemy URL of a
    separate database. With ``None``, they are stored in the app's database."""

    table_name: t.Annotated[
        str,
        Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,39}$"),
        Expected(
            "1 to 40 ASCII letters, digits and underscores, the first of them not a"
            " digit"
        ),
    ] = "logout_revocation"
    """The name of the table. It has 1 to 40 letters, digits, and underscores, and doesn't
    start with a digit."""

    bind_key: t.Annotated[
        str | None,
        Field(min_length=1),
        Expected("a key of SQLALCHEMY_BINDS, or None for the default database"),
    ] = None
    """The key in ``SQLALCHEMY_BINDS`` of the database that has the table. With ``None``,
    it is the app's default database."""

    timeout: t.Annotated[
        Duration,
        Field(gt=timedelta(0), le=timedelta(hours=1)),
        Expected("a timedelta or a number of seconds, more than 0 and at most 3600"),
    ] = timedelta(seconds=2)
    """How long a request waits for the store before it is rejected, more than 0 and at
    most 3600 seconds."""

    redis_wait: Count = 0
    """How many replicas of a Redis primary have to acknowledge a revocation, 0 or more.
    With 0, a failover can lose a logout that was acknowledged."""

    commit_app_session: Flag = False
    """Whether the logout endpoint writes the revocation with ``db.session`` and commits
    it, together with whatever else the request has written in that session."""

    max_staleness: LongDuration = timedelta(0)
    """The longest time before one worker notices a revocation made by another. A value
    above 0 enables the in-memory mirror, so most checks need no round trip. With 0,
    every check queries the store."""

    sessions: Flag = False
    """Whether to keep a record of every login, and to rotate refresh tokens. The
    endpoints ``refresh`` and ``sessions`` imply it."""

    session_lifetime: t.Annotated[
        t.Annotated[Duration, Field(gt=timedelta(0), le=LONGEST)] | None,
        Expected(
            "a timedelta or a number of seconds, more than 0 and at most 365000 days, or"
            " None for no limit"
        ),
    ] = None
    """How long a session can last, from the login on, more than 0. No token of it expires
    later. With ``None``, a session lasts as long as it is refreshed in time."""

    max_sessions: t.Annotated[
        t.Annotated[Number, Field(ge=1)] | None,
        Expected("a whole number, 1 or more, or None for no limit"),
    ] = None
    """How many active sessions a user can have, 1 or more. A login beyond that ends the
    oldest ones. With ``None``, there is no limit."""

    session_details: t.Annotated[
        frozenset[Detail],
        BeforeValidator(check_names),
        Expected(
            'a set, list or tuple of "user_agent", "ip_address" and "label", or set() to'
            " keep none of them"
        ),
    ] = frozenset({"label"})
    """What a session keeps about the client: ``"user_agent"``, ``"ip_address"`` and
    ``"label"``."""

    rotation_grace: t.Annotated[
        Duration,
        Field(ge=timedelta(0), le=timedelta(hours=1)),
        Expected("a timedelta or a number of seconds, from 0 to 3600"),
    ] = timedelta(seconds=30)
    """How long a refresh token can be presented again after it was exchanged, from 0 to
    3600 seconds. With 0, a client that doesn't receive the response has to log in
    again."""

    rotation_late_retry: Flag = False
    """Whether a refresh token can also be presented again later, as long as its successor
    has not been used."""

    backchannel: t.Annotated[
        dict[t.Annotated[str, Field(min_length=1)], Provider],
        Expected(
            'a dict such as {"https://idp.example.com": {"client_id": "…", "jwks_uri":'
            ' "https://…"}}, with HTTPS URLs, and "algorithms", such as ["ES256"], if they'
            " aren't RS256"
        ),
    ] = {}
    """The identity providers whose logouts the endpoint ``backchannel_logout`` receives,
    by their issuer."""

    metrics: Flag = False
    """Whether to measure checks, revocations and the store with OpenTelemetry."""

    purge_margin: LongDuration = timedelta(hours=1)
    """How long to keep a revocation after the last token it covers has expired. The
    margin allows for clock differences between machines and for refresh requests in
    progress."""

    purge_every: Count = 100
    """Each worker deletes expired rows after this many revocations, 0 or more. Set it to
    0 to disable this, and run ``flask logout purge`` on a schedule instead."""

    @classmethod
    def from_app(cls, app: Flask) -> Settings:
        """Read and check the settings of an app.

        :raises ConfigError: a value is invalid, or a config key looks like a misspelled
            setting.
        """
        known = {PREFIX + name.upper(): name for name in cls.model_fields}
        keys = tuple(known)
        for key in app.config.keys() - known.keys():
            reject_misspelling(key, keys)
        given = {
            name: app.config[key] for key, name in known.items() if key in app.config
        }
        try:
            settings = cls(**given)
        except ValidationError as e:
            raise ConfigError(explain_invalid(e, given, cls.model_fields)) from None
        check_sessions(settings)
        check_backchannel(settings)
        return settings

    @property
    def has_sessions(self) -> bool:
        """Whether sessions are enabled."""
        return self.sessions or not self.endpoints.isdisjoint({"refresh", "sessions"})
