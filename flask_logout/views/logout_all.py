"""The endpoint that logs out everywhere, ``POST /auth/logout/all``."""

from __future__ import annotations

from flask import current_app
from flask import request
from flask import Response

from ..blocklist import check_loader
from ..exceptions import InvalidRequestError
from ..request_validation import parse_logout_all
from ..schemas import ErrorItem
from ..schemas import LoggedOut
from ..service import get_service
from . import cookies
from .access import limit_body
from .access import read_json
from .access import verify_access
from .errors import make_json_response


def logout_all() -> Response:
    """Revoke every login of the caller, or every other one (ASVS 5.0 7.4.3).

    :returns: the documented 200 response.
    """
    service = get_service()
    # Don't acknowledge a logout if no route would reject the tokens.
    check_loader(current_app)
    limit_body(service.settings.max_token_length)
    access = verify_access(fresh=service.settings.require_fresh)
    parsed = parse_logout_all(_read_body())
    if isinstance(parsed, ErrorItem):
        raise InvalidRequestError([parsed])
    service.log_out_everywhere(access, keep_current=parsed.keep_current)
    revoked = () if parsed.keep_current else (access,)
    return cookies.unset_unusable(make_json_response(LoggedOut()), revoked)


def _read_body() -> object:
    """Return the decoded JSON body, or an empty object if the request has no body."""
    # Flask-JWT-Extended may have parsed a form already, to look for a CSRF token.
    has_body = request.get_data() or request.form or request.files
    return read_json() if has_body else {}
