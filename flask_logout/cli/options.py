"""Options, arguments, and error handling that the commands share."""

from __future__ import annotations

import json
import logging
import re
import sys
import typing as t
from contextlib import contextmanager
from functools import wraps

import click

from .. import tokens
from ..domain.claims import text
from ..exceptions import LogoutError
from ..exceptions import StoreUnavailableError
from ..service import get_service
from ..service import LogoutService
from . import checks
from .checks import first_line

P = t.ParamSpec("P")

# A header in base64url starts with an encoded brace and quotation mark.
_TOKEN = re.compile(r"(Bearer )?eyJ[\w-]+\.[\w-]+\.")

_REVOKED_NOTHING = "so nothing was revoked"

version_option = click.option(
    "--version",
    type=click.Choice(["3.0", "3.1"]),
    default="3.1",
    show_default=True,
    help="The version of OpenAPI.",
)
"""The option of ``flask logout openapi``."""


def pass_service(
    command: t.Callable[t.Concatenate[LogoutService, P], None],
) -> t.Callable[P, None]:
    """Pass the service of the current app to a command, and handle its errors."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with _errors_as_messages(), _log_lines_hidden():
            command(get_service(), *args, **kwargs)

    return run


def record_options(command: t.Callable[P, None]) -> t.Callable[P, None]:
    """Add the options ``--reason`` and ``--actor`` to a command that revokes."""
    actor = click.option(
        "--actor", help="Who revokes the tokens. It is stored and logged."
    )
    reason = click.option(
        "--reason", help="Why the tokens are revoked. It is stored and logged."
    )
    return reason(actor(command))


def not_empty(
    context: click.Context,
    parameter: click.Parameter,
    value: str | None,
    outcome: str = _REVOKED_NOTHING,
) -> str | None:
    """Reject an empty value, such as that of a shell variable that is not set.

    :raises click.ClickException: the value is empty or blank.
    """
    if value is not None and not value.strip():
        name = parameter.get_error_hint(context)
        raise click.ClickException(f"{name} is empty, {outcome}.")
    return value


def no_token(
    context: click.Context,
    parameter: click.Parameter,
    value: str | None,
    outcome: str = _REVOKED_NOTHING,
) -> str | None:
    """Reject an empty value, and a token, which would be printed and stored.

    :raises click.ClickException: the value is empty, blank, or a token.
    """
    value = not_empty(context, parameter, value, outcome)
    if value is not None and _TOKEN.match(value):
        name = parameter.get_error_hint(context)
        raise click.ClickException(
            f"{name} is a token, {outcome}. Pass one of its claims, or revoke the token"
            " with flask logout token."
        )
    return value


def read_token() -> str:
    """Read a token from standard input.

    :raises click.ClickException: it is empty or blank.
    """
    token = sys.stdin.buffer.read().decode(errors="replace")
    if not token.strip():
        raise click.ClickException("Standard input is empty, so nothing was revoked.")
    return token


def identify(identity: str, outcome: str = _REVOKED_NOTHING) -> str:
    """Turn an identity into a subject with the app's ``user_identity_loader``.

    :param outcome: what follows from a failure, for the error message.
    :raises click.ClickException: the loader fails, for example because it expects an
        object instead of a string.
    """
    try:
        return tokens.subject_for(identity)
    except Exception as e:  # noqa: B902  the app's loader may raise anything
        raise click.ClickException(
            "user_identity_loader failed for this IDENTITY"
            f" ({type(e).__name__}: {first_line(e)}), {outcome}. Pass the sub claim of the"
            " user's tokens with --subject."
        ) from e


def is_json(subject: str) -> bool:
    """Tell whether a subject can be parsed as JSON."""
    try:
        json.loads(subject)
    except (ValueError, RecursionError):
        return False
    return True


def objects_in(subject: str) -> list[str]:
    """Return the canonical JSON of a subject that is an object or an array.

    Tokens with such a subject are revoked by its canonical JSON. The list is empty for any
    other subject, and if no valid token can have an object as its subject.
    """
    value = json.loads(subject) if is_json(subject) else None
    if isinstance(value, (dict, list)) and tokens.accepts_objects():
        return [t.cast(str, text(value))]
    return []


@contextmanager
def _errors_as_messages() -> t.Iterator[None]:
    try:
        yield
    except StoreUnavailableError as e:
        problem = checks.check_store(get_service())
        message = f"The store failed ({first_line(e)}). Try again."
        raise click.ClickException(problem or message) from e
    # Flask-JWT-Extended raises RuntimeError for an invalid or missing setting.
    except (LogoutError, RuntimeError) as e:
        raise click.ClickException(f"{first_line(e)}.") from e


@contextmanager
def _log_lines_hidden() -> t.Iterator[None]:
    # Keep our log lines off logging's last-resort handler, which writes to stderr.
    logger, handler = logging.getLogger("flask_logout"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
