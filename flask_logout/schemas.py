"""Pydantic models of the request and the responses, as the documentation shows them."""

from __future__ import annotations

import typing as t

from pydantic import BaseModel
from pydantic import ConfigDict
from pydantic import Field
from pydantic import field_validator
from pydantic import JsonValue
from pydantic import StrictBool
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
    "boolean_expected",
    "session_required",
    "integer_expected",
    "out_of_range",
]

DEFAULT_MAX_TOKEN_LENGTH = 8192
"""Default of ``LOGOUT_MAX_TOKEN_LENGTH``, in characters."""

EXAMPLE_TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl"
"""An example for the documentation, which no app accepts."""


class _Schema(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class Payload(_Schema):
    """The base class of everything in a response."""

    # In the JSON Schema of a response, fields with a default are required too, and other
    # fields are not allowed.
    model_config = ConfigDict(
        json_schema_serialization_defaults_required=True,
        json_schema_extra={"additionalProperties": False},
    )


class LogoutRequest(_Schema):
    """The body of a logout request."""

    refresh_token: str = Field(
        min_length=1,
        max_length=DEFAULT_MAX_TOKEN_LENGTH,
        pattern=r"\S",
        examples=[EXAMPLE_TOKEN],
        repr=False,
    )
    """The refresh token of the same user as the access token."""

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


class LogoutAllRequest(_Schema):
    """The body of a request to log out everywhere."""

    keep_current: StrictBool = False
    """Whether the login of the access token stays valid."""


class ErrorItem(Payload):
    """An error in a request."""

    key: str
    """The name of the field, or ``body`` for the body as a whole."""

    message: str
    """The error code, such as ``required``."""

    value: str
    """The rejected value, shortened so that it never contains a usable token."""


class EmptyData(Payload):
    """An empty object."""

    model_config = ConfigDict(extra="forbid")


class ValidationErrorData(Payload):
    """The errors of an invalid request."""

    type: t.Literal["validation_error"] = "validation_error"
    """The type of the error."""

    errors: list[ErrorItem] = Field(min_length=1)
    """The errors, one per field."""


class ExternalAPIErrorData(Payload):
    """The error of an upstream."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": False,
            "required": ["type", "errors"],
        }
    )

    type: t.Literal["external_api_error"] = "external_api_error"
    """The type of the error."""

    errors: list[ErrorItem]
    """The errors, one per field. Often empty."""

    details: JsonValue = None
    """Any JSON value from the upstream. Omitted if there is none."""


class Envelope(Payload):
    """The body of every response."""

    code: int
    """The HTTP status code."""

    message: str
    """What happened, in a few words."""

    data: BaseModel = EmptyData()
    """Details, or an empty object."""

    def to_json(self) -> str:
        """Serialize to the documented JSON, without using the app's JSON provider.

        :returns: compact JSON, without ``details`` if there are none.
        """
        return self.model_dump_json(exclude_none=True)


class LoggedOut(Envelope):
    """The tokens are revoked."""

    code: t.Literal[200] = 200
    message: t.Literal["logout successful"] = "logout successful"
    data: EmptyData = EmptyData()


class ValidationFailed(Envelope):
    """The body is invalid. Nothing was revoked."""

    code: t.Literal[400] = 400
    message: t.Literal["validation failed"] = "validation failed"
    data: ValidationErrorData


class ExternalAPIFailed(Envelope):
    """An upstream failed. Nothing was revoked."""

    code: t.Literal[400] = 400
    message: t.Literal["external api error"] = "external api error"
    data: ExternalAPIErrorData


class InvalidToken(Envelope):
    """The access token is missing or invalid. Nothing was revoked."""

    code: t.Literal[401] = 401
    message: t.Literal["invalid token"] = "invalid token"
    data: EmptyData = EmptyData()


class ContentTooLarge(Envelope):
    """The body is larger than the app accepts. Nothing was revoked."""

    code: t.Literal[413] = 413
    message: t.Literal["content too large"] = "content too large"
    data: EmptyData = EmptyData()


class ServiceUnavailable(Envelope):
    """The store can't be reached. Retry later."""

    code: t.Literal[503] = 503
    message: t.Literal["service unavailable"] = "service unavailable"
    data: EmptyData = EmptyData()
