"""The endpoint with which an OAuth client revokes a token, ``POST /auth/revoke``."""

from __future__ import annotations

from flask import current_app
from flask import Response

from .. import tokens
from ..blocklist import check_loader
from ..service import get_service
from .oauth import authenticate_client
from .oauth import make_response
from .oauth import read_form
from .oauth import read_token
from .oauth import respond


@respond
def revoke() -> Response:
    """Revoke a token, and its session if it is a refresh token (RFC 7009).

    :returns: 200 with an empty body, also if the token is invalid.
    """
    service = get_service()
    # Don't acknowledge a revocation if no route would reject the token.
    check_loader(current_app)
    form = read_form()
    client_id = authenticate_client(form)
    claims = tokens.read_valid(
        read_token(form, "token"), service.settings.max_token_length
    )
    if claims is not None:
        service.make.notice(claims)
        is_refresh = claims["type"] == "refresh"
        make = service.make.of_logins if is_refresh else service.make.of_token
        service.revoke_in_request(
            make(claims), reason="token_revocation", actor=client_id
        )
    return make_response()
