"""The commands of ``flask logout`` that revoke tokens or describe the app."""

from __future__ import annotations

import json
import typing as t

import click
from flask import current_app
from flask.cli import AppGroup

from .. import tokens
from ..domain.revocation import merge
from ..domain.revocation import Revocation
from ..exceptions import InvalidTokenError
from ..openapi_document import openapi
from ..openapi_document.security import read_locations
from ..service import LogoutService
from . import checks
from .options import identify
from .options import is_json
from .options import no_token
from .options import not_empty
from .options import objects_in
from .options import pass_service
from .options import read_token
from .options import record_options
from .options import version_option
from .printing import describe
from .printing import pluralize
from .printing import say
from .printing import warn

_NO_OBJECT = (
    "JWT_VERIFY_SUB is False, so the subject of a token may be an object. No such token"
    " was revoked. If the identities of this app are objects, pass the whole object as"
    " JSON."
)


def _revoke(
    service: LogoutService,
    revocations: t.Sequence[Revocation],
    record: t.Mapping[str, str | None],
    exception: str = "",
) -> None:
    service.revoke(merge(revocations), reason=record["reason"], actor=record["actor"])
    # Revocations of several issuers differ only in the issuer, which is not shown.
    for words in dict.fromkeys(map(describe, revocations)):
        say(f"Revoked {words}{exception}.")


@click.group("logout", cls=AppGroup)
def logout() -> None:
    """Revoke tokens and manage the stored revocations.

    If a command fails, it prints the reason and exits with status 1.
    """


@logout.command("token")
@click.argument("token", callback=not_empty)
@click.option(
    "--session",
    "is_whole",
    is_flag=True,
    help="Revoke every token of its session, as the endpoint does.",
)
@record_options
@pass_service
def _token(
    service: LogoutService, /, token: str, is_whole: bool, **record: str | None
) -> None:
    """Revoke one token.

    Pass - as TOKEN to read the token from standard input. This keeps it out of your shell
    history and the process list.

    Accepts access and refresh tokens, including expired ones. The signature must be valid.
    """
    if token == "-":
        token = read_token()
    try:
        claims = tokens.decode(token.strip().removeprefix("Bearer "))
    except InvalidTokenError as e:
        raise click.ClickException(f"Invalid token: {checks.first_line(e)}.") from e
    make = service.make.of_logins if is_whole else service.make.of_token
    _revoke(service, make(claims), record)


@logout.command("session")
@click.argument("sid", callback=no_token)
@record_options
@pass_service
def _session(service: LogoutService, /, sid: str, **record: str | None) -> None:
    """Revoke every token of one session.

    SID is the sid claim of its tokens. Tokens from later refreshes are revoked as well.
    """
    _revoke(service, service.make.of_session(sid), record)


@logout.command("user")
@click.argument("identity", callback=no_token)
@click.option(
    "--keep-session",
    metavar="SID",
    callback=no_token,
    help="Don't revoke the session with this sid claim.",
)
@click.option(
    "--subject",
    "is_subject",
    is_flag=True,
    help="Use IDENTITY as the tokens' sub claim. Don't call user_identity_loader.",
)
@record_options
@pass_service
def _user(
    service: LogoutService,
    /,
    identity: str,
    keep_session: str | None,
    is_subject: bool,
    **record: str | None,
) -> None:
    """Log a user out everywhere by revoking all of their tokens.

    IDENTITY is what the app passes to create_access_token(). The command calls the app's
    user_identity_loader, if it has one. It also works for a user who has been deleted.
    """
    subject = identity if is_subject else identify(identity)
    names = dict.fromkeys((subject, *objects_in(subject)))
    make = service.make.of_subject
    made = [x for y in names for x in make(y, keep_session=keep_session)]
    kept = "" if keep_session is None else f", except session {keep_session}"
    _revoke(service, made, record, kept)
    if not service.config.get("JWT_VERIFY_SUB", True) and not is_json(subject):
        warn(_NO_OBJECT)


@logout.command("everyone")
@click.confirmation_option(
    prompt="Every user will have to log in again. Revoke all tokens?",
    help="Don't ask for confirmation.",
)
@record_options
@pass_service
def _everyone(service: LogoutService, /, **record: str | None) -> None:
    """Revoke all tokens of all users.

    Every user has to log in again. If a signing key has leaked, replace the key first,
    because anyone who has it can sign new tokens.
    """
    _revoke(service, service.make.of_everyone(), record)


@logout.command("check")
@pass_service
def _check(service: LogoutService, /) -> None:
    """Report problems with the setup of the app and how to fix them.

    Prints one line per check: ok, note, or problem. Exits with status 1 if there is a
    problem, so you can run it as a step of a deployment.
    """
    problems = 0
    for name, check in checks.CHECKS:
        finding = checks.run(check, service)
        if finding is None:
            say(f"ok: {name}")
            continue
        is_note = isinstance(finding, checks.Note)
        problems += not is_note
        say(f"{'note' if is_note else 'problem'}: {name}: {finding}")
    if problems:
        raise click.ClickException(f"Found {pluralize(problems, 'problem')}.")


@logout.command("openapi")
@version_option
@pass_service
def _openapi(service: LogoutService, /, version: t.Literal["3.0", "3.1"]) -> None:
    """Print the OpenAPI document of the endpoints, as JSON.

    The document follows the settings of the app, such as LOGOUT_ENDPOINTS and
    JWT_TOKEN_LOCATION.
    """
    settings = service.settings
    if not settings.endpoints:
        raise click.ClickException(
            "LOGOUT_ENDPOINTS is empty, so there is no endpoint."
        )
    document = openapi(
        version=version,
        endpoints=settings.endpoints,
        url_prefix=settings.url_prefix,
        max_token_length=settings.max_token_length,
        require_refresh_token=settings.require_refresh_token,
        **read_locations(current_app.config),
    )
    click.echo(json.dumps(document, indent=2))
