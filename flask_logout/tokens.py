"""Tokens decoded, and the subjects that they carry."""

from __future__ import annotations

import json
import logging
import typing as t
from datetime import timedelta

import jwt
from flask import current_app
from flask_jwt_extended import decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from flask_jwt_extended.exceptions import NoAuthorizationError
from jwt import PyJWTError

from . import clock
from .claims import Claims
from .claims import text
from .exceptions import InvalidTokenError
from .jwt_extended import config
from .jwt_extended import load_identity
from .jwt_settings import read_leeway

logger = logging.getLogger("flask_logout")

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


def describe(error: Exception) -> str | None:
    """Describe why a token was rejected.

    :param error: the exception of the decoding.
    :returns: the message of the library that rejected it, a general remark if the
        message might repeat the token, or ``None`` if the request has no token.
    """
    if isinstance(error, NoAuthorizationError):
        return None
    if isinstance(error, (JWTExtendedException, PyJWTError)):
        return str(error)
    return "The token cannot be decoded"


def expired_within(grace: timedelta, claims: Claims) -> bool:
    """Tell whether an expired token may still log out.

    :param grace: ``LOGOUT_EXPIRED_ACCESS_GRACE``.
    :param claims: the claims of a genuine token that has expired.
    :returns: ``True``: it expired, leeway included, at most that long ago.
    """
    age = clock.now().timestamp() - float(claims["exp"])
    return age <= (read_leeway() + grace).total_seconds()


def subject_for(identity: t.Any) -> str:
    """Turn an identity into the subject that tokens made for it carry.

    :param identity: what ``create_access_token`` takes.
    :returns: the subject, after the app's ``user_identity_loader``, in the form that it
        has after encoding to JSON and back.
    :raises ValueError: the identity is ``None``, or no valid token can carry it.
    :raises TypeError: the identity can't be encoded to JSON.
    """
    given = load_identity(identity)
    try:
        value = json.loads(json.dumps(given, cls=config.json_encoder))
    except (TypeError, ValueError, RecursionError) as e:
        raise TypeError(
            f"Invalid identity of type {type(given).__name__}: it can't be encoded to"
            " JSON, so no token can carry it. Expected a string, a number, or what the"
            " JSON provider of the app encodes. Register a user_identity_loader that"
            " returns one, or pass the value of the sub claim."
        ) from e
    subject = text(value)
    if subject is None:
        raise ValueError("the identity is None: name a user, or use revoke_everyone()")
    if isinstance(value, (dict, list)):
        _check_compound(type(value).__name__)
    return subject


def _check_compound(kind: str) -> None:
    """Refuse a dict or a list that no valid token carries, or else warn."""
    if not accepts_objects():
        raise ValueError(
            f"Invalid identity: a {kind}. Expected a string, because PyJWT rejects"
            " every token whose sub claim is not a string. Pass the string that"
            " create_access_token takes."
        )
    logger.warning(
        "the identity is a %s, so this covers only the tokens that carry exactly this"
        " value. Use a string as the identity, and put the rest into additional_claims.",
        kind,
    )


def accepts_objects() -> bool:
    """Tell whether the app accepts tokens whose subject is a dict or a list.

    :returns: ``False`` if PyJWT rejects a subject that is not a string, as it does from
        2.10 on.
    """
    return (
        identity_claim() != "sub"
        or not current_app.config.get("JWT_VERIFY_SUB", True)
        or not hasattr(jwt.exceptions, "InvalidSubjectError")
    )
