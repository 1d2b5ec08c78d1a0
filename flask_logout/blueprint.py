"""The HTTP endpoint: parse, check, revoke, answer."""

from __future__ import annotations

import logging
import typing as t
from datetime import timedelta
from functools import partial

from flask import Blueprint
from flask import current_app
from flask import Flask
from flask import request
from flask import Response
from flask_jwt_extended import unset_jwt_cookies
from flask_jwt_extended.config import config
from flask_jwt_extended.exceptions import CSRFError
from flask_jwt_extended.exceptions import NoAuthorizationError
from flask_jwt_extended.internal_utils import custom_verification_for_token
from flask_jwt_extended.internal_utils import verify_token_not_blocklisted
from flask_jwt_extended.internal_utils import verify_token_type
from flask_jwt_extended.view_decorators import _decode_jwt_from_request
from jwt import ExpiredSignatureError
from werkzeug.exceptions import BadRequest
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.exceptions import NotFound

from . import tokens
from .blocklist import check_slot
from .claims import Claims
from .claims import subject_of
from .claims import text
from .errors import answer
from .errors import answer_http_error
from .errors import answer_invalid_token
from .errors import describe
from .errors import ExternalAPIError
from .errors import InvalidRequestError
from .errors import InvalidTokenError
from .errors import register_on_blueprint
from .schemas import error_item
from .schemas import ErrorCode
from .schemas import ErrorItem
from .schemas import LoggedOut
from .schemas import parse_request
from .state import EXTENSION
from .state import LogoutState
from .state import LogoutTokens

logger = logging.getLogger("flask_logout")


def make_blueprint(url_prefix: str) -> Blueprint:
    """Make the blueprint that has ``POST /logout``.

    :param url_prefix: what stands before ``/logout``, ``LOGOUT_URL_PREFIX``.
    :returns: a blueprint named ``logout``.
    """
    blueprint = Blueprint("logout", __name__, url_prefix=url_prefix)
    blueprint.add_url_rule("/logout", view_func=logout, methods=["POST"])
    register_on_blueprint(blueprint)
    blueprint.register_error_handler(InvalidTokenError, _refuse)
    return blueprint


def answer_strays(app: Flask, url_prefix: str) -> None:
    """Answer a wrong method or path under the prefix in the envelope, too.

    :param app: the app, whose own handlers keep all other paths.
    :param url_prefix: ``LOGOUT_URL_PREFIX``.
    """
    for error in (NotFound, MethodNotAllowed):
        previous = app.error_handler_spec[None][error.code].get(error)
        handler = partial(_answer_stray, url_prefix or "/logout", previous)
        app.register_error_handler(error, handler)


def logout() -> Response:
    """Revoke the access token and the refresh token of the caller (RFC 7009 2).

    :returns: the documented answer to a logout that has happened.
    """
    state: LogoutState = current_app.extensions[EXTENSION]
    # What is acknowledged here must be refused everywhere.
    check_slot(current_app)
    access = _verify_access(state.settings.expired_access_grace)
    refresh_token = _read_refresh_token(state.settings.max_token_length)
    refresh = _verify_refresh(refresh_token, access)
    pair = LogoutTokens(access, refresh, refresh_token)
    _call_upstreams(state, pair)
    state.log_out(pair)
    return _unset_cookies(answer(LoggedOut()))


def _verify_access(grace: timedelta) -> Claims:
    """Verify the access token as every route does, save that no user is loaded."""
    try:
        return _decode_access(grace)
    except tokens.DECODE_ERRORS as e:
        raise InvalidTokenError(describe(e)) from e


def _decode_access(grace: timedelta) -> Claims:
    try:
        claims, _, _ = _decode_jwt_from_request(_locations(), fresh=False)
    except ExpiredSignatureError as e:
        header, claims = t.cast(t.Any, e).jwt_header, t.cast(t.Any, e).jwt_data
        if not tokens.expired_within(grace, claims):
            raise
        verify_token_type(claims, refresh=False)
        verify_token_not_blocklisted(header, claims)
        custom_verification_for_token(header, claims)
    return claims


def _locations() -> list[str]:
    """Where an access token may be: in the body only where that is an object."""
    locations = list(config.token_location)
    if "json" in locations and not isinstance(_read_json(), dict):
        locations.remove("json")
    if not locations:
        raise NoAuthorizationError("Missing JSON object")
    return locations


def _read_json() -> object:
    try:
        return request.get_json(silent=True)
    except (BadRequest, RecursionError):
        return None


def _read_refresh_token(max_length: int) -> str:
    body = _read_json()
    cookie = request.cookies.get(config.refresh_cookie_name)
    if cookie and config.jwt_in_cookies and _leaves_it_to_the_cookie(body):
        body = {"refresh_token": cookie}
    parsed = parse_request(body, max_token_length=max_length)
    if isinstance(parsed, ErrorItem):
        raise InvalidRequestError([parsed])
    return parsed.refresh_token


def _leaves_it_to_the_cookie(body: object) -> bool:
    """Whether there is no JSON that names, or fails to name, a refresh token."""
    if isinstance(body, dict):
        return "refresh_token" not in body
    return not (request.is_json and request.get_data())


def _verify_refresh(refresh_token: str, access: Claims) -> Claims:
    def refuse(code: ErrorCode) -> InvalidRequestError:
        return InvalidRequestError([error_item("refresh_token", code, refresh_token)])

    try:
        claims = tokens.decode(refresh_token)
    except InvalidTokenError as e:
        raise refuse("invalid") from e
    if claims["type"] != "refresh":
        raise refuse("wrong_token_type")
    if _owner_of(claims) != _owner_of(access):
        raise refuse("wrong_subject")
    return claims


def _owner_of(claims: Claims) -> tuple[str | None, str | None]:
    return text(claims.get("iss")), subject_of(claims, tokens.identity_claim())


def _call_upstreams(state: LogoutState, pair: LogoutTokens) -> None:
    for upstream in state.upstreams:
        try:
            current_app.ensure_sync(upstream)(pair)
        except ExternalAPIError:
            raise
        except Exception as e:  # whatever the app's upstream raises, it has failed
            logger.exception("an upstream failed, nothing was revoked")
            raise ExternalAPIError() from e


def _refuse(error: InvalidTokenError) -> Response:
    response = answer_invalid_token(error)
    # A foreign page must not be able to make the caller's browser forget its cookies.
    if isinstance(error.__cause__, CSRFError):
        return response
    return _unset_cookies(response)


def _unset_cookies(response: Response) -> Response:
    if config.jwt_in_cookies:
        unset_jwt_cookies(response)
    return response


def _answer_stray(
    path: str, previous: t.Any, error: NotFound | MethodNotAllowed
) -> t.Any:
    if request.path == path or request.path.startswith(f"{path}/"):
        return answer_http_error(error)
    if previous is None:
        general = current_app.error_handler_spec[None][None]
        found = (general.get(x) for x in type(error).__mro__)
        previous = next(filter(None, found), None)
    return error if previous is None else current_app.ensure_sync(previous)(error)
