"""Makes the claims that identify a login and say when it began.

A login may read the password long before it makes tokens. If the password changes in
between, the cutoff of that change must cover these tokens. So a login begins when its
request begins, and the extension stamps each request with that time.
"""

from __future__ import annotations

import time
import typing as t
from datetime import datetime
from uuid import uuid4

from flask import Flask
from flask import has_request_context
from flask import request

from .. import clock
from ..domain.claims import began_at
from ..domain.claims import Claims
from ..domain.claims import generation_of
from ..domain.claims import replacement_sid
from ..domain.claims import session_of

_TICK = 1e-6

# The stamp is in the environ, because requests in an open app context share its g.
_STARTED_AT = "flask_logout.started_at"


def session_claims(claims: Claims | None = None) -> dict[str, t.Any]:
    """Make the claims that identify a login, for its access and refresh tokens.

    Pass them as ``additional_claims`` to ``create_access_token`` and
    ``create_refresh_token``, so that logging out also revokes the tokens of later
    refreshes. When a user logs in, call this once without arguments and use the result
    for both tokens. In a refresh view, pass the claims of the refresh token::

        create_access_token(identity, additional_claims=session_claims(get_jwt()))

    The app must not set these claims itself.

    :param claims: the claims of a token of the same login. If they don't identify a
        login, the new tokens get one of their own. ``None`` or empty for a new login.
    :returns: ``sid`` identifies the login. ``login_at`` is the time when the request of
        the login began, in seconds since the epoch, which "log out everywhere" compares
        with its cutoff. ``iat`` is the current time, with a fraction (RFC 7519 2).
        ``generation`` is that of the refresh token, if it has one.
    """
    now = clock.now().timestamp()
    if claims:
        carried = {"generation": generation_of(claims)} if _is_rotated(claims) else {}
        sid = session_of(claims) or replacement_sid(claims)
        return {"sid": sid, "login_at": began_at(claims) or 0, "iat": now, **carried}
    # If the clock was set back meanwhile, the stamp may be in the future.
    login_at = min(_read_stamp(now), now + _TICK)
    return {"sid": str(uuid4()), "login_at": login_at, "iat": max(now, login_at)}


def stamp_requests(app: Flask) -> None:
    """Record the start time of every request of an app.

    :param app: the app, whose ``wsgi_app`` this wraps.
    """
    inner = app.wsgi_app

    # Every request pays for this, and a receiver of request_started would cost ten times
    # as much.
    def stamp(environ: dict[str, t.Any], start_response: t.Any) -> t.Any:
        # One tick early, because cutoffs are truncated to microseconds. If an app passes
        # its environ to another app, the earlier stamp stays.
        environ.setdefault(_STARTED_AT, time.time() - _TICK)
        return inner(environ, start_response)

    app.wsgi_app = stamp  # type: ignore[method-assign]  # as Flask documents it


def begin_after(cutoff: datetime) -> None:
    """Let the current request log in a user that it has just logged out everywhere.

    :param cutoff: the cutoff of that revocation, aware UTC.
    """
    if has_request_context():
        request.environ[_STARTED_AT] = cutoff.timestamp() + _TICK


def _is_rotated(claims: Claims) -> bool:
    return claims.get("type") == "refresh" and "generation" in claims


def _read_stamp(default: float) -> float:
    if has_request_context():
        return t.cast(float, request.environ.get(_STARTED_AT, default))
    return default
