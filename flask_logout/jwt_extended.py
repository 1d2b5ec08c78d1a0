"""The adapter to Flask-JWT-Extended: the only module that uses its undocumented names.

tests/test_jwt_extended.py fails with the name of what is missing if a new version of
Flask-JWT-Extended renames one of them.
"""

from __future__ import annotations

import typing as t
from functools import partial

from flask import Flask
from flask import g
from flask_jwt_extended import JWTManager
from flask_jwt_extended.config import config as config
from flask_jwt_extended.default_callbacks import default_blocklist_callback
from flask_jwt_extended.default_callbacks import default_decode_key_callback
from flask_jwt_extended.exceptions import CSRFError
from flask_jwt_extended.exceptions import NoAuthorizationError
from flask_jwt_extended.internal_utils import custom_verification_for_token
from flask_jwt_extended.internal_utils import get_jwt_manager
from flask_jwt_extended.internal_utils import verify_token_not_blocklisted
from flask_jwt_extended.view_decorators import _decode_jwt_from_cookies
from flask_jwt_extended.view_decorators import _decode_jwt_from_headers
from flask_jwt_extended.view_decorators import _decode_jwt_from_json
from flask_jwt_extended.view_decorators import _decode_jwt_from_query_string

from .claims import Claims

# Each finds the encoded token in the current request, and what CSRF protection sent.
_READERS: dict[str, t.Callable[[], tuple[str, str | None]]] = {
    "headers": _decode_jwt_from_headers,
    "cookies": partial(_decode_jwt_from_cookies, refresh=False),
    "query_string": _decode_jwt_from_query_string,
    "json": partial(_decode_jwt_from_json, refresh=False),
}

LOCATIONS = _READERS.keys()
"""Where a token may be, the values of ``JWT_TOKEN_LOCATION``."""

Loader = t.Callable[[dict[t.Any, t.Any], dict[t.Any, t.Any]], object]
"""A ``token_in_blocklist_loader``."""


class Presented(t.NamedTuple):
    """A token as it came with the request, not verified yet."""

    token: str
    """The encoded token; whatever JSON value it is, if it came in the body."""

    csrf: str | None
    """What the page sent to prove that it may use the cookies."""

    location: str
    """Where it was, one of ``JWT_TOKEN_LOCATION``."""


def find_access_token(read_json: t.Callable[[], object]) -> Presented:
    """Find the access token of the current request, as ``jwt_required()`` does.

    :param read_json: reads the body, which has a token only if it is an object.
    :returns: the token of the first location that has one.
    :raises NoAuthorizationError: there is none.
    :raises CSRFError: the token is in a cookie, and the proof is missing or unreadable.
    """
    for location in config.token_location:
        if location == "json" and not isinstance(read_json(), dict):
            continue
        try:
            token, csrf = _READERS[location]()
        except NoAuthorizationError:
            continue
        # compare_digest() raises TypeError for a string that is not ASCII.
        if csrf is not None and not csrf.isascii():
            raise CSRFError("CSRF double submit tokens do not match")
        return Presented(token, csrf, location)
    raise NoAuthorizationError("Missing JWT")


def ask_loaders(header: dict[str, t.Any], claims: Claims) -> None:
    """Ask the blocklist loader and the verification loader about a decoded token.

    :param header: the header of the token.
    :param claims: its claims.
    :raises JWTExtendedException: one of them rejects the token.
    """
    verify_token_not_blocklisted(header, dict(claims))
    custom_verification_for_token(header, dict(claims))


def forget_token() -> None:
    """Let ``get_jwt()`` and ``current_user`` find nothing in the rest of the request.

    They then return what they return in a request without a token, because a response
    handler that raises would replace the response to a logout that has happened.
    """
    if "_jwt_extended_jwt" in g:
        g._jwt_extended_jwt = {}
        g._jwt_extended_jwt_header = {}
        g._jwt_extended_jwt_user = {"loaded_user": None}
        g._jwt_extended_jwt_location = None


def blocklist_loader_of(app: Flask) -> Loader:
    """Return the blocklist loader that Flask-JWT-Extended calls for an app."""
    jwt: JWTManager = app.extensions["flask-jwt-extended"]
    return jwt._token_in_blocklist_callback


def is_default_loader(loader: Loader) -> bool:
    """Say whether a blocklist loader is the one of Flask-JWT-Extended itself."""
    return loader is default_blocklist_callback


def has_own_key_loader() -> bool:
    """Say whether the current app has a ``decode_key_loader`` of its own."""
    loader = get_jwt_manager()._decode_key_callback
    return loader is not default_decode_key_callback


def load_identity(identity: t.Any) -> t.Any:
    """Call the ``user_identity_loader`` of the current app."""
    return get_jwt_manager()._user_identity_callback(identity)
