"""`Blinker <https://blinker.readthedocs.io>`__ signals that an app can connect to.

The sender is the Flask app. Signals are sent after the event. If a receiver raises an
exception, it is logged, and the event is not undone.
"""

from __future__ import annotations

import logging
import typing as t

from blinker import NamedSignal
from blinker import Namespace
from flask import Flask

logger = logging.getLogger("flask_logout")

_signals = Namespace()

logged_out = _signals.signal(
    "logged-out",
    doc="Sent after a logout, with ``access`` and ``refresh``, the claims of both"
    " tokens. ``refresh`` is ``None`` if there was no refresh token.",
)
revoked = _signals.signal(
    "revoked",
    doc="Sent after tokens are revoked, with ``revocations``, a sequence of"
    " :class:`Revocation`, and ``reason`` and ``actor``.",
)
revocation_unknown = _signals.signal(
    "revocation-unknown",
    doc="Sent after ``store_unavailable`` if a write of revocations may or may not have"
    " succeeded, with ``revocations``, ``reason``, ``actor`` and ``error``.",
)
session_started = _signals.signal(
    "session-started",
    doc="Sent after a login by :meth:`~LogoutExtension.start_session`, with ``session``, a"
    " :class:`Session`. Only if sessions are enabled, like the next two.",
)
session_refreshed = _signals.signal(
    "session-refreshed",
    doc="Sent after a refresh, with ``sid``, ``subject`` and ``outcome``: ``adopted``,"
    " ``rotated``, ``repeated`` or ``replaced``.",
)
reuse_detected = _signals.signal(
    "reuse-detected",
    doc="Sent once when a refresh token is used again after it was replaced, and its"
    " session has been ended, with ``sid``, ``subject`` and ``claims``.",
)
upstream_failed = _signals.signal(
    "upstream-failed",
    doc="Sent when an upstream failed that isn't required, with ``upstream``, its name, and"
    " ``status``, that of its response or ``None``.",
)
store_unavailable = _signals.signal(
    "store-unavailable",
    doc="Sent when the store can't be reached, with ``error``, a"
    " :exc:`StoreUnavailableError`.",
)


def send(signal: NamedSignal, app: Flask, **values: t.Any) -> None:
    """Send a signal to all receivers. Log the exceptions that they raise.

    :param signal: one of the signals of this module.
    :param app: the sender.
    :param **values: the keyword arguments of the receivers.
    """
    for receiver in signal.receivers_for(app):
        try:
            app.ensure_sync(receiver)(app, **values)
        except Exception:  # noqa: B902  the app's receiver may raise anything
            logger.exception("A receiver of the signal %s failed.", signal.name)
