"""Logs one line per event to the logger ``flask_logout``. It never logs tokens.

Event names follow the OWASP Logging Vocabulary Cheat Sheet. Times are UTC.
"""

from __future__ import annotations

import json
import logging
import typing as t

from . import clock
from .domain.revocation import Kind
from .domain.revocation import Revocation
from .domain.revocation import storable

if t.TYPE_CHECKING:
    from .domain.rotation import Outcome

logger = logging.getLogger("flask_logout")

_EVENTS: dict[Kind, str] = {
    "token": "authn_token_revoked",
    "session": "session_logout",
    "subject": "session_logout_all",
    "everyone": "session_logout_everyone",
}


# Normal refreshes are as frequent as they are uninteresting.
_REFRESHES: dict[Outcome, tuple[int, str]] = {
    "adopted": (logging.DEBUG, "session_renewed"),
    "rotated": (logging.DEBUG, "session_renewed"),
    "repeated": (logging.INFO, "session_renewed"),
    "replaced": (logging.INFO, "session_renewed"),
    "refused": (logging.WARNING, "session_refused"),
}


def log_revoked(revocations: t.Sequence[Revocation]) -> None:
    """Log that tokens were revoked.

    :param revocations: the revocations of one call, all of the same subject.
    """
    _log(logging.INFO, _name_event(revocations), **_describe(revocations))


def log_outcome_unknown(revocations: t.Sequence[Revocation], error: Exception) -> None:
    """Log that a write of revocations may or may not have succeeded.

    :param revocations: the revocations of one call, all of the same subject.
    :param error: the error of the store.
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

    :param subject: the subject of the tokens.
    :param upstreams: how many upstreams have succeeded.
    """
    subject = storable(subject)
    _log(logging.ERROR, "logout_incomplete", subject=subject, upstreams=upstreams)


def log_upstream_failed(upstream: str, status: int | None, cause: str) -> None:
    """Log that an upstream that isn't required has failed.

    :param upstream: the name of the upstream.
    :param status: the status of its response, or ``None`` if there was none.
    :param cause: why it failed.
    """
    values = {"upstream": upstream, "status": status, "error": cause}
    _log(logging.WARNING, "upstream_failed", **values)


def log_session(event: str, sid: str, subject: str | None) -> None:
    """Log an event of a session.

    :param event: the name of the event.
    :param sid: the ``sid`` of the session.
    :param subject: the subject of its tokens.
    """
    _log(logging.INFO, event, sid=sid, subject=subject)


def log_refresh(
    outcome: Outcome, *, is_first: bool, sid: str, subject: str | None
) -> None:
    """Log that a refresh token was presented.

    :param outcome: what happened.
    :param is_first: whether the token has the generation 0.
    :param sid: the ``sid`` of the session.
    :param subject: the subject of the tokens.
    """
    level, event = _REFRESHES[outcome]
    if outcome == "adopted" and not is_first:
        level, event = logging.WARNING, "session_row_missing"
    _log(level, event, sid=sid, subject=subject, outcome=outcome)


def log_reuse(sid: str | None, subject: str | None, generation: int) -> None:
    """Log that a refresh token was used again, so that its session has ended.

    :param sid: the ``sid`` of the session.
    :param subject: the subject of the tokens.
    :param generation: the generation of the refresh token.
    """
    _log(
        logging.CRITICAL,
        "authn_token_reuse",
        sid=sid,
        subject=subject,
        generation=generation,
    )


def log_store_unavailable(error: Exception) -> None:
    """Log that the store can't be reached.

    :param error: the error of the store, and how to fix it if that is known.
    """
    _log(logging.ERROR, "store_unavailable", error=str(error))


def has_handler() -> bool:
    """Check whether a log handler receives the events of :func:`log_revoked`.

    :returns: ``False`` if the level of the logger or of every handler discards them.
    """
    level = logging.INFO
    return logger.isEnabledFor(level) and any(
        handler.level <= level and not isinstance(handler, logging.NullHandler)
        for handler in _handlers()
    )


def _handlers() -> t.Iterator[logging.Handler]:
    # A record also reaches the handlers of every logger that it propagates to.
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
    if not logger.isEnabledFor(level):
        return
    # JSON escapes line breaks, so no value can forge a second line.
    known = {name: value for name, value in values.items() if value is not None}
    at = clock.now().isoformat(timespec="milliseconds")
    logger.log(level, "%s %s %s", at, event, json.dumps(known))
