"""The HTTP endpoint: parse, check, revoke, answer."""

from __future__ import annotations

import typing as t
from datetime import timedelta

from flask import current_app
from flask import request
from flask import Response
from flask_jwt_extended import decode_token
from flask_jwt_extended import get_unverified_jwt_headers
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt import ExpiredSignatureError
from werkzeug.exceptions import BadRequest
from werkzeug.wsgi import get_input_stream

from .. import jwt_extended
from .. import tokens
from ..blocklist import check_slot
from ..claims import Claims
from ..config import Settings
from ..exceptions import InvalidRequestError
from ..exceptions import InvalidTokenError
from ..pair import LogoutTokens
from ..pair import verify_pair
from ..schemas import LoggedOut
from ..service import get_service
from ..tokens import describe
from . import cookies
from .errors import answer

BODY_ROOM = 1 << 16
"""How long a body may be beside tokens, in bytes."""

BODY_TOKENS = 8
"""How many times ``LOGOUT_MAX_TOKEN_LENGTH`` a body may have for tokens: there may be
two, and JSON may write some of their characters in several bytes."""

_EXPIRED = "Signature has expired"


class _Access(t.NamedTuple):
    claims: Claims
    needs_refresh: bool
    """Whether it has expired, and logs out only beside a valid refresh token."""


def logout() -> Response:
    """Revoke the access token and the refresh token of the caller (RFC 7009 2).

    :returns: the documented answer to a logout that has happened.
    """
    service = get_service()
    # What is acknowledged here must be refused everywhere.
    check_slot(current_app)
    _bound_body(service.settings.max_token_length)
    access = _verify_access(service.settings.expired_access_grace)
    pair = _verify_pair(service.settings, access)
    service.log_out(pair)
    return cookies.unset_useless(answer(LoggedOut()), (pair.access, pair.refresh))


def _bound_body(max_token_length: int) -> None:
    """Reject a body that no request needs, before anything parses it."""
    # If something has read it already, it is in memory, and the stream has ended.
    if "stream" not in vars(request):
        most = BODY_ROOM + BODY_TOKENS * max_token_length
        allowed = request.max_content_length
        request.stream = get_input_stream(
            request.environ,
            max_content_length=most if allowed is None else min(most, allowed),
        )


def _verify_access(grace: timedelta) -> _Access:
    """Verify the access token as every route does, save that no user is loaded."""
    try:
        found = jwt_extended.find_access_token(_read_json)
        header = get_unverified_jwt_headers(found.token)
        claims, has_expired = _decode(found)
    except tokens.DECODE_ERRORS as e:
        raise InvalidTokenError(describe(e)) from e
    if claims["type"] == "refresh":
        raise InvalidTokenError("Only non-refresh tokens are allowed")
    is_late = has_expired and not tokens.expired_within(grace, claims)
    if is_late and found.location != "cookies":
        raise InvalidTokenError(_EXPIRED)
    # Outside of the first try: an error of the app's own loaders says nothing about the
    # token. Only this class means that they reject it.
    try:
        jwt_extended.ask_loaders(header, claims)
    except JWTExtendedException as e:
        raise InvalidTokenError(describe(e)) from e
    return _Access(claims, is_late)


def _decode(found: jwt_extended.Presented) -> tuple[Claims, bool]:
    try:
        return decode_token(found.token, found.csrf), False
    except ExpiredSignatureError:
        return decode_token(found.token, found.csrf, allow_expired=True), True


def _verify_pair(settings: Settings, access: _Access) -> LogoutTokens:
    try:
        body = _read_body(settings.require_refresh_token)
        pair = verify_pair(settings, access.claims, body)
    except InvalidRequestError as e:
        if access.needs_refresh:
            raise InvalidTokenError(_EXPIRED) from e
        raise
    if access.needs_refresh and not (pair.refresh and cookies.is_usable(pair.refresh)):
        raise InvalidTokenError(_EXPIRED)
    return pair


def _read_body(requires_token: bool) -> object:
    """Read the body, to which a cookie may add the token that is not in it."""
    body = _read_json()
    if not _leaves_token_out(body):
        return body
    cookie = cookies.read_refresh_cookie()
    if cookie is not None:
        return {"refresh_token": cookie}
    return body if requires_token else {}


def _leaves_token_out(body: object) -> bool:
    """Whether no refresh token was sent, not even in a form that is not accepted."""
    if isinstance(body, dict):
        return "refresh_token" not in body
    if request.form:
        return "refresh_token" not in request.form
    return not request.get_data()


def _read_json() -> object:
    try:
        return request.get_json(silent=True)
    except (BadRequest, RecursionError):
        return None
