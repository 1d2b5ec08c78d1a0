"""What an app can listen to (`blinker <https://blinker.readthedocs.io>`__ signals).

The sender is the Flask app. A signal tells what has happened already: a receiver that
raises is logged and changes nothing.
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
    doc="A caller logged out. Sent with ``access`` and ``refresh``, the claims of"
    " both tokens; ``refresh`` is ``None`` if there was no refresh token.",
)
revoked = _signals.signal(
    "revoked",
    doc="Something was revoked. Sent with ``revocations``, ``reason`` and ``actor``.",
)
revocation_unknown = _signals.signal(
    "revocation-unknown",
    doc="A write of revocations was not acknowledged, so they may be in effect or not."
    " Sent with ``revocations``, ``reason``, ``actor`` and ``error``, after"
    " ``store_unavailable``.",
)
store_unavailable = _signals.signal(
    "store-unavailable",
    doc="The store did not answer, a request was refused. Sent with ``error``.",
)


def send(signal: NamedSignal, app: Flask, **values: t.Any) -> None:
    """Tell every receiver, and let none of them undo what has happened.

    :param signal: one of the signals of this module.
    :param app: the app it happened in.
    :param **values: what the signal is sent with.
    """
    for receiver in signal.receivers_for(app):
        try:
            app.ensure_sync(receiver)(app, **values)
        except Exception:  # noqa: B902  whatever the app's receiver raises
            logger.exception("a receiver of the signal %s failed", signal.name)
