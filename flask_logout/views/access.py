"""What the endpoints share: verifying the access token, and reading the body."""

from __future__ import annotations

import typing as t
from contextlib import contextmanager
from datetime import timedelta

from flask import request
from flask_jwt_extended import decode_token
from flask_jwt_extended import get_unverified_jwt_headers
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt import ExpiredSignatureError
from werkzeug.exceptions import BadRequest
from werkzeug.wsgi import get_input_stream

from .. import jwt_extended
from .. import tokens
from ..domain.claims import Claims
from ..exceptions import InvalidTokenError

BODY_OVERHEAD = 1 << 16
"""Bytes that the body may have in addition to the tokens."""

BODY_TOKENS = 8
"""Bytes that the body may have for each character of ``LOGOUT_MAX_TOKEN_LENGTH``. It may
contain two tokens, and JSON may escape their characters."""

EXPIRED = "Signature has expired"
"""The description of an expired token, in the words of PyJWT."""


class Access(t.NamedTuple):
    """An access token that may have expired."""

    claims: Claims
    needs_refresh: bool
    """Whether it has expired, so that it requires a refresh token that is still valid."""


def limit_body(max_token_length: int) -> None:
    """Limit the size of the body before it is parsed.

    :param max_token_length: ``LOGOUT_MAX_TOKEN_LENGTH``.
    """
    # If the app has already read the body, it is too late to limit it.
    if "stream" not in vars(request):
        most = BODY_OVERHEAD + BODY_TOKENS * max_token_length
        allowed = request.max_content_length
        request.stream = get_input_stream(
            request.environ,
            max_content_length=most if allowed is None else min(most, allowed),
        )


def read_json() -> object:
    """Return the decoded JSON body, or ``None`` if there is none or it is invalid."""
    try:
        return request.get_json(silent=True)
    except (BadRequest, RecursionError):
        return None


def verify_access(*, fresh: bool = False) -> Claims:
    """Verify the access token as ``jwt_required()`` does, but don't load the user.

    :param fresh: whether the token must be fresh.
    :returns: the claims of the token.
    :raises InvalidTokenError: if it is missing or invalid.
    """
    with _rejecting(*tokens.DECODE_ERRORS):
        found = jwt_extended.find_access_token(read_json)
        header = get_unverified_jwt_headers(found.token)
        claims = decode_token(found.token, found.csrf)
    _check_type(claims)
    if fresh:
        with _rejecting(*tokens.DECODE_ERRORS):
            jwt_extended.verify_fresh(claims)
    _call_loaders(header, claims)
    return claims


def verify_late_access(grace: timedelta) -> Access:
    """Verify the access token like :func:`verify_access`, but accept an expired one.

    :param grace: how long after its expiry it is accepted. A token in a cookie is
        accepted for longer, but then needs a refresh token.
    :returns: the claims of the token, and whether it needs a refresh token.
    :raises InvalidTokenError: if it is missing or invalid.
    """
    with _rejecting(*tokens.DECODE_ERRORS):
        found = jwt_extended.find_access_token(read_json)
        header = get_unverified_jwt_headers(found.token)
        claims, has_expired = _decode(found)
    _check_type(claims)
    is_late = has_expired and not tokens.expired_within(grace, claims)
    if is_late and found.location != "cookies":
        raise InvalidTokenError(EXPIRED)
    _call_loaders(header, claims)
    return Access(claims, is_late)


@contextmanager
def _rejecting(*errors: type[Exception]) -> t.Iterator[None]:
    try:
        yield
    except errors as e:
        raise InvalidTokenError(tokens.describe(e)) from e


def _decode(found: jwt_extended.Presented) -> tuple[Claims, bool]:
    try:
        return decode_token(found.token, found.csrf), False
    except ExpiredSignatureError:
        return decode_token(found.token, found.csrf, allow_expired=True), True


def _check_type(claims: Claims) -> None:
    if claims["type"] == "refresh":
        raise InvalidTokenError("Only non-refresh tokens are allowed")


def _call_loaders(header: dict[str, t.Any], claims: Claims) -> None:
    # The app's loaders reject a token by this class. Other exceptions are bugs in them, so
    # don't catch DECODE_ERRORS here.
    with _rejecting(JWTExtendedException):
        jwt_extended.call_loaders(header, claims)
