"""The log: one line per event on the logger ``flask_logout``, never a token.

The words are those of the OWASP Logging Vocabulary Cheat Sheet; the time is UTC.
"""

from __future__ import annotations

import json
import logging
import typing as t

from . import clock
from .revocation import Kind
from .revocation import Revocation
from .revocation import shown

logger = logging.getLogger("flask_logout")

_EVENTS: dict[Kind, str] = {
    "token": "authn_token_revoked",
    "session": "session_logout",
    "subject": "session_logout_all",
    "everyone": "session_logout_everyone",
}


def log_revoked(revocations: t.Sequence[Revocation]) -> None:
    """Log that something was revoked.

    :param revocations: what one act revoked, of one subject.
    """
    _log(logging.INFO, _name_event(revocations), **_describe(revocations))


def log_outcome_unknown(revocations: t.Sequence[Revocation], error: Exception) -> None:
    """Log that nobody knows whether something was revoked.

    :param revocations: what one act was to revoke, of one subject.
    :param error: what the engine said.
    """
    _log(
        logging.ERROR,
        "revocation_unknown",
        event=_name_event(revocations),
        **_describe(revocations),
        error=str(error),
    )


def log_logout_incomplete(subject: str | None, upstreams: int) -> None:
    """Log that upstreams have ended a login whose tokens are still valid here.

    :param subject: whose login it is.
    :param upstreams: how many upstreams have succeeded.
    """
    subject = shown(subject)
    _log(logging.ERROR, "logout_incomplete", subject=subject, upstreams=upstreams)


def log_store_unavailable(error: Exception) -> None:
    """Log that a request was refused since the store did not answer.

    :param error: what the engine said, and the remedy where there is one.
    """
    _log(logging.ERROR, "store_unavailable", error=str(error))


def is_heard() -> bool:
    """Tell whether a log handler receives what :func:`log_revoked` logs.

    :returns: ``False`` if the level of the logger or of every handler discards it.
    """
    level = logging.INFO
    return logger.isEnabledFor(level) and any(
        handler.level <= level and not isinstance(handler, logging.NullHandler)
        for handler in _handlers()
    )


def _handlers() -> t.Iterator[logging.Handler]:
    """Yield the handlers of the logger and of the loggers that it propagates to."""
    current: logging.Logger | None = logger
    while current is not None:
        yield from current.handlers
        current = current.parent if current.propagate else None


def _name_event(revocations: t.Sequence[Revocation]) -> str:
    return "+".join(dict.fromkeys(_EVENTS[x.kind] for x in revocations))


def _describe(revocations: t.Sequence[Revocation]) -> dict[str, t.Any]:
    first = revocations[0]
    ids = dict.fromkeys(x.token_id for x in revocations if x.token_id)
    return {
        "subject": first.subject,
        "ids": list(ids) or None,
        "reason": first.reason,
        "actor": first.actor,
    }


def _log(level: int, event: str, /, **values: t.Any) -> None:
    # JSON escapes line breaks, so no value can forge a second line.
    shown = {name: value for name, value in values.items() if value is not None}
    at = clock.now().isoformat(timespec="milliseconds")
    logger.log(level, "%s %s %s", at, event, json.dumps(shown))
