"""The part of the pytest plugin that makes, sends and checks tokens.

The fixtures import this module when a test uses them. It doesn't need pytest.
"""

from __future__ import annotations

import typing as t
from contextlib import AbstractContextManager
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

import jwt
from flask import current_app
from flask import Flask
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token
from flask_jwt_extended import get_unverified_jwt_headers
from flask_jwt_extended import verify_jwt_in_request
from jwt.utils import base64url_decode
from jwt.utils import base64url_encode

from .. import tokens
from ..config.jwt_settings import read_leeway
from ..domain.claims import subject_of
from ..domain.rotation import Policy
from ..exceptions import InvalidTokenError
from ..extension import LogoutExtension
from ..jwt_extended import blocklist_loader_of
from ..jwt_extended import config
from ..service import EXTENSION
from ..service import LogoutService

if t.TYPE_CHECKING:
    from .types import AssertTokens

_NOT_REVOKED = "is not revoked. Check that the logout request returned 200."
_REVOKED = (
    "is revoked. Something has revoked this token, its login, all tokens of its user, or"
    " all tokens."
)


def open_context(app: Flask) -> AbstractContextManager[object]:
    """Reuse an open context of the app, because the app's loaders may need its g."""
    return nullcontext() if current_app and current_app == app else app.app_context()


def make_tokens(
    app: Flask, identity: t.Any, claims: dict[str, t.Any], **options: t.Any
) -> tuple[str, str]:
    """Make an access token and a refresh token as the app does."""
    options["additional_claims"] = claims
    with open_context(app):
        return (
            create_access_token(identity, **options),
            create_refresh_token(identity, **options),
        )


def make_expired_tokens(
    app: Flask, identity: t.Any, claims: dict[str, t.Any]
) -> tuple[str, str]:
    """Make tokens that expired before any leeway or grace period of the app."""
    grace = app.extensions["logout"].settings.expired_access_grace
    with open_context(app):
        age = read_leeway() + grace + timedelta(minutes=1)
    return make_tokens(app, identity, claims, expires_delta=-age)


def cut(token: str) -> str:
    """Remove the signature of a token."""
    return token.rpartition(".")[0]


def forge(token: str) -> str:
    """Invert the signature, so that its length is right for any algorithm."""
    signature = base64url_decode(token.rpartition(".")[2])
    forged = base64url_encode(bytes(octet ^ 0xFF for octet in signature))
    return f"{cut(token)}.{forged.decode()}"


def make_headers(app: Flask, token: str) -> dict[str, str]:
    """Make request headers with an access token."""
    with open_context(app):
        return _headers(token)


def make_request(app: Flask, access: str, refresh: str) -> tuple[str, dict[str, t.Any]]:
    """Make a logout request with the access token everywhere that the app looks for one.

    :param app: the app.
    :param access: the access token.
    :param refresh: the refresh token.
    :returns: the path, and the keyword arguments for ``post`` of a test client.
    """
    path = next(app.url_map.iter_rules("logout.logout")).rule
    body, query, headers = {"refresh_token": refresh}, {}, {}
    with open_context(app):
        if "headers" in config.token_location:
            headers.update(_headers(access))
        if "cookies" in config.token_location:
            headers["Cookie"] = f"{config.access_cookie_name}={access}"
            headers[config.access_csrf_header_name] = _csrf_of(access)
        if "json" in config.token_location:
            body[config.json_key] = access
        if "query_string" in config.token_location:
            value = f"{config.query_string_value_prefix}{access}"
            query[config.query_string_name] = value
    return path, {"json": body, "query_string": query, "headers": headers}


def exchange(app: Flask, headers: dict[str, str]) -> tuple[str, str]:
    """Exchange a refresh token as the app does, but without a grace period.

    :param app: the app.
    :param headers: the request headers with the refresh token.
    :returns: the new access and refresh token.
    """
    service: LogoutService = app.extensions[EXTENSION]
    policy = Policy(timedelta(0), False)
    store = service.store.open_sessions(policy)
    sessions = replace(t.cast(t.Any, service.sessions), store=store, policy=policy)
    app.extensions[EXTENSION] = replace(service, sessions=sessions)
    try:
        with app.test_request_context(method="POST", headers=headers):
            verify_jwt_in_request(refresh=True, locations=["headers"])
            return LogoutExtension().refresh_session()
    finally:
        app.extensions[EXTENSION] = service


def make_assertion(app: Flask, *, expected: bool) -> AssertTokens:
    """Make a function that fails if a token is not revoked, or if a token is revoked.

    :param app: the app.
    :param expected: ``True`` if all tokens must be revoked, ``False`` if none may be.
    :returns: the function.
    """
    complaint = _NOT_REVOKED if expected else _REVOKED

    def assert_tokens(token: str, *others: str) -> None:
        # Hide this frame, because pytest shows the arguments, which are tokens.
        __tracebackhide__ = True
        for each in (token, *others):
            is_revoked, name = _check(app, each)
            if is_revoked is not expected:
                raise AssertionError(f"{name} {complaint}")

    return assert_tokens


def _headers(token: str) -> dict[str, str]:
    return {config.header_name: f"{config.header_type} {token}".strip()}


def _csrf_of(token: str) -> str:
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        return ""
    return str(claims.get("csrf", ""))


def _check(app: Flask, token: str) -> tuple[bool, str]:
    """Check a token as protected routes do, and describe it without showing it."""
    __tracebackhide__ = True
    with open_context(app):
        try:
            claims = tokens.decode(token)
        except InvalidTokenError as e:
            raise AssertionError(f"Invalid token: {e}") from None
        loader = blocklist_loader_of(app)
        is_revoked = bool(loader(get_unverified_jwt_headers(token), claims))
        subject = subject_of(claims, tokens.identity_claim())
    return is_revoked, f"The {claims['type']} token of {subject!r}"
