"""Validates the bodies of requests, and describes the errors in them."""

from __future__ import annotations

import json
import typing as t

from pydantic import ValidationError

from .schemas import ErrorCode
from .schemas import ErrorItem
from .schemas import LogoutAllRequest
from .schemas import LogoutRequest

MAX_STRING = 12
"""How many characters of a rejected string a response contains."""

MAX_JSON = 64
"""How many characters of any other rejected value's JSON a response contains."""


def parse_request(body: object, *, max_token_length: int) -> LogoutRequest | ErrorItem:
    """Validate the body of a request, but not the token in it.

    :param body: the decoded JSON, or ``None`` if there is none.
    :param max_token_length: the maximum length of the token, in characters.
    :returns: the request, or its error.
    """
    if not isinstance(body, dict):
        return _not_an_object(body)
    try:
        return LogoutRequest.model_validate(body, context=max_token_length)
    except ValidationError as e:
        # Without the input, which contains the rejected token.
        kind = e.errors(include_input=False, include_url=False, include_context=False)
        code = "required" if kind[0]["type"] == "missing" else kind[0]["type"]
        value = body.get("refresh_token", "")
        return error_item("refresh_token", t.cast(ErrorCode, code), value)


def parse_logout_all(body: object) -> LogoutAllRequest | ErrorItem:
    """Validate the body of a request to log out everywhere.

    :param body: the decoded JSON, ``None`` if it is invalid, or ``{}`` if the request has
        no body.
    :returns: the request, or its error.
    """
    if not isinstance(body, dict):
        return _not_an_object(body)
    try:
        return LogoutAllRequest.model_validate(body)
    except ValidationError:
        return error_item("keep_current", "boolean_expected", body["keep_current"])


def error_item(key: str, message: ErrorCode, value: object) -> ErrorItem:
    """Describe an error in a request.

    :param key: the name of the field, or ``body``.
    :param message: the error code.
    :param value: the rejected value, which is shortened for the response.
    :returns: an item of ``data.errors``.
    """
    return ErrorItem(key=key, message=message, value=_shorten(value))


def _not_an_object(body: object) -> ErrorItem:
    return error_item("body", "invalid_json", "" if body is None else body)


def _shorten(value: object) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    size = MAX_STRING if isinstance(value, str) else MAX_JSON
    kept = shown if len(shown) <= size else shown[:size] + "…"
    # JSON strings can contain lone surrogates, which UTF-8 can't encode.
    return kept.encode("utf-8", "replace").decode("utf-8")
