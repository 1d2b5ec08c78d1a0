"""Reports what happens to sessions to the log and by signals."""

from __future__ import annotations

from flask import Flask

from .. import audit
from .. import signals
from ..domain.claims import Claims
from ..domain.claims import generation_of
from ..domain.revocation import Revocation
from ..domain.rotation import Outcome
from ..domain.rotation import Session


def report_started(app: Flask, session: Session) -> None:
    """Log and signal a login.

    :param app: the app.
    :param session: the new session.
    """
    audit.log_session("session_created", session.sid, session.subject)
    signals.send(signals.session_started, app, session=session)


def report_refreshed(app: Flask, session: Session, outcome: Outcome) -> None:
    """Log and signal that a refresh token was presented.

    :param app: the app.
    :param session: the session as it is after a rotation.
    :param outcome: what happened. Reuse is reported by :func:`report_reuse`.
    """
    if outcome == "reuse":
        return
    sid, subject = session.sid, session.subject
    audit.log_refresh(outcome, is_first=session.parent == 0, sid=sid, subject=subject)
    if outcome != "refused":
        why = {"sid": sid, "subject": subject, "outcome": outcome}
        signals.send(signals.session_refreshed, app, **why)


def report_reuse(app: Flask, revocation: Revocation, claims: Claims) -> None:
    """Log and signal that a refresh token was used again, once for each session.

    :param app: the app.
    :param revocation: the revocation that ended the session.
    :param claims: the claims of the refresh token.
    """
    sid, subject = revocation.token_id, revocation.subject
    audit.log_reuse(sid, subject, generation_of(claims))
    signals.send(signals.reuse_detected, app, sid=sid, subject=subject, claims=claims)
