"""Reads the token cookies of a request, and unsets those that are no longer valid."""

from __future__ import annotations

import typing as t
from datetime import timedelta

from flask import after_this_request
from flask import has_request_context
from flask import request
from flask import Response
from flask_jwt_extended import set_access_cookies
from flask_jwt_extended import set_refresh_cookies
from flask_jwt_extended import unset_access_cookies
from flask_jwt_extended import unset_refresh_cookies

from .. import tokens
from ..domain.claims import Claims
from ..exceptions import InvalidTokenError
from ..exceptions import StoreUnavailableError
from ..jwt_extended import config
from ..service import get_service

if t.TYPE_CHECKING:
    from ..tokens.minting import TokenPair


def read_refresh_cookie() -> str | None:
    """Read the refresh token from the cookie of the request.

    :returns: the token, or ``None`` if there is none or the app doesn't use cookies.
    """
    if not config.jwt_in_cookies:
        return None
    return request.cookies.get(config.refresh_cookie_name) or None


def set_pair(pair: TokenPair) -> None:
    """Set the cookies of a new pair in the response of this request.

    Nothing is set if the app doesn't use cookies, or if the response is an error.

    :param pair: the new tokens.
    """
    if not config.jwt_in_cookies or not has_request_context():
        return

    @after_this_request
    def add(response: Response) -> Response:
        if response.status_code < 400:
            set_access_cookies(response, pair.access_token)
            set_refresh_cookies(response, pair.refresh_token)
        return response


def unset_unusable(
    response: Response, revoked: t.Sequence[Claims | None] = ()
) -> Response:
    """Unset the cookies of the request whose tokens can't be used any more.

    The cookie of a token that is still valid stays, because without it the user could
    not log out with that token.

    :param response: the response to modify.
    :param revoked: the claims of the tokens that this request has revoked.
    :returns: the same response.
    """
    if config.jwt_in_cookies:
        if _is_unusable(request.cookies.get(config.access_cookie_name), revoked):
            unset_access_cookies(response)
        if _is_unusable(request.cookies.get(config.refresh_cookie_name), revoked):
            unset_refresh_cookies(response)
    return response


def is_usable(claims: Claims) -> bool:
    """Check whether a verified token has neither expired nor been revoked.

    :param claims: the claims of the token.
    :returns: ``False`` if every route rejects it.
    :raises StoreUnavailableError: if the store can't be reached.
    """
    if "exp" in claims and not tokens.expired_within(timedelta(0), claims):
        return False
    return not get_service().is_revoked(claims)


def _is_unusable(token: str | None, revoked: t.Sequence[Claims | None]) -> bool:
    if not token:
        return False
    try:
        claims = tokens.decode(token)
        return claims in revoked or not is_usable(claims)
    except (InvalidTokenError, StoreUnavailableError):
        return False
