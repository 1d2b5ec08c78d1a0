"""Adapts Flask-JWT-Extended. Only this module uses its undocumented names.

tests/test_private_names.py fails with the name if a new version renames one of them.
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
from flask_jwt_extended.internal_utils import has_user_lookup
from flask_jwt_extended.internal_utils import verify_token_not_blocklisted
from flask_jwt_extended.internal_utils import verify_token_type
from flask_jwt_extended.view_decorators import _decode_jwt_from_cookies
from flask_jwt_extended.view_decorators import _decode_jwt_from_headers
from flask_jwt_extended.view_decorators import _decode_jwt_from_json
from flask_jwt_extended.view_decorators import _decode_jwt_from_query_string
from flask_jwt_extended.view_decorators import _load_user
from flask_jwt_extended.view_decorators import _verify_token_is_fresh

from .domain.claims import Claims

# Each returns the encoded token of the current request and its CSRF token.
_Reader = t.Callable[[], tuple[str, t.Optional[str]]]
_READERS: dict[str, _Reader] = {
    "headers": _decode_jwt_from_headers,
    "cookies": partial(_decode_jwt_from_cookies, refresh=False),
    "query_string": _decode_jwt_from_query_string,
    "json": partial(_decode_jwt_from_json, refresh=False),
}
_REFRESH_READERS: dict[str, _Reader] = {
    **_READERS,
    "cookies": partial(_decode_jwt_from_cookies, refresh=True),
    "json": partial(_decode_jwt_from_json, refresh=True),
}

LOCATIONS = _READERS.keys()
"""The valid values of ``JWT_TOKEN_LOCATION``."""

Loader = t.Callable[[dict[t.Any, t.Any], dict[t.Any, t.Any]], object]
"""A ``token_in_blocklist_loader``, called with the header and the claims."""


class Presented(t.NamedTuple):
    """The token of a request, before verification."""

    token: str
    """The encoded token. A token in the body may be any JSON value."""

    csrf: str | None
    """The CSRF token, which the token in a cookie must match."""

    location: str
    """Where the token was found, one of :data:`LOCATIONS`."""


def find_access_token(read_json: t.Callable[[], object]) -> Presented:
    """Find the access token of the current request, as ``jwt_required()`` does.

    :param read_json: returns the decoded JSON body, or ``None``.
    :returns: the token from the first location that has one.
    :raises NoAuthorizationError: if there is none.
    :raises CSRFError: if the token is in a cookie and the CSRF token is missing or
        malformed.
    """  # noqa: DOC502  the readers raise them
    return _find_token(_READERS, read_json)


def find_refresh_token(read_json: t.Callable[[], object]) -> Presented:
    """Find the refresh token of the current request, as ``jwt_required()`` does.

    :param read_json: returns the decoded JSON body, or ``None``.
    :returns: the token from the first location that has one.
    :raises NoAuthorizationError: if there is none.
    :raises CSRFError: if the token is in a cookie and the CSRF token is missing or
        malformed.
    """  # noqa: DOC502  the readers raise them
    return _find_token(_REFRESH_READERS, read_json)


def _find_token(
    readers: t.Mapping[str, _Reader], read_json: t.Callable[[], object]
) -> Presented:
    for location in config.token_location:
        if location == "json" and not isinstance(read_json(), dict):
            continue
        try:
            token, csrf = readers[location]()
        except NoAuthorizationError:
            continue
        # hmac.compare_digest() raises TypeError for strings that aren't ASCII.
        if csrf is not None and not csrf.isascii():
            raise CSRFError("CSRF double submit tokens do not match")
        return Presented(token, csrf, location)
    raise NoAuthorizationError("Missing JWT")


def call_loaders(header: dict[str, t.Any], claims: Claims) -> None:
    """Call the blocklist loader and the verification loader for a decoded token.

    :param header: the header of the token.
    :param claims: the claims of the token.
    :raises JWTExtendedException: if one of them rejects the token.
    """
    verify_token_not_blocklisted(header, dict(claims))
    custom_verification_for_token(header, dict(claims))


def accept_refresh_token(
    header: dict[str, t.Any], claims: dict[str, t.Any], location: str
) -> None:
    """Make a decoded token that of the request, as ``jwt_required(refresh=True)`` does.

    It calls the verification loader and the user lookup loader, but no blocklist loader.

    :param header: the header of the token.
    :param claims: the claims of the token.
    :param location: where the token was found, one of :data:`LOCATIONS`.
    :raises JWTExtendedException: if it isn't a refresh token, or a loader rejects it.
    """
    verify_token_type(claims, refresh=True)
    custom_verification_for_token(header, claims)
    g._jwt_extended_jwt_user = _load_user(header, claims)
    g._jwt_extended_jwt_header = header
    g._jwt_extended_jwt = claims
    g._jwt_extended_jwt_location = location


def verify_fresh(claims: Claims) -> None:
    """Verify that a token is fresh, as ``jwt_required(fresh=True)`` does.

    :param claims: the claims of a verified token.
    :raises FreshTokenRequired: if it isn't fresh.
    """
    _verify_token_is_fresh({}, dict(claims))


def clear_token() -> None:
    """Make ``get_jwt()`` and ``current_user`` return nothing until the request ends.

    They return the same as in a request without a token, instead of raising. An exception
    in an ``after_request`` function would replace the response to a successful logout.
    """
    if "_jwt_extended_jwt" in g:
        g._jwt_extended_jwt = {}
        g._jwt_extended_jwt_header = {}
        g._jwt_extended_jwt_user = {"loaded_user": None}
        g._jwt_extended_jwt_location = None


def blocklist_loader_of(app: Flask) -> Loader:
    """Return the blocklist loader that an app uses now."""
    jwt: JWTManager = app.extensions["flask-jwt-extended"]
    return jwt._token_in_blocklist_callback


def is_default_loader(loader: Loader) -> bool:
    """Check whether a blocklist loader is the default of Flask-JWT-Extended."""
    return loader is default_blocklist_callback


def has_own_key_loader() -> bool:
    """Check whether the current app has registered a ``decode_key_loader``."""
    loader = get_jwt_manager()._decode_key_callback
    return loader is not default_decode_key_callback


def load_identity(identity: t.Any) -> t.Any:
    """Return what the app's ``user_identity_loader`` returns for an identity."""
    return get_jwt_manager()._user_identity_callback(identity)


def loads_users() -> bool:
    """Check whether the current app has registered a ``user_lookup_loader``."""
    return has_user_lookup()
