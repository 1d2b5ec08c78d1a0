"""What happened, told to the log and to the receivers of signals."""

from __future__ import annotations

import typing as t
from contextlib import contextmanager

from flask import Flask

from . import audit
from . import signals
from .exceptions import OutcomeUnknownError
from .exceptions import StoreUnavailableError
from .revocation import Revocation


def report_revoked(app: Flask, revocations: t.Sequence[Revocation]) -> None:
    """Log and signal what was revoked by one call.

    :param app: the app.
    :param revocations: 1 or more revocations.
    """
    audit.log_revoked(revocations)
    why = {"reason": revocations[0].reason, "actor": revocations[0].actor}
    signals.send(signals.revoked, app, revocations=revocations, **why)


@contextmanager
def reporting(app: Flask, *, writing: t.Sequence[Revocation] = ()) -> t.Iterator[None]:
    """Report a store that does not answer within the block.

    :param app: the app.
    :param writing: what the block writes; a write that may have happened is reported.
    """
    try:
        yield
    except StoreUnavailableError as e:
        report_unavailable(e, app, writing)
        raise


def report_unavailable(
    error: StoreUnavailableError, app: Flask, writing: t.Sequence[Revocation] = ()
) -> None:
    """Log and signal a store that did not answer, and a write that may have happened.

    :param error: the error.
    :param app: the app.
    :param writing: what was written.
    """
    audit.log_store_unavailable(error)
    signals.send(signals.store_unavailable, app, error=error)
    if writing and isinstance(error, OutcomeUnknownError):
        audit.log_outcome_unknown(writing, error)
        why = {"reason": writing[0].reason, "actor": writing[0].actor}
        signals.send(
            signals.revocation_unknown, app, revocations=writing, error=error, **why
        )
