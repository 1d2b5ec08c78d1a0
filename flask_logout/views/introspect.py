"""The endpoint that tells other services about a token, ``POST /auth/introspect``."""

from __future__ import annotations

import typing as t

from flask import current_app
from flask import Response
from flask_jwt_extended import get_unverified_jwt_headers
from flask_jwt_extended.exceptions import JWTExtendedException

from .. import jwt_extended
from .. import tokens
from ..blocklist import check_loader
from ..domain.claims import Claims
from ..domain.claims import subject_of
from ..service import get_service
from .oauth import authenticate_client
from .oauth import make_response
from .oauth import read_form
from .oauth import read_token
from .oauth import respond

_INSTANTS = ("exp", "iat", "nbf")
_OTHERS = ("aud", "client_id", "iss", "jti", "scope", "sid")


@respond
def introspect() -> Response:
    """Tell whether a token is active: valid, not expired, and not revoked (RFC 7662).

    :returns: 200 with ``active``, and the registered claims of an active token.
    """
    # If our loader is missing, a revoked token would be active.
    check_loader(current_app)
    form = read_form()
    authenticate_client(form, is_required=True)
    encoded = read_token(form, "token")
    claims = tokens.read_valid(encoded, get_service().settings.max_token_length)
    # Many services only read "active", so they would accept a refresh token like an
    # access token. So a client must say that it wants to know about refresh tokens.
    is_wanted = form.get("token_type_hint") == "refresh_token"
    if claims is None or claims["type"] == "refresh" and not is_wanted:
        return make_response({"active": False})
    try:
        jwt_extended.call_loaders(get_unverified_jwt_headers(encoded), claims)
    except JWTExtendedException:
        return make_response({"active": False})
    return make_response(_describe(claims))


def _describe(claims: Claims) -> dict[str, t.Any]:
    found = {name: claims[name] for name in _OTHERS if name in claims}
    found |= {name: int(claims[name]) for name in _INSTANTS if name in claims}
    found["sub"] = subject_of(claims, tokens.identity_claim())
    if claims["type"] != "refresh":
        found["token_type"] = "Bearer"
    return {"active": True, **{k: v for k, v in found.items() if v is not None}}
