"""The settings: every ``LOGOUT_*`` key, read and checked once, at ``init_app``."""

from __future__ import annotations

import re
import typing as t
from datetime import timedelta

from flask import Flask
from pydantic import BaseModel
from pydantic import ConfigDict
from pydantic import Field
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from .errors import ConfigError
from .schemas import DEFAULT_MAX_TOKEN_LENGTH

PREFIX = "LOGOUT_"

_Duration = t.Annotated[timedelta, Field(ge=timedelta(0))]


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

    url_prefix: str = Field(default="/auth", pattern=r"^(/[^/\s<>?#]+)*$")
    """Where the endpoint is: a path that starts with ``/`` and does not end with one,
    or ``""`` for ``POST /logout``."""

    max_token_length: int = Field(default=DEFAULT_MAX_TOKEN_LENGTH, ge=64, le=1 << 20)
    """The longest refresh token that is taken, 64 to 1048576 characters."""

    expired_access_grace: _Duration = timedelta(0)
    """How long after its expiry an access token may still log out, 0 or more."""

    app_wide_errors: bool = False
    """Whether every route of the app answers JWT failures in the envelope."""

    purge_margin: _Duration = timedelta(hours=1)
    """How long a revocation is kept after the last token it covers has died, 0 or
    more: for clocks that differ and refreshes under way."""

    max_token_lifetime: t.Annotated[timedelta, Field(gt=timedelta(0))] | None = None
    """The longest life of any token the app issues, more than 0; ``None``: the longer
    one of ``JWT_ACCESS_TOKEN_EXPIRES`` and ``JWT_REFRESH_TOKEN_EXPIRES``. Set it where
    the app passes a longer ``expires_delta``."""

    table_name: str = Field(default="logout_revocation", pattern=r"^[A-Za-z_]\w{0,39}$")
    """The name of the table, 1 to 40 letters, digits and underscores."""

    bind_key: str | None = None
    """The key in ``SQLALCHEMY_BINDS`` of the database that has the table; ``None``:
    the default database."""

    store_uri: str | None = Field(default=None, min_length=1, repr=False)
    """Where revocations are kept, if not in the app's database: a URL of Redis
    (redis://, rediss://, unix://, redis+cluster://, rediss+cluster://) or a SQLAlchemy
    URL of a database of their own; ``None``: in the app's database."""

    timeout: t.Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(seconds=2)
    """How long a request waits for the store before it is refused, more than 0."""

    max_staleness: _Duration = timedelta(0)
    """How long another worker's revocation may go unnoticed, so that most checks need
    no round trip, 0 or more; 0: every check asks the store."""

    purge_every: int = Field(default=100, ge=0)
    """After how many revocations a worker forgets what has expired, 0 or more; 0: it
    never does, ``flask logout purge`` must."""

    @classmethod
    def from_app(cls, app: Flask) -> Settings:
        """Read and check the settings of an app.

        :param app: the app, configured.
        :returns: the settings, which never change.
        :raises ConfigError: a value is wrong, or a key is one typing slip away from a
            setting; the message names key, expectation, value and remedy.
        """
        known = {PREFIX + name.upper(): name for name in cls.model_fields}
        for key in app.config.keys() - known.keys():
            _refuse_slip(key, known)
        given = {
            name: app.config[key] for key, name in known.items() if key in app.config
        }
        try:
            return cls(**given)
        except ValidationError as e:
            raise ConfigError(_explain(e, given)) from None


def _refuse_slip(key: str, known: t.Iterable[str]) -> None:
    for name in known:
        if _is_one_slip(key, name):
            raise ConfigError(
                f"{key} is not a setting of Flask-Logout, and is one typing slip away"
                f" from {name}. Rename it to {name}, or to something less alike."
            )


def _is_one_slip(a: str, b: str) -> bool:
    """One letter wrong, missing or too many, or two neighbours swapped."""
    if abs(len(a) - len(b)) > 1:
        return False
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return max(len(a), len(b)) <= 1 or (len(a) == 2 and a == b[::-1])


def _explain(error: ValidationError, given: dict[str, t.Any]) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        name = str(problem["loc"][0])
        field = Settings.model_fields[name]
        meaning = re.sub(r"\s+", " ", field.description or "").replace("``", "")
        lines.append(
            f"{PREFIX}{name.upper()} is {_show(field, given[name])}: {problem['msg']}."
            f" It is: {meaning} Set it so, or leave it out for the default,"
            f" {field.default!r}."
        )
    return "\n".join(lines)


def _show(field: FieldInfo, value: object) -> str:
    # A URL may have a password in it.
    return repr(value) if field.repr else f"of the type {type(value).__name__}"
