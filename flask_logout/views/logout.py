"""The logout endpoint, ``POST /auth/logout``."""

from __future__ import annotations

from flask import current_app
from flask import request
from flask import Response

from ..blocklist import check_loader
from ..config import Settings
from ..exceptions import InvalidRequestError
from ..exceptions import InvalidTokenError
from ..schemas import LoggedOut
from ..service import get_service
from ..tokens.pair import LogoutTokens
from ..tokens.pair import verify_pair
from . import cookies
from .access import Access
from .access import EXPIRED
from .access import limit_body
from .access import read_json
from .access import verify_late_access
from .errors import make_json_response


def logout() -> Response:
    """Revoke the access token and the refresh token of the request (RFC 7009 2).

    :returns: the documented 200 response.
    """
    service = get_service()
    # Don't acknowledge a logout if no route would reject the tokens.
    check_loader(current_app)
    limit_body(service.settings.max_token_length)
    access = verify_late_access(service.settings.expired_access_grace)
    pair = _verify_pair(service.settings, access)
    service.log_out(pair)
    response = make_json_response(LoggedOut())
    return cookies.unset_unusable(response, (pair.access, pair.refresh))


def _verify_pair(settings: Settings, access: Access) -> LogoutTokens:
    try:
        body = _read_body(settings.require_refresh_token)
        pair = verify_pair(settings, access.claims, body)
    except InvalidRequestError as e:
        if access.needs_refresh:
            raise InvalidTokenError(EXPIRED) from e
        raise
    if access.needs_refresh and not (pair.refresh and cookies.is_usable(pair.refresh)):
        raise InvalidTokenError(EXPIRED)
    return pair


def _read_body(requires_token: bool) -> object:
    """Return the JSON body, or one made from the refresh cookie if it has no token."""
    body = read_json()
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
