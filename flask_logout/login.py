"""What ties the tokens of one login together, and when that login began.

A login may read the password long before it makes tokens. If the password changes in
between, the cutoff of that change must cover these tokens. So a login begins when its
request begins, and the extension stamps each request with that instant.
"""

from __future__ import annotations

import time
import typing as t
from datetime import datetime
from uuid import uuid4

from flask import Flask
from flask import has_request_context
from flask import request
from flask import request_started

from . import clock
from .claims import began_at
from .claims import Claims
from .claims import session_of
from .claims import token_key

_TICK = 1e-6

# In the environ, because requests inside an open app context share its g.
_STARTED_AT = "flask_logout.started_at"


def session_claims(claims: Claims | None = None) -> dict[str, t.Any]:
    """Make the claims that tie the tokens of one login together, or carry them over.

    Pass the result as ``additional_claims`` to ``create_access_token`` and
    ``create_refresh_token``. At login, call it once, without an argument, and use the
    result for both tokens. At refresh, pass the claims of the refresh token::

        create_access_token(identity, additional_claims=session_claims(get_jwt()))

    These three claims are the extension's: an app must not set them to anything else.

    :param claims: the claims of a token of the login that goes on. If that token has no
        session, its tokens get one of their own. ``None`` or empty: a new login.
    :returns: ``sid``, a string that names the login. ``login_at``, when the request
        began that logged in, in seconds since the epoch: "log out everywhere" covers
        the logins that began before it. ``iat``, the present, with a fraction (RFC 7519
        2, NumericDate).
    """
    now = clock.now().timestamp()
    if claims:
        sid = session_of(claims) or f"t:{token_key(claims).hex()}"
        return {"sid": sid, "login_at": began_at(claims) or 0, "iat": now}
    # The clock may have gone back since, and no login began in the future.
    login_at = min(_read_stamp(now), now + _TICK)
    return {"sid": str(uuid4()), "login_at": login_at, "iat": max(now, login_at)}


def stamp_requests(app: Flask) -> None:
    """Remember of every request when it started.

    :param app: the app.
    """
    request_started.connect(_stamp, app)


def begin_after(cutoff: datetime) -> None:
    """Let the current request log in a user whom it has just logged out everywhere.

    :param cutoff: the cutoff of that revocation, aware UTC.
    """
    if has_request_context():
        request.environ[_STARTED_AT] = cutoff.timestamp() + _TICK


def _read_stamp(default: float) -> float:
    if has_request_context():
        return t.cast(float, request.environ.get(_STARTED_AT, default))
    return default


def _stamp(_: Flask, **__: t.Any) -> None:
    # A tick early, because cutoffs are cut to microseconds. If an app passes its environ
    # on to another app, the earlier stamp counts.
    request.environ.setdefault(_STARTED_AT, time.time() - _TICK)
