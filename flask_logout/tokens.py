"""What this package needs of Flask-JWT-Extended: its configuration, and decoding."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from uuid import uuid4

from flask import current_app
from flask import Flask
from flask_jwt_extended import decode_token
from flask_jwt_extended.config import config
from flask_jwt_extended.exceptions import JWTExtendedException
from flask_jwt_extended.internal_utils import get_jwt_manager
from jwt import PyJWTError

from .claims import Claims
from .claims import session_of
from .claims import text
from .errors import describe
from .errors import InvalidTokenError
from .jwt_extended import LIFETIMES
from .jwt_extended import read_leeway
from .jwt_extended import read_lifetime
from .revocation import Retention

DECODE_ERRORS: tuple[type[Exception], ...] = (
    JWTExtendedException,
    PyJWTError,
    # What a hostile token brings out of a key loader or a JSON parser: an unknown key
    # id, a key of another type, half a surrogate pair, ten thousand brackets.
    LookupError,
    TypeError,
    ValueError,
    RecursionError,
)

current: t.Callable[[], Flask] = t.cast(t.Any, current_app)._get_current_object
"""Gives the current app itself: its proxy is slow, and no sender of signals."""


def now() -> datetime:
    """Read the clock of this worker, aware UTC."""
    return datetime.now(timezone.utc)


def identity_claim() -> str:
    """Read which claim holds the subject, ``JWT_IDENTITY_CLAIM``."""
    return config.identity_claim_key


def decode(encoded_token: str) -> dict[str, t.Any]:
    """Decode a token, expired or not, and verify everything else about it.

    :param encoded_token: the token.
    :returns: its claims.
    :raises InvalidTokenError: it is malformed, forged, or not valid yet.
    """
    try:
        return decode_token(encoded_token, allow_expired=True)
    except DECODE_ERRORS as e:
        raise InvalidTokenError(describe(e)) from e


def expired_within(grace: timedelta, claims: Claims) -> bool:
    """Tell whether an expired token may still log out.

    :param grace: ``LOGOUT_EXPIRED_ACCESS_GRACE``.
    :param claims: the claims of a genuine token that has expired.
    :returns: ``True``: it expired, leeway included, at most that long ago.
    """
    leeway = retention(timedelta(0), None).leeway
    dead_for = now().timestamp() - float(claims["exp"])
    return dead_for <= (leeway + grace).total_seconds()


def subject_for(identity: t.Any) -> str:
    """Turn an identity into the subject that tokens made for it carry.

    :param identity: what ``create_access_token`` takes.
    :returns: the subject, after the app's ``user_identity_loader``.
    :raises ValueError: the identity is ``None``.
    """
    subject = text(get_jwt_manager()._user_identity_callback(identity))
    if subject is None:
        raise ValueError("the identity is None: name a user, or use revoke_everyone()")
    return subject


def accepted_issuers() -> tuple[str | None, ...]:
    """List the issuers whose tokens the app takes.

    :returns: those of ``JWT_DECODE_ISSUER``, or ``None`` for any.
    """
    issuers = config.decode_issuer
    if not issuers:
        return (None,)
    return (issuers,) if isinstance(issuers, str) else tuple(issuers)


def retention(margin: timedelta, max_lifetime: timedelta | None) -> Retention:
    """Work out how long revocations must be kept.

    :param margin: ``LOGOUT_PURGE_MARGIN``.
    :param max_lifetime: ``LOGOUT_MAX_TOKEN_LIFETIME``; ``None``: the longer one of
        ``JWT_ACCESS_TOKEN_EXPIRES`` and ``JWT_REFRESH_TOKEN_EXPIRES``.
    :returns: what to keep them by.
    :raises ConfigError: a setting of Flask-JWT-Extended is invalid.
    """
    if max_lifetime is None:
        access, refresh = map(read_lifetime, LIFETIMES)
        max_lifetime = max(access, refresh) if access and refresh else None
    return Retention(read_leeway(), margin, max_lifetime)


def session_claims(claims: Claims | None = None) -> dict[str, t.Any]:
    """Make the claims that tie the tokens of one login together, or carry them on.

    Pass the result as ``additional_claims`` to ``create_access_token`` and
    ``create_refresh_token``. At login, call it once, without an argument, and use the
    result for both tokens; at refresh, pass the claims of the refresh token::

        create_access_token(identity, additional_claims=session_claims(get_jwt()))

    :param claims: the claims of a token of the login that goes on; ``None``: a new one.
    :returns: ``sid``, a string that names the login, and ``iat``, the present in
        seconds since the epoch, with a fraction (RFC 7519 2, NumericDate), so that a
        login right after "log out everywhere" is told apart from the logins before.
    """
    sid = session_of(claims or {}) or str(uuid4())
    return {"sid": sid, "iat": now().timestamp()}
