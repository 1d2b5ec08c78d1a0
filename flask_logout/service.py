"""Logging out: both tokens are verified, upstreams are called, then both are revoked."""

from __future__ import annotations

import logging

from flask import current_app

from . import audit
from . import jwt_extended
from . import tokens
from .claims import Claims
from .claims import subject_of
from .claims import text
from .errors import ExternalAPIError
from .errors import InvalidRequestError
from .errors import InvalidTokenError
from .errors import StoreUnavailableError
from .schemas import error_item
from .schemas import ErrorCode
from .schemas import ErrorItem
from .schemas import parse_request
from .state import LogoutState
from .state import LogoutTokens
from .state import Upstream

logger = logging.getLogger("flask_logout")


def check_access(claims: Claims) -> None:
    """Check that claims are those of a decoded access token.

    :param claims: what the app passed.
    :raises ValueError: they are empty or those of a refresh token.
    """
    if not claims or claims.get("type") == "refresh":
        raise ValueError(
            "access_claims has to be the claims of an access token. Call log_out() with"
            " get_jwt() in a view that has @jwt_required()."
        )


def verify_pair(state: LogoutState, access: Claims, body: object) -> LogoutTokens:
    """Verify the refresh token that somebody wants to log out with.

    :param state: the state of the app.
    :param access: the claims of the access token, which has been verified.
    :param body: a dict that has the ``refresh_token``; if it has none, and the app does
        not require one, the access token is logged out alone.
    :returns: both tokens.
    :raises InvalidRequestError: the refresh token is missing or not acceptable.
    """
    settings = state.settings
    if body == {} and not settings.require_refresh_token:
        return LogoutTokens(access, None, None)
    parsed = parse_request(body, max_token_length=settings.max_token_length)
    if isinstance(parsed, ErrorItem):
        raise InvalidRequestError([parsed])
    token = parsed.refresh_token
    return LogoutTokens(access, _verify_refresh(token, access), token)


def log_out(state: LogoutState, pair: LogoutTokens) -> None:
    """Call the upstreams, then revoke the tokens by one statement.

    :param state: the state of the app.
    :param pair: the verified tokens.
    :raises ExternalAPIError: an upstream failed; nothing is revoked.
    :raises StoreUnavailableError: the store did not answer.
    """
    called = 0
    try:
        for upstream in state.upstreams:
            _call(upstream, pair)
            called += 1
        state.log_out(pair)
    except (ExternalAPIError, StoreUnavailableError):
        if called:
            audit.log_logout_incomplete(_owner_of(pair.access)[1], called)
        raise
    jwt_extended.forget_token()


def _verify_refresh(refresh_token: str, access: Claims) -> Claims:
    def refuse(code: ErrorCode) -> InvalidRequestError:
        return InvalidRequestError([error_item("refresh_token", code, refresh_token)])

    try:
        claims = tokens.decode(refresh_token)
    except InvalidTokenError as e:
        raise refuse("invalid") from e
    if claims["type"] != "refresh":
        raise refuse("wrong_token_type")
    if _owner_of(claims) != _owner_of(access):
        raise refuse("wrong_subject")
    return claims


def _owner_of(claims: Claims) -> tuple[str | None, str | None]:
    return text(claims.get("iss")), subject_of(claims, tokens.identity_claim())


def _call(upstream: Upstream, pair: LogoutTokens) -> None:
    try:
        current_app.ensure_sync(upstream)(pair)
    except ExternalAPIError:
        raise
    except Exception as e:  # whatever the app's upstream raises, it has failed
        logger.exception("an upstream failed, nothing was revoked")
        raise ExternalAPIError() from e
