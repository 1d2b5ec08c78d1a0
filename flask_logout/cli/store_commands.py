"""The commands that create, count and delete the stored records."""

from __future__ import annotations

import json
import sys
import typing as t
from datetime import datetime

import click

from .. import clock
from ..purging import PURGE_BATCH
from ..purging import purge_in_batches
from ..service import LogoutService
from . import checks
from .commands import logout
from .options import pass_service
from .printing import pluralize
from .printing import say
from .printing import show_tallies

if t.TYPE_CHECKING:
    from ..stores import Store
    from ..stores.sessions import SessionStore


@logout.command("init")
@pass_service
def _init(service: LogoutService, /) -> None:
    """Create the table for revocations if it doesn't exist.

    Use it if the app has no migrations. It also adds missing indexes, and changes nothing
    else in an existing table. If sessions are enabled, it does the same for their table.
    """
    done = [store.inspect().create() for store in service.stores()]
    problem = checks.check_store(service)
    if problem is not None and not isinstance(problem, checks.Note):
        raise click.ClickException(problem)
    # Redis says the same twice.
    for words in dict.fromkeys(done):
        say(words)


@logout.command("purge")
@pass_service
def _purge(service: LogoutService, /) -> None:
    """Delete expired revocations.

    Run it once a day if LOGOUT_PURGE_EVERY is 0. It deletes in small batches, so you can
    run it while the app serves requests. If sessions are enabled, it deletes expired
    sessions as well.
    """
    store, now = service.store, clock.now()
    count = delete_expired(
        store, lambda: store.inspect().count_expired(now), sys.stderr
    )
    deleted = [pluralize(count, "expired revocation")]
    if service.sessions is not None:
        sessions = service.sessions.store
        count = delete_expired(
            sessions, lambda: sessions.inspect().count(now).expired, sys.stderr
        )
        deleted.append(pluralize(count, "expired session"))
    say(f"Deleted {' and '.join(deleted)}.")


@logout.command("stats")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_service
def _stats(service: LogoutService, /, as_json: bool) -> None:
    """Count the stored revocations of each kind.

    Live revocations are still needed. The next purge deletes the expired ones. Oldest and
    newest are the times, in UTC, when the first and the last revocation was stored.

    If sessions are enabled, it counts them as well. Live ones have a refresh token that
    has not expired. They may be revoked.
    """
    now = clock.now()
    tallies = service.store.inspect().count_kinds(now)
    sessions = None
    if service.sessions is not None:
        sessions = service.sessions.store.inspect().count(now)
    if as_json:
        rows: dict[str, t.Any] = {kind: vars(x) for kind, x in tallies.items()}
        if sessions is not None:
            rows["sessions"] = vars(sessions)
        click.echo(json.dumps(rows, indent=2, default=datetime.isoformat))
        return
    show_tallies(tallies)
    if sessions is not None:
        click.echo(f"\nSessions: {sessions.live} live, {sessions.expired} expired.")


def delete_expired(
    store: Store | SessionStore, expect: t.Callable[[], int], output: t.TextIO
) -> int:
    """Delete the expired records of a store, and return how many there were.

    If the output is a terminal and there is more than one batch, show a progress bar.

    :param expect: counts the expired records. Some of them may still be kept.
    :param output: where to show it.
    """
    batches = purge_in_batches(store)
    expected = expect() if output.isatty() else 0
    if expected <= PURGE_BATCH:
        return sum(batches)
    total = 0
    with click.progressbar(length=expected, label="Deleting", file=output) as bar:
        for count in batches:
            total += count
            bar.update(count)
        bar.update(max(expected - total, 0))
    return total
