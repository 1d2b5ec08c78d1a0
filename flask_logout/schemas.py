"""The documented JSON: the request and every answer, as pydantic models."""

from __future__ import annotations

import json
import typing as t

from pydantic import BaseModel
from pydantic import ConfigDict
from pydantic import Field
from pydantic import field_validator
from pydantic import JsonValue
from pydantic import ValidationError
from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError

ErrorCode = t.Literal[
    "invalid_json",
    "required",
    "string_expected",
    "too_long",
    "invalid",
    "wrong_token_type",
    "wrong_subject",
]

DEFAULT_MAX_TOKEN_LENGTH = 8192
"""Default of ``LOGOUT_MAX_TOKEN_LENGTH``, in characters."""

EXAMPLE_TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl"
"""A token of the documentation, which nobody takes."""

SHOWN_STRING = 12
"""How much of a rejected string an answer repeats, in characters."""

SHOWN_JSON = 64
"""How much of any other rejected value an answer repeats, in characters."""


class _Schema(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class _Answer(_Schema):
    # How the JSON Schema of an answer is written: a field is there though it has a
    # default, and there are no others.
    model_config = ConfigDict(
        json_schema_serialization_defaults_required=True,
        json_schema_extra={"additionalProperties": False},
    )


class LogoutRequest(_Schema):
    """What the caller sends to log out."""

    refresh_token: str = Field(
        min_length=1,
        max_length=DEFAULT_MAX_TOKEN_LENGTH,
        pattern=r"\S",
        examples=[EXAMPLE_TOKEN],
        repr=False,
    )
    """The refresh token that belongs to the access token of the request."""

    @field_validator("refresh_token", mode="wrap")
    @classmethod
    def _check(cls, value: object, _: t.Any, info: ValidationInfo) -> str:
        if value is None or (isinstance(value, str) and not value.strip()):
            raise PydanticCustomError("required", "required")
        if not isinstance(value, str):
            raise PydanticCustomError("string_expected", "string_expected")
        if len(value) > t.cast(int, info.context):
            raise PydanticCustomError("too_long", "too_long")
        return value


class ErrorItem(_Answer):
    """One thing that is wrong with a request."""

    key: str
    """The field, or ``body`` for the request as a whole."""

    message: str
    """The error code, for programs."""

    value: str
    """The value that failed, cut short so that it holds no usable token."""


class EmptyData(_Answer):
    """No data."""

    model_config = ConfigDict(extra="forbid")


class ValidationErrorData(_Answer):
    """Why the request was refused."""

    type: t.Literal["validation_error"] = "validation_error"
    """The kind of failure."""

    errors: list[ErrorItem] = Field(min_length=1)
    """What is wrong, one item per field."""


class ExternalAPIErrorData(_Answer):
    """Why a system that must also forget the tokens did not."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": False,
            "required": ["type", "errors"],
        }
    )

    type: t.Literal["external_api_error"] = "external_api_error"
    """The kind of failure."""

    errors: list[ErrorItem]
    """What is wrong, one item per field; often empty."""

    details: JsonValue = None
    """What that system said, any JSON; left out where there is nothing to say."""


class Envelope(_Answer):
    """The shape of every answer."""

    code: int
    """The HTTP status."""

    message: str
    """What happened, in a few words."""

    data: BaseModel = EmptyData()
    """What else there is to say."""

    def to_json(self) -> str:
        """Write the documented JSON, whatever JSON provider the app has.

        :returns: compact JSON; ``details`` only where there are any.
        """
        return self.model_dump_json(exclude_none=True)


class LoggedOut(Envelope):
    """Both tokens are revoked."""

    code: t.Literal[200] = 200
    message: t.Literal["logout successful"] = "logout successful"
    data: EmptyData = EmptyData()


class ValidationFailed(Envelope):
    """The body is wrong; nothing was revoked."""

    code: t.Literal[400] = 400
    message: t.Literal["validation failed"] = "validation failed"
    data: ValidationErrorData


class ExternalAPIFailed(Envelope):
    """A system that must also forget the tokens failed; nothing was revoked."""

    code: t.Literal[400] = 400
    message: t.Literal["external api error"] = "external api error"
    data: ExternalAPIErrorData


class InvalidToken(Envelope):
    """The access token does not let its bearer in; nothing was revoked."""

    code: t.Literal[401] = 401
    message: t.Literal["invalid token"] = "invalid token"
    data: EmptyData = EmptyData()


class ContentTooLarge(Envelope):
    """The body is larger than the app accepts; nothing was revoked."""

    code: t.Literal[413] = 413
    message: t.Literal["content too large"] = "content too large"
    data: EmptyData = EmptyData()


class ServiceUnavailable(Envelope):
    """The store did not answer; retry after a while."""

    code: t.Literal[503] = 503
    message: t.Literal["service unavailable"] = "service unavailable"
    data: EmptyData = EmptyData()


def parse_request(body: object, *, max_token_length: int) -> LogoutRequest | ErrorItem:
    """Check the form of a request, not yet the token in it.

    :param body: the decoded JSON, or ``None`` where there was none.
    :param max_token_length: the longest token that is taken, in characters.
    :returns: the request, or what is wrong with it.
    """
    if not isinstance(body, dict):
        return error_item("body", "invalid_json", "" if body is None else body)
    try:
        return LogoutRequest.model_validate(body, context=max_token_length)
    except ValidationError as e:
        # Without the input: pydantic would repeat the rejected token.
        kind = e.errors(include_input=False, include_url=False, include_context=False)
        code = "required" if kind[0]["type"] == "missing" else kind[0]["type"]
        value = body.get("refresh_token", "")
        return error_item("refresh_token", t.cast(ErrorCode, code), value)


def error_item(key: str, message: ErrorCode, value: object) -> ErrorItem:
    """Describe one error of a request.

    :param key: the field, or ``body``.
    :param message: the error code.
    :param value: the value that failed; it is cut so that it holds no usable token.
    :returns: the item of ``data.errors``.
    """
    return ErrorItem(key=key, message=message, value=_cut(value))


def _cut(value: object) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    size = SHOWN_STRING if isinstance(value, str) else SHOWN_JSON
    kept = shown if len(shown) <= size else shown[:size] + "…"
    # Half of a surrogate pair is legal in JSON, yet has no UTF-8.
    return kept.encode("utf-8", "replace").decode("utf-8")
