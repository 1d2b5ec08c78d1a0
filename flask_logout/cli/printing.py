"""Prints untrusted text, such as the claims of a token, safely on a terminal."""

from __future__ import annotations

import sys

import click

from ..revocation import Revocation


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
