"""Prints untrusted text, such as the claims of a token, safely on a terminal."""

from __future__ import annotations

import sys
import typing as t

import click

from ..domain.revocation import Kind
from ..domain.revocation import Revocation
from ..stores import Tally


def printable(text: str) -> str:
    """Replace control, formatting, and unassigned characters."""
    return "".join(x if x.isprintable() else "\N{REPLACEMENT CHARACTER}" for x in text)


def say(text: str) -> None:
    """Print a line. Escape the characters that the terminal can't encode."""
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(printable(text).encode(encoding, "backslashreplace").decode(encoding))


def warn(text: str) -> None:
    """Print a warning to standard error."""
    click.echo(f"Warning: {printable(text)}", err=True)


def pluralize(count: int, noun: str) -> str:
    """Write a number with a noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def show_table(
    titles: t.Sequence[str], rows: t.Sequence[t.Sequence[str | None]]
) -> None:
    """Print a table of texts. A missing text is printed as ``-``."""
    cells = [titles, *([x or "-" for x in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (x.ljust(width) for x, width in zip(row, widths, strict=True))
        say("  ".join(padded).rstrip())


def show_tallies(tallies: t.Mapping[Kind, Tally]) -> None:
    """Print a table of the numbers of revocations."""
    click.echo(f"{'kind':8} {'live':>9} {'expired':>9}  {'oldest':19}  newest")
    for kind, x in tallies.items():
        # Cut off the fraction of a second and the offset.
        oldest, newest = (str(at or "-")[:19] for at in (x.oldest, x.newest))
        click.echo(f"{kind:8} {x.live:9} {x.expired:9}  {oldest:19}  {newest}")


def describe(revocation: Revocation) -> str:
    """Say what a revocation revokes, in words that complete "Revoked …"."""
    name, subject = revocation.token_id, revocation.subject
    of_subject = "" if subject is None else f" of subject {subject}"
    if revocation.kind == "token":
        return (
            f"token {name}{of_subject}" if name else f"a token{of_subject} without jti"
        )
    if revocation.kind == "session":
        return f"every token of session {name}{of_subject}"
    whose, cutoff = of_subject or " of every user", str(revocation.cutoff)
    return f"every login{whose} that began at or before {cutoff}"
