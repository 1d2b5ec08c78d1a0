"""The endpoint that receives logouts of providers, ``POST /auth/backchannel-logout``."""

from __future__ import annotations

import typing as t
from functools import partial

from flask import current_app
from flask import Response

from ..backchannel import BackchannelService
from ..backchannel import LogoutTokenError
from ..blocklist import check_loader
from ..provider_keys import ProviderUnavailableError
from ..service import get_service
from .oauth import make_response
from .oauth import OAuthError
from .oauth import read_form
from .oauth import read_token
from .oauth import respond


# The standard wants 400 whenever the user has not been logged out.
@partial(respond, unavailable=400)
def backchannel_logout() -> Response:
    """Log out the user that a logout token names (OpenID Connect Back-Channel Logout 1.0).

    :returns: 200 with an empty body.
    """
    service = get_service()
    # Don't acknowledge a logout if no route would reject the tokens.
    check_loader(current_app)
    token = read_token(read_form(), "logout_token")
    try:
        t.cast(BackchannelService, service.backchannel).log_out(token)
    except LogoutTokenError as e:
        raise OAuthError("invalid_request", str(e)) from e
    except ProviderUnavailableError as e:
        raise OAuthError("temporarily_unavailable", str(e)) from e
    return make_response()
