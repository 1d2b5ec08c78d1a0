"""What the commands of ``flask logout`` share: the state, the record, and failing."""

from __future__ import annotations

import json
import logging
import typing as t
from contextlib import contextmanager
from functools import wraps

import click

from .. import clock
from .. import tokens
from ..claims import text
from ..exceptions import LogoutError
from ..exceptions import StoreUnavailableError
from ..service import get_service
from ..service import LogoutService
from ..service import PURGE_BATCH
from . import checks
from .checks import first_line

P = t.ParamSpec("P")


def pass_service(
    command: t.Callable[t.Concatenate[LogoutService, P], None],
) -> t.Callable[P, None]:
    """Give a command the state of the app, and let it fail with a sentence.

    :param command: the command, which runs in an app context.
    :returns: the same without its first parameter.
    """

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with _failing_in_words(), _off_the_terminal():
            command(get_service(), *args, **kwargs)

    return run


def record_options(command: t.Callable[P, None]) -> t.Callable[P, None]:
    """Give a command that revokes the options ``--reason`` and ``--actor``.

    :param command: the command.
    :returns: the command.
    """
    actor = click.option("--actor", help="Who revokes, for the record.")
    reason = click.option("--reason", help="Why, for the record.")
    return reason(actor(command))


def not_empty(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    """Refuse what a shell makes of a variable that is not set.

    :param context: the command's.
    :param parameter: which parameter it is.
    :param value: what was given, ``None`` for nothing.
    :returns: the same.
    :raises click.ClickException: it is empty or blank.
    """
    if value is not None and not value.strip():
        name = parameter.get_error_hint(context)
        raise click.ClickException(f"{name} is empty, so nothing was revoked.")
    return value


def identify(identity: str) -> str:
    """Turn an identity into the subject of its tokens, with the app's loader.

    :param identity: what somebody typed.
    :returns: the subject.
    :raises click.ClickException: the loader takes something else than a text.
    """
    try:
        return tokens.subject_for(identity)
    except Exception as e:  # noqa: B902  whatever the app's loader raises
        raise click.ClickException(
            "user_identity_loader failed for this IDENTITY"
            f" ({type(e).__name__}: {first_line(e)}), so nothing was revoked. Pass the sub"
            " claim of the user's tokens with --subject."
        ) from e


def is_json(subject: str) -> bool:
    """Tell whether a subject is JSON, as that of an object or a number is.

    :param subject: the subject.
    :returns: whether it can be parsed.
    """
    try:
        json.loads(subject)
    except (ValueError, RecursionError):
        return False
    return True


def objects_in(subject: str) -> list[str]:
    """Spell a subject as tokens do whose subject is the object that it describes.

    :param subject: what somebody typed.
    :returns: the canonical JSON, if this is an object that a valid token may carry.
    """
    value = json.loads(subject) if is_json(subject) else None
    if isinstance(value, (dict, list)) and tokens.accepts_objects():
        return [t.cast(str, text(value))]
    return []


def forget_all(service: LogoutService, output: t.TextIO) -> int:
    """Purge, with a progress bar if it takes long and somebody watches.

    :param service: the service of the app.
    :param output: where the bar goes, if that is a terminal.
    :returns: how many revocations were deleted.
    """
    batches = service.purge()
    if not output.isatty():
        return sum(batches)
    expected = service.store.inspect().count_expired(clock.now())
    if expected <= PURGE_BATCH:
        return sum(batches)
    total = 0
    with click.progressbar(length=expected, label="Deleting", file=output) as bar:
        for count in batches:
            total += count
            bar.update(count)
    return total


@contextmanager
def _failing_in_words() -> t.Iterator[None]:
    try:
        yield
    except StoreUnavailableError as e:
        problem = checks.check_store(get_service())
        words = f"the store did not answer ({first_line(e)}). Try again."
        raise click.ClickException(problem or words) from e
    # Flask-JWT-Extended raises RuntimeError for a setting that is wrong or missing.
    except (LogoutError, RuntimeError) as e:
        raise click.ClickException(f"{first_line(e)}.") from e


@contextmanager
def _off_the_terminal() -> t.Iterator[None]:
    """Keep the log from where it goes while the app has said nothing about it."""
    logger, handler = logging.getLogger("flask_logout"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
