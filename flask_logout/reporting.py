"""Reports revocations and failures to the log and by signals."""

from __future__ import annotations

import typing as t
from contextlib import contextmanager

from flask import Flask

from . import audit
from . import signals
from .domain.revocation import Revocation
from .exceptions import OutcomeUnknownError
from .exceptions import StoreUnavailableError


def report_revoked(app: Flask, revocations: t.Sequence[Revocation]) -> None:
    """Log and signal the revocations of one call.

    :param app: the app.
    :param revocations: 1 or more revocations.
    """
    audit.log_revoked(revocations)
    why = {"reason": revocations[0].reason, "actor": revocations[0].actor}
    signals.send(signals.revoked, app, revocations=revocations, **why)


@contextmanager
def reporting(app: Flask, *, writing: t.Sequence[Revocation] = ()) -> t.Iterator[None]:
    """Report if the store can't be reached within the block.

    :param app: the app.
    :param writing: the revocations that the block writes, to report if the outcome of
        the write is unknown.
    """
    try:
        yield
    except StoreUnavailableError as e:
        report_unavailable(e, app, writing)
        raise


def report_unavailable(
    error: StoreUnavailableError, app: Flask, writing: t.Sequence[Revocation] = ()
) -> None:
    """Log and signal that the store can't be reached, and a write of unknown outcome.

    :param error: the error of the store.
    :param app: the app.
    :param writing: the revocations that were being written.
    """
    audit.log_store_unavailable(error)
    signals.send(signals.store_unavailable, app, error=error)
    if writing and isinstance(error, OutcomeUnknownError):
        audit.log_outcome_unknown(writing, error)
        why = {"reason": writing[0].reason, "actor": writing[0].actor}
        signals.send(
            signals.revocation_unknown, app, revocations=writing, error=error, **why
        )
