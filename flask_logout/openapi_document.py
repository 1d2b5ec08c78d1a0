"""Generate the OpenAPI document of the logout endpoint from its schemas."""

from __future__ import annotations

import json
import typing as t
from copy import deepcopy
from importlib import metadata

from pydantic.json_schema import GenerateJsonSchema
from pydantic.json_schema import JsonSchemaMode
from pydantic.json_schema import models_json_schema
from pydantic_core.core_schema import WithDefaultSchema

from .exceptions import RETRY_AFTER
from .openapi_security import add_cookies
from .openapi_security import make_schemes
from .schemas import ContentTooLarge
from .schemas import DEFAULT_MAX_TOKEN_LENGTH
from .schemas import Envelope
from .schemas import error_item
from .schemas import ErrorCode
from .schemas import EXAMPLE_TOKEN
from .schemas import ExternalAPIErrorData
from .schemas import ExternalAPIFailed
from .schemas import InvalidToken
from .schemas import LoggedOut
from .schemas import LogoutRequest
from .schemas import ServiceUnavailable
from .schemas import ValidationErrorData
from .schemas import ValidationFailed

_Json = dict[str, t.Any]

_VERSIONS = {"3.0": "3.0.3", "3.1": "3.1.0"}

# The prefix of every component, so that none collides with a component of the app.
_PREFIX = "Logout"
_REFS = f"#/components/schemas/{_PREFIX}{{model}}"

# For each error code, a value that causes it and the summary of the example.
_CAUSES: dict[ErrorCode, tuple[object, str]] = {
    "invalid_json": ([1, 2], "No body, not a JSON object, or another content type"),
    "required": ("", "Missing, null, or an empty or blank string"),
    "string_expected": (42, "Not a string"),
    "too_long": (EXAMPLE_TOKEN, "Longer than the app accepts"),
    "invalid": (
        EXAMPLE_TOKEN,
        "Malformed, invalid signature, issuer or audience, or not valid yet",
    ),
    "wrong_token_type": (EXAMPLE_TOKEN, "A valid token of another type"),
    "wrong_subject": (
        EXAMPLE_TOKEN,
        "A valid refresh token with another subject or issuer than the access token",
    ),
}

_NO_STORE: _Json = {
    "Cache-Control": {
        "description": "Forbids caches to store the response.",
        "required": True,
        "schema": {"type": "string", "const": "no-store"},
    }
}
_HEADERS: dict[int, _Json] = {
    401: {
        "WWW-Authenticate": {
            "description": "`Bearer` if the request has no access token, otherwise"
            " `Bearer` with the reason (RFC 6750, section 3).",
            "required": True,
            "schema": {
                "type": "string",
                "pattern": '^Bearer( error="invalid_token", error_description="[^"]*")?$',
            },
        }
    },
    503: {
        "Retry-After": {
            "description": "How long to wait before a retry, in seconds.",
            "required": True,
            "schema": {"type": "integer", "minimum": 0, "examples": [RETRY_AFTER]},
        }
    },
}


class _JsonSchema(GenerateJsonSchema):
    """Omits titles and defaults, which would only repeat names and constants."""

    def field_title_should_be_set(self, schema: t.Any) -> bool:
        return False

    def default_schema(self, schema: WithDefaultSchema) -> _Json:
        return self.generate_inner(schema["schema"])


def openapi(
    *,
    version: t.Literal["3.0", "3.1"] = "3.1",
    url_prefix: str = "/auth",
    max_token_length: int = DEFAULT_MAX_TOKEN_LENGTH,
    require_refresh_token: bool = True,
    headers: bool = True,
    cookies: bool = False,
    access_cookie_name: str = "access_token_cookie",
    refresh_cookie_name: str = "refresh_token_cookie",
    csrf_header_name: str | None = "X-CSRF-TOKEN",
) -> dict[str, t.Any]:
    """Return an OpenAPI document that describes the logout endpoint.

    The names of its components start with ``Logout``, so that you can merge it into the
    document of your app. With ``cookies``, it doesn't require a body, because the
    refresh token may come in a cookie.

    :param version: the version of OpenAPI, ``"3.0"`` or ``"3.1"``.
    :param url_prefix: ``LOGOUT_URL_PREFIX`` of the app.
    :param max_token_length: ``LOGOUT_MAX_TOKEN_LENGTH`` of the app, in characters.
    :param require_refresh_token: ``LOGOUT_REQUIRE_REFRESH_TOKEN`` of the app.
    :param headers: whether ``JWT_TOKEN_LOCATION`` of the app contains ``"headers"``.
    :param cookies: whether ``JWT_TOKEN_LOCATION`` of the app contains ``"cookies"``.
    :param access_cookie_name: ``JWT_ACCESS_COOKIE_NAME`` of the app.
    :param refresh_cookie_name: ``JWT_REFRESH_COOKIE_NAME`` of the app.
    :param csrf_header_name: ``JWT_ACCESS_CSRF_HEADER_NAME`` of the app, or ``None`` if
        its ``JWT_COOKIE_CSRF_PROTECT`` is ``False``.
    :returns: a document with one path, which you can serialize as JSON.
    :raises ValueError: ``version`` is neither ``"3.0"`` nor ``"3.1"``, or ``headers`` and
        ``cookies`` are both ``False``.
    """
    if version not in _VERSIONS:
        raise ValueError(f"Invalid version: {version!r}. Expected '3.0' or '3.1'.")
    schemes = make_schemes(headers, cookies, access_cookie_name, csrf_header_name)
    needs_body = require_refresh_token and not cookies
    operation = _operation(needs_body)
    operation["security"] = [{name: [] for name in group} for group in schemes]
    if cookies:
        add_cookies(operation, refresh_cookie_name)
    document = {
        "openapi": _VERSIONS[version],
        "info": {"title": "Flask-Logout", "version": metadata.version("Flask-Logout")},
        "paths": {f"{url_prefix}/logout": {"post": operation}},
        "components": {
            "schemas": _schemas(max_token_length, needs_body),
            "securitySchemes": {k: v for group in schemes for k, v in group.items()},
        },
    }
    return _as_3_0(document) if version == "3.0" else document


def _operation(needs_body: bool) -> _Json:
    examples = {"logout": {"value": {"refresh_token": EXAMPLE_TOKEN}}}
    return {
        "operationId": "logout",
        "summary": "Revoke the access token and the refresh token of a login",
        "description": "Both tokens are validated first, then revoked in one statement."
        " With any status other than 200, Flask-Logout has revoked nothing, unless the"
        " store did not acknowledge a write (503). A valid refresh token that has expired"
        " or is already revoked is accepted. Unknown fields in the body are ignored.",
        "requestBody": {
            "description": "The refresh token of the same user as the access token.",
            "required": needs_body,
            "content": _content([LogoutRequest], examples),
        },
        "responses": _responses(),
    }


def _responses() -> _Json:
    by_code: dict[int, list[tuple[str, str, Envelope]]] = {}
    for name, summary, envelope in _answers():
        by_code.setdefault(envelope.code, []).append((name, summary, envelope))
    return {str(code): _response(code, found) for code, found in by_code.items()}


def _answers() -> t.Iterator[tuple[str, str, Envelope]]:
    """Yield an example of every response, with its name and a summary."""
    yield "logged_out", "Logged out", LoggedOut()
    for code, (value, summary) in _CAUSES.items():
        key = "body" if code == "invalid_json" else "refresh_token"
        data = ValidationErrorData(errors=[error_item(key, code, value)])
        yield code, summary, ValidationFailed(data=data)
    details = {"upstream": "identity provider", "status": 502}
    failure = ExternalAPIErrorData(errors=[], details=details)
    summary = "Another service that has to end the login failed"
    yield "external_api_error", summary, ExternalAPIFailed(data=failure)
    summary = "Missing, malformed, forged, expired, revoked, or a refresh token"
    yield "invalid_token", summary, InvalidToken()
    yield "content_too_large", "Larger than the app accepts", ContentTooLarge()
    yield "service_unavailable", "The store did not respond", ServiceUnavailable()


def _response(code: int, found: list[tuple[str, str, Envelope]]) -> _Json:
    models = list(dict.fromkeys(type(envelope) for _, _, envelope in found))
    examples = {
        name: {"summary": summary, "value": json.loads(envelope.to_json())}
        for name, summary, envelope in found
    }
    return {
        "description": " Or: ".join(str(model.__doc__) for model in models),
        "headers": deepcopy({**_NO_STORE, **_HEADERS.get(code, {})}),
        "content": _content(models, examples),
    }


def _content(models: t.Sequence[type], examples: _Json) -> _Json:
    refs = [{"$ref": _REFS.format(model=_suffix(model.__name__))} for model in models]
    schema = refs[0] if len(refs) == 1 else {"oneOf": refs}
    return {"application/json": {"schema": schema, "examples": examples}}


def _schemas(max_token_length: int, needs_body: bool) -> _Json:
    answers = list(dict.fromkeys(type(envelope) for _, _, envelope in _answers()))
    models: list[tuple[t.Any, JsonSchemaMode]] = [(LogoutRequest, "validation")]
    models += [(model, "serialization") for model in answers]
    _, made = models_json_schema(
        models, ref_template=_REFS, schema_generator=_JsonSchema
    )
    schemas: _Json = made["$defs"]
    request = schemas[LogoutRequest.__name__]
    request["properties"]["refresh_token"]["maxLength"] = max_token_length
    if not needs_body:
        del request["required"]
    for model in answers:
        for name, field in Envelope.model_fields.items():
            shown = schemas[model.__name__]["properties"][name]
            shown.setdefault("description", field.description)
    for schema in schemas.values():
        schema.pop("title", None)
    return {f"{_PREFIX}{_suffix(name)}": schema for name, schema in schemas.items()}


def _suffix(name: str) -> str:
    return name.removeprefix(_PREFIX)


def _as_3_0(node: t.Any) -> t.Any:
    """Replace keywords that OpenAPI 3.0 lacks. No property is named like one of them."""
    if isinstance(node, list):
        return [_as_3_0(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: _as_3_0(value) for key, value in node.items()}
    if "const" in found:
        found["enum"] = [found.pop("const")]
    if isinstance(found.get("examples"), list):
        found["example"] = found.pop("examples")[0]
    # OpenAPI 3.0 ignores everything beside a $ref.
    if "$ref" in found and len(found) > 1:
        found["allOf"] = [{"$ref": found.pop("$ref")}]
    return found
