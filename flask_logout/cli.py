"""The command line: ``flask logout …``."""

from __future__ import annotations

import json
import sys
import typing as t
from datetime import datetime

import click
from flask.cli import AppGroup

from . import doctor
from . import tokens
from .claims import session_of
from .document import openapi
from .errors import InvalidTokenError
from .revocation import Revocation
from .state import LogoutState
from .terminal import forget_all
from .terminal import identify
from .terminal import not_empty
from .terminal import pass_state
from .terminal import record_options


def _revoke(
    state: LogoutState,
    revocations: t.Sequence[Revocation],
    record: t.Mapping[str, str | None],
) -> None:
    state.revoke(revocations, reason=record["reason"], actor=record["actor"])


@click.group("logout", cls=AppGroup)
def logout() -> None:
    """Revoke tokens, and look after the revocations that are kept.

    A command that fails says why in one sentence and exits with status 1.
    """


@logout.command("init")
@pass_state
def _init(state: LogoutState, /) -> None:
    """Create the table of revocations where it is missing.

    For an app without migrations. What is there already stays as it is.
    """
    place = state.store.inspect()
    place.create()
    problem = doctor.check_store(state)
    if problem is not None:
        raise click.ClickException(problem)
    click.echo(f"{place.place[0].upper()}{place.place[1:]} is there.")


@logout.command("purge")
@pass_state
def _purge(state: LogoutState, /) -> None:
    """Forget the revocations that no living token needs.

    Run it once a day. It deletes in small batches, so it may run at any time, beside
    traffic and beside itself.
    """
    click.echo(f"Revocations forgotten: {forget_all(state, sys.stderr)}")


@logout.command("token")
@click.argument("token", callback=not_empty)
@click.option(
    "--session",
    "is_whole",
    is_flag=True,
    help="Revoke every token of its session, as a logout does.",
)
@record_options
@pass_state
def _token(
    state: LogoutState, /, token: str, is_whole: bool, **record: str | None
) -> None:
    """Revoke one token.

    Best give - as TOKEN: it is then read from standard input, and ends neither in the
    history of the shell nor in the list of processes.

    Access and refresh tokens are taken, expired ones too, but no forged ones.
    """
    if token == "-":
        token = sys.stdin.buffer.read().decode(errors="replace")
    try:
        claims = tokens.decode(token.strip())
    except InvalidTokenError as e:
        words = doctor.first_line(e)
        raise click.ClickException(f"this is no token of the app: {words}.") from e
    make = state.of_logins if is_whole else state.of_token
    _revoke(state, make(claims), record)
    is_whole = is_whole and session_of(claims) is not None
    click.echo(f"Revoked: the token{', with its whole session' if is_whole else ''}.")


@logout.command("session")
@click.argument("sid", callback=not_empty)
@record_options
@pass_state
def _session(state: LogoutState, /, sid: str, **record: str | None) -> None:
    """Revoke every token of one login.

    SID is the sid claim of its tokens; those of later refreshes are revoked too.
    """
    _revoke(state, state.of_session(sid), record)
    click.echo("Revoked: every token of the session.")


@logout.command("user")
@click.argument("identity", callback=not_empty)
@click.option(
    "--keep-session",
    metavar="SID",
    callback=not_empty,
    help="Spare one login: the sid claim of its tokens.",
)
@click.option(
    "--subject",
    "is_subject",
    is_flag=True,
    help="IDENTITY is the sub claim of the tokens: keep the loader out of it.",
)
@record_options
@pass_state
def _user(
    state: LogoutState,
    /,
    identity: str,
    keep_session: str | None,
    is_subject: bool,
    **record: str | None,
) -> None:
    """Log a user out everywhere: revoke every token issued up to now.

    IDENTITY is what the app gives to create_access_token; it passes through the app's
    user_identity_loader, where it has one. The user may have been deleted.
    """
    subject = identity if is_subject else identify(identity)
    revocations = state.of_subject(subject, keep_session=keep_session)
    _revoke(state, revocations, record)
    spared = "" if keep_session is None else ", save those of one session"
    click.echo(f"Revoked: every token of the user issued up to now{spared}.")


@logout.command("everyone")
@click.confirmation_option(
    prompt="Every user will have to log in again. Revoke all tokens?",
    help="Do not ask whether to go on.",
)
@record_options
@pass_state
def _everyone(state: LogoutState, /, **record: str | None) -> None:
    """Log everybody out.

    Every token of every user issued up to now is revoked: the panic button.
    """
    _revoke(state, state.of_everyone(), record)
    click.echo("Revoked: every token of every user issued up to now.")


@logout.command("stats")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_state
def _stats(state: LogoutState, /, as_json: bool) -> None:
    """Count the revocations that are kept, by what they revoke.

    Live ones are still needed; expired ones go with the next purge. Oldest and newest
    are the times at which the first and the last was kept, in UTC.
    """
    tallies = state.store.inspect().count_kinds(tokens.now())
    if as_json:
        rows = {kind: vars(tally) for kind, tally in tallies.items()}
        click.echo(json.dumps(rows, indent=2, default=datetime.isoformat))
        return
    click.echo(f"{'kind':8} {'live':>9} {'expired':>9}  {'oldest':19}  newest")
    for kind, x in tallies.items():
        # To the second, without the offset of UTC.
        oldest, newest = (str(at or "-")[:19] for at in (x.oldest, x.newest))
        click.echo(f"{kind:8} {x.live:9} {x.expired:9}  {oldest:19}  {newest}")


@logout.command("check")
@pass_state
def _check(state: LogoutState, /) -> None:
    """Say what is wrong with the set-up of the app, and what to do.

    Prints one line per check: ok, note or problem. The exit status is 1 if there is a
    problem, so that a deployment can depend on it.
    """
    problems = 0
    for name, check in doctor.CHECKS:
        finding = doctor.run(check, state)
        if finding is None:
            click.echo(f"ok: {name}")
            continue
        is_note = isinstance(finding, doctor.Note)
        problems += not is_note
        click.echo(f"{'note' if is_note else 'problem'}: {name}: {finding}")
    if problems:
        raise click.ClickException(f"problems found: {problems}.")


@logout.command("openapi")
@pass_state
def _openapi(state: LogoutState, /) -> None:
    """Print the OpenAPI document of the endpoint, as JSON."""
    settings = state.settings
    document = openapi(
        url_prefix=settings.url_prefix, max_token_length=settings.max_token_length
    )
    click.echo(json.dumps(document, indent=2))
