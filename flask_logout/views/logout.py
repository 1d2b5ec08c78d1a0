"""The logout endpoint, ``POST /auth/logout``."""

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
from ..blocklist import check_loader
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
from .errors import make_json_response

BODY_OVERHEAD = 1 << 16
"""Bytes that the body may have in addition to the tokens."""

BODY_TOKENS = 8
"""Bytes that the body may have for each character of ``LOGOUT_MAX_TOKEN_LENGTH``. It may
contain two tokens, and JSON may escape their characters."""

_EXPIRED = "Signature has expired"


class _Access(t.NamedTuple):
    claims: Claims
    needs_refresh: bool
    """Whether it has expired, so that it requires a refresh token that is still valid."""


def logout() -> Response:
    """Revoke the access token and the refresh token of the request (RFC 7009 2).

    :returns: the documented 200 response.
    """
    service = get_service()
    # Don't acknowledge a logout if no route would reject the tokens.
    check_loader(current_app)
    _limit_body(service.settings.max_token_length)
    access = _verify_access(service.settings.expired_access_grace)
    pair = _verify_pair(service.settings, access)
    service.log_out(pair)
    response = make_json_response(LoggedOut())
    return cookies.unset_unusable(response, (pair.access, pair.refresh))


def _limit_body(max_token_length: int) -> None:
    """Limit the size of the body before it is parsed."""
    # If the app has already read the body, it is too late to limit it.
    if "stream" not in vars(request):
        most = BODY_OVERHEAD + BODY_TOKENS * max_token_length
        allowed = request.max_content_length
        request.stream = get_input_stream(
            request.environ,
            max_content_length=most if allowed is None else min(most, allowed),
        )


def _verify_access(grace: timedelta) -> _Access:
    """Verify the access token as ``jwt_required()`` does, but don't load the user."""
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
    # The app's loaders reject a token by this class. Other exceptions are bugs in them, so
    # don't catch DECODE_ERRORS here.
    try:
        jwt_extended.call_loaders(header, claims)
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
    """Return the JSON body, or one made from the refresh cookie if it has no token."""
    body = _read_json()
    if not _lacks_token(body):
        return body
    cookie = cookies.read_refresh_cookie()
    if cookie is not None:
        return {"refresh_token": cookie}
    return body if requires_token else {}


def _lacks_token(body: object) -> bool:
    # A token in a form isn't accepted, but must be an error instead of being ignored.
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
