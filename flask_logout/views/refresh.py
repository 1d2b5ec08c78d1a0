"""The refresh endpoint, ``POST /auth/refresh``."""

from __future__ import annotations

import typing as t

from flask import current_app
from flask import Response
from flask_jwt_extended import decode_token
from flask_jwt_extended import get_unverified_jwt_headers
from flask_jwt_extended.exceptions import JWTExtendedException

from .. import jwt_extended
from .. import tokens
from ..blocklist import check_loader
from ..blocklist import is_blocked_by_app
from ..domain.claims import Claims
from ..exceptions import InvalidTokenError
from ..service import get_service
from ..sessions.schemas import Refreshed
from ..sessions.schemas import TokenData
from ..tokens import describe
from ..tokens import RefreshRejectedError
from . import cookies
from .access import limit_body
from .access import read_json
from .errors import make_json_response

if t.TYPE_CHECKING:
    from ..sessions import SessionService


def refresh() -> Response:
    """Exchange the refresh token of the request for a new pair (RFC 9700 4.14.2).

    :returns: the documented 200 response.
    """
    service = get_service()
    # Don't issue tokens that no logout could revoke.
    check_loader(current_app)
    limit_body(service.settings.max_token_length)
    header, claims = _verify_refresh()
    if is_blocked_by_app(header, claims):
        raise InvalidTokenError("Token has been revoked")
    sessions = t.cast("SessionService", service.sessions)
    try:
        pair = sessions.refresh(claims, checked_at=None)
    except RefreshRejectedError as e:
        raise InvalidTokenError(describe(e)) from e
    cookies.set_pair(pair)
    return make_json_response(Refreshed(data=TokenData(**pair._asdict())))


def _verify_refresh() -> tuple[dict[str, t.Any], Claims]:
    """Verify the refresh token as ``jwt_required()`` does, but not its revocation."""
    try:
        found = jwt_extended.find_refresh_token(read_json)
        header = get_unverified_jwt_headers(found.token)
        claims = decode_token(found.token, found.csrf)
    except tokens.DECODE_ERRORS as e:
        raise InvalidTokenError(describe(e)) from e
    # The app's loaders reject a token by this class. Other exceptions are bugs in them, so
    # don't catch DECODE_ERRORS here.
    try:
        jwt_extended.accept_refresh_token(header, claims, found.location)
    except JWTExtendedException as e:
        raise InvalidTokenError(describe(e)) from e
    return header, claims
