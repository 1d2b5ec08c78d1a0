"""Decodes tokens, and converts identities to the subjects that tokens carry."""

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
from flask_jwt_extended.exceptions import RevokedTokenError
from jwt import PyJWTError

from .. import clock
from ..config.jwt_settings import read_leeway
from ..domain.claims import Claims
from ..domain.claims import text
from ..exceptions import InvalidTokenError
from ..jwt_extended import config
from ..jwt_extended import load_identity

logger = logging.getLogger("flask_logout")

DECODE_ERRORS: tuple[type[Exception], ...] = (
    JWTExtendedException,
    PyJWTError,
    # A crafted token can make a key loader or the JSON parser raise these: an unknown key
    # id, a key of another type, a lone surrogate, ten thousand nested brackets.
    LookupError,
    TypeError,
    ValueError,
    RecursionError,
)


class RefreshRejectedError(RevokedTokenError):
    """The refresh token can't be exchanged for new tokens.

    Flask-JWT-Extended responds as it does to a revoked token.

    :param claims: the claims of the refresh token.
    :param description: the cause, for ``error_description`` (RFC 6750 3.1).
    """

    def __init__(self, claims: Claims, description: str) -> None:
        super().__init__({}, dict(claims))
        self.args = (description,)


def identity_claim() -> str:
    """Return the name of the claim that holds the subject, ``JWT_IDENTITY_CLAIM``."""
    return config.identity_claim_key


def decode(encoded_token: str) -> dict[str, t.Any]:
    """Decode and verify a token, which may have expired.

    :param encoded_token: the encoded token.
    :returns: the claims of the token.
    :raises InvalidTokenError: if it is malformed, forged, or not valid yet.
    """
    try:
        return decode_token(encoded_token, allow_expired=True)
    except DECODE_ERRORS as e:
        raise InvalidTokenError(describe(e)) from e


def read_valid(encoded_token: str, max_length: int) -> dict[str, t.Any] | None:
    """Decode and verify a token that must not have expired.

    :param encoded_token: the encoded token.
    :param max_length: the length from which on a token isn't even decoded.
    :returns: the claims of the token, or ``None`` if it is invalid.
    """
    if len(encoded_token) > max_length:
        return None
    try:
        return decode_token(encoded_token)
    except DECODE_ERRORS:
        return None


def describe(error: Exception) -> str | None:
    """Describe why a token was rejected.

    :param error: the exception that decoding raised.
    :returns: the message of the exception, a general message if it might contain parts of
        the token, or ``None`` if the request has no token.
    """
    if isinstance(error, NoAuthorizationError):
        return None
    if isinstance(error, (JWTExtendedException, PyJWTError)):
        return str(error)
    return "The token cannot be decoded"


def expired_within(grace: timedelta, claims: Claims) -> bool:
    """Check whether an expired token is still within a grace period.

    :param grace: the time since ``exp`` plus ``JWT_DECODE_LEEWAY``.
    :param claims: the claims of a verified token that has expired.
    :returns: ``True`` if it expired at most that long ago.
    """
    age = clock.now().timestamp() - float(claims["exp"])
    return age <= (read_leeway() + grace).total_seconds()


def subject_for(identity: t.Any) -> str:
    """Convert an identity to the subject that its tokens carry.

    :param identity: the identity, as passed to ``create_access_token``.
    :returns: the result of the app's ``user_identity_loader``, in the form that it has
        after encoding to JSON and back.
    :raises ValueError: if the identity is ``None``, or no valid token can carry it.
    :raises TypeError: if the identity can't be encoded to JSON.
    """
    given = load_identity(identity)
    try:
        value = json.loads(json.dumps(given, cls=config.json_encoder))
    except (TypeError, ValueError, RecursionError) as e:
        raise TypeError(
            f"Invalid identity of type {type(given).__name__}. Expected a string, a number,"
            " or a type that the app's JSON provider can encode. Register a"
            " user_identity_loader that returns one, or pass the value of the sub claim."
        ) from e
    subject = text(value)
    if subject is None:
        raise ValueError(
            "The identity is None. Pass the identity of a user, or use"
            " revoke_everyone()."
        )
    if isinstance(value, (dict, list)):
        _check_compound(type(value).__name__)
    return subject


def _check_compound(kind: str) -> None:
    """Reject an identity that is a dict or a list, or warn if tokens can carry it."""
    if not accepts_objects():
        raise ValueError(
            f"Invalid identity: a {kind}. Expected a string, because PyJWT rejects"
            " every token whose sub claim is not a string. Pass the string that"
            " create_access_token takes."
        )
    logger.warning(
        "The identity is a %s, so this revokes only the tokens that carry exactly this"
        " value. Use a string as the identity, and put the rest into additional_claims.",
        kind,
    )


def accepts_objects() -> bool:
    """Check whether the app accepts tokens whose subject is a dict or a list.

    :returns: ``False`` if PyJWT rejects subjects that aren't strings, as version 2.10 and
        later do by default.
    """
    return (
        identity_claim() != "sub"
        or not current_app.config.get("JWT_VERIFY_SUB", True)
        or not hasattr(jwt.exceptions, "InvalidSubjectError")
    )
