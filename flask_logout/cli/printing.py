"""Printing on a terminal what may come from outside, such as the claims of a token."""

from __future__ import annotations

import sys

import click

from ..revocation import Revocation


def printable(text: str) -> str:
    """Replace the characters that a terminal would obey or that hide others.

    :param text: any text.
    :returns: the text without control, formatting and unassigned characters.
    """
    return "".join(x if x.isprintable() else "\N{REPLACEMENT CHARACTER}" for x in text)


def say(text: str) -> None:
    """Print a line, whatever its characters and the encoding of the terminal are.

    :param text: the line.
    """
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(printable(text).encode(encoding, "backslashreplace").decode(encoding))


def warn(text: str) -> None:
    """Print a warning on standard error.

    :param text: what is wrong and what to do.
    """
    click.echo(f"Warning: {printable(text)}", err=True)


def describe(revocation: Revocation) -> str:
    """Say what a revocation revokes.

    :param revocation: the revocation.
    :returns: words that complete "Revoked …".
    """
    name, subject = revocation.token_id, revocation.subject
    of_subject = "" if subject is None else f" of subject {subject}"
    if revocation.kind == "token":
        named = f"token {name}" if name else "token without a jti"
        return named + of_subject
    if revocation.kind == "session":
        return f"every token of session {name}{of_subject}"
    whose, cutoff = of_subject or " of every user", str(revocation.cutoff)
    return f"every login{whose} that began at or before {cutoff}"
