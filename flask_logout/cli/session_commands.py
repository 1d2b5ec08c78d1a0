"""The command that lists the sessions of a user."""

from __future__ import annotations

import json
import typing as t
from datetime import datetime
from functools import partial

import click

from ..service import LogoutService
from .commands import logout
from .options import identify
from .options import no_token
from .options import objects_in
from .options import pass_service
from .printing import say
from .printing import show_table

if t.TYPE_CHECKING:
    from ..domain.rotation import Session

_LISTED_NOTHING = "so nothing was listed"

# The fields of a session, and the titles of their columns. The longest one is the last.
_COLUMNS = {
    "sid": "session",
    "created_at": "created",
    "last_seen_at": "last seen",
    "expires_at": "expires",
    "ip_address": "ip address",
    "label": "label",
    "user_agent": "user agent",
}


@logout.command("sessions")
@click.argument("identity", callback=partial(no_token, outcome=_LISTED_NOTHING))
@click.option(
    "--subject",
    "is_subject",
    is_flag=True,
    help="Use IDENTITY as the tokens' sub claim. Don't call user_identity_loader.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_service
def _sessions(
    service: LogoutService, /, identity: str, is_subject: bool, as_json: bool
) -> None:
    """List the active sessions of a user, newest first.

    IDENTITY is what the app passes to start_session(). The command calls the app's
    user_identity_loader, if it has one. Times are in UTC. To end a session, pass its id to
    flask logout session.
    """
    if service.sessions is None:
        raise click.ClickException("Sessions are off. Set LOGOUT_SESSIONS to True.")
    subject = identity if is_subject else identify(identity, _LISTED_NOTHING)
    names = dict.fromkeys((subject, *objects_in(subject)))
    found = [x for name in names for x in service.sessions.list_of(name)]
    if as_json:
        rows = [{field: getattr(x, field) for field in _COLUMNS} for x in found]
        click.echo(json.dumps(rows, indent=2, default=datetime.isoformat))
    elif found:
        show_table(*_tabulate(found))
    else:
        say(f"Subject {subject} has no active session.")


def _tabulate(
    sessions: t.Sequence[Session],
) -> tuple[list[str], list[list[str | None]]]:
    """Return the titles and the rows of the columns that are not empty."""
    fields = [x for x in _COLUMNS if any(getattr(y, x) is not None for y in sessions)]
    rows = [[_show(getattr(x, field)) for field in fields] for x in sessions]
    return [_COLUMNS[x] for x in fields], rows


def _show(value: str | datetime | None) -> str | None:
    # Cut off the fraction of a second and the offset.
    return str(value)[:19] if isinstance(value, datetime) else value
