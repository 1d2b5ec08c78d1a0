"""The pair of tokens that a logout revokes, and its verification."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field

from .. import tokens
from ..config import Settings
from ..domain.claims import Claims
from ..domain.claims import subject_of
from ..domain.claims import text
from ..exceptions import InvalidRequestError
from ..exceptions import InvalidTokenError
from ..request_validation import error_item
from ..request_validation import parse_request
from ..schemas import ErrorCode
from ..schemas import ErrorItem


@dataclass(frozen=True)
class LogoutTokens:
    """The verified tokens of a logout, which an upstream receives."""

    access: Claims
    """The claims of the access token."""

    refresh: Claims | None
    """The claims of the refresh token, which may have expired. ``None`` if the user
    logs out everywhere, or if the client sent no refresh token and
    :confval:`LOGOUT_REQUIRE_REFRESH_TOKEN` is ``False``."""

    refresh_token: str | None = field(repr=False)
    """The encoded refresh token, for upstreams that need to send it."""


def check_access(claims: Claims) -> None:
    """Check that the claims passed by the app are those of an access token.

    :param claims: the claims to check.
    :raises ValueError: if they are empty or those of a refresh token.
    """
    if not claims or claims.get("type") == "refresh":
        raise ValueError(
            "Invalid access_claims. Expected the claims of an access token, from get_jwt()"
            " in a view with @jwt_required()."
        )


def verify_pair(settings: Settings, access: Claims, body: object) -> LogoutTokens:
    """Verify the refresh token of a logout request.

    :param settings: the settings of the app.
    :param access: the claims of the access token, which is verified already.
    :param body: the decoded JSON body. An empty dict logs out the access token alone, if
        the app doesn't require a refresh token.
    :returns: the verified tokens.
    :raises InvalidRequestError: if the refresh token is missing or invalid.
    """
    if body == {} and not settings.require_refresh_token:
        return LogoutTokens(access, None, None)
    parsed = parse_request(body, max_token_length=settings.max_token_length)
    if isinstance(parsed, ErrorItem):
        raise InvalidRequestError([parsed])
    token = parsed.refresh_token
    return LogoutTokens(access, _verify_refresh(token, access), token)


def _verify_refresh(refresh_token: str, access: Claims) -> Claims:
    def make_error(code: ErrorCode) -> InvalidRequestError:
        return InvalidRequestError([error_item("refresh_token", code, refresh_token)])

    try:
        claims = tokens.decode(refresh_token)
    except InvalidTokenError as e:
        raise make_error("invalid") from e
    if claims["type"] != "refresh":
        raise make_error("wrong_token_type")
    if owner_of(claims) != owner_of(access):
        raise make_error("wrong_subject")
    return claims


def owner_of(claims: Claims) -> tuple[str | None, str | None]:
    """Return the issuer and the subject of a token."""
    return text(claims.get("iss")), subject_of(claims, tokens.identity_claim())
