"""The two tokens of a logout, and how they are verified."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field

from . import tokens
from .claims import Claims
from .claims import subject_of
from .claims import text
from .config import Settings
from .exceptions import InvalidRequestError
from .exceptions import InvalidTokenError
from .schemas import error_item
from .schemas import ErrorCode
from .schemas import ErrorItem
from .schemas import parse_request


@dataclass(frozen=True)
class LogoutTokens:
    """A pair of verified tokens that is about to be revoked."""

    access: Claims
    """The claims of the access token."""

    refresh: Claims | None
    """The claims of the refresh token, which may have expired. ``None`` if there is none,
    which :confval:`LOGOUT_REQUIRE_REFRESH_TOKEN` may allow."""

    refresh_token: str | None = field(repr=False)
    """The refresh token itself, for an upstream that has to see it."""


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


def verify_pair(settings: Settings, access: Claims, body: object) -> LogoutTokens:
    """Verify the refresh token that somebody wants to log out with.

    :param settings: the settings of the app.
    :param access: the claims of the access token, which has been verified.
    :param body: a dict that has the ``refresh_token``; if it has none, and the app does
        not require one, the access token is logged out alone.
    :returns: both tokens.
    :raises InvalidRequestError: the refresh token is missing or not acceptable.
    """
    if body == {} and not settings.require_refresh_token:
        return LogoutTokens(access, None, None)
    parsed = parse_request(body, max_token_length=settings.max_token_length)
    if isinstance(parsed, ErrorItem):
        raise InvalidRequestError([parsed])
    token = parsed.refresh_token
    return LogoutTokens(access, _verify_refresh(token, access), token)


def _verify_refresh(refresh_token: str, access: Claims) -> Claims:
    def refuse(code: ErrorCode) -> InvalidRequestError:
        return InvalidRequestError([error_item("refresh_token", code, refresh_token)])

    try:
        claims = tokens.decode(refresh_token)
    except InvalidTokenError as e:
        raise refuse("invalid") from e
    if claims["type"] != "refresh":
        raise refuse("wrong_token_type")
    if owner_of(claims) != owner_of(access):
        raise refuse("wrong_subject")
    return claims


def owner_of(claims: Claims) -> tuple[str | None, str | None]:
    """Return the issuer and the subject of a token."""
    return text(claims.get("iss")), subject_of(claims, tokens.identity_claim())
