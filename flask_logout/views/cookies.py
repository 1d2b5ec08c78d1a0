"""The token cookies of a request: which of them a response may unset."""

from __future__ import annotations

import typing as t
from datetime import timedelta

from flask import request
from flask import Response
from flask_jwt_extended import unset_access_cookies
from flask_jwt_extended import unset_refresh_cookies

from .. import tokens
from ..claims import Claims
from ..exceptions import InvalidTokenError
from ..exceptions import StoreUnavailableError
from ..jwt_extended import config
from ..service import get_service


def read_refresh_cookie() -> str | None:
    """Read the refresh token of the request from its cookie.

    :returns: the token, or ``None`` if the app uses no cookies or none came.
    """
    if not config.jwt_in_cookies:
        return None
    return request.cookies.get(config.refresh_cookie_name) or None


def unset_useless(
    response: Response, revoked: t.Sequence[Claims | None] = ()
) -> Response:
    """Unset the cookies that came with the request and whose token is of no use.

    A token that is still valid keeps its cookie, whoever sent the request, because the
    user could not log out with it any more.

    :param response: the response.
    :param revoked: the claims of tokens that this request has revoked.
    :returns: the response.
    """
    if config.jwt_in_cookies:
        if _is_useless(request.cookies.get(config.access_cookie_name), revoked):
            unset_access_cookies(response)
        if _is_useless(request.cookies.get(config.refresh_cookie_name), revoked):
            unset_refresh_cookies(response)
    return response


def is_usable(claims: Claims) -> bool:
    """Tell whether a verified token has neither expired nor been revoked.

    :param claims: the claims of the token.
    :returns: ``False`` if every route rejects it.
    :raises StoreUnavailableError: the store did not answer.
    """
    if "exp" in claims and not tokens.expired_within(timedelta(0), claims):
        return False
    return not get_service().is_revoked(claims)


def _is_useless(token: str | None, revoked: t.Sequence[Claims | None]) -> bool:
    if not token:
        return False
    try:
        claims = tokens.decode(token)
        return claims in revoked or not is_usable(claims)
    except (InvalidTokenError, StoreUnavailableError):
        return False
