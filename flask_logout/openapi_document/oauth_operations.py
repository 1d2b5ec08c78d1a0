"""Describe in OpenAPI the endpoints that follow standards of OAuth and OpenID Connect."""

from __future__ import annotations

import typing as t

from ..config.value_types import Endpoint
from .headers import headers_of

_Json = dict[str, t.Any]

_ERROR = "LogoutOAuthError"
_INTROSPECTION = "LogoutIntrospection"
_CLIENT = "LogoutClient"
_EXAMPLE_TOKEN = "eyJhbGciOi…"

_SCHEMAS: _Json = {
    _ERROR: {
        "type": "object",
        "description": "An error of OAuth (RFC 6749, section 5.2).",
        "properties": {
            "error": {
                "type": "string",
                "description": "A code.",
                "enum": [
                    "invalid_client",
                    "invalid_request",
                    "temporarily_unavailable",
                ],
            },
            "error_description": {
                "type": "string",
                "description": "The cause, for developers.",
            },
        },
        "required": ["error", "error_description"],
        "additionalProperties": False,
    },
    _INTROSPECTION: {
        "type": "object",
        "description": "Whether a token is active, and the registered claims of an active"
        " token (RFC 7662, section 2.2).",
        "properties": {
            "active": {
                "type": "boolean",
                "description": "Whether the token is valid, not expired, and not revoked.",
            }
        },
        "required": ["active"],
    },
}

_SCHEME: _Json = {
    "type": "http",
    "scheme": "basic",
    "description": "The id and the secret of a client. They can also be in the form, as"
    " `client_id` and `client_secret`.",
}

_HINT: _Json = {
    "type": "string",
    "description": "`access_token` or `refresh_token`.",
}


class _Operation(t.NamedTuple):
    path: str
    summary: str
    description: str
    form: _Json
    success: str
    statuses: tuple[int, ...]
    security: list[_Json]


_OPERATIONS: dict[Endpoint, _Operation] = {
    "revoke": _Operation(
        path="/revoke",
        summary="Revoke a token",
        description="Revokes an access token, or the session of a refresh token (RFC 7009)."
        " A client has to authenticate if the app knows clients.",
        form={
            "token": {"type": "string", "description": "The token to revoke."},
            "token_type_hint": _HINT,
        },
        success="Revoked, or the token was not valid.",
        statuses=(400, 401, 413, 503),
        security=[{_CLIENT: []}, {}],
    ),
    "introspect": _Operation(
        path="/introspect",
        summary="Tell whether a token is active",
        description="A refresh token is active only if `token_type_hint` says that it is"
        " one (RFC 7662).",
        form={
            "token": {"type": "string", "description": "The token."},
            "token_type_hint": _HINT,
        },
        success="What is known about the token.",
        statuses=(400, 401, 413, 503),
        security=[{_CLIENT: []}],
    ),
    "backchannel_logout": _Operation(
        path="/backchannel-logout",
        summary="Receive a logout of an identity provider",
        description="Ends the session or all logins of the user that the logout token names"
        " (OpenID Connect Back-Channel Logout 1.0).",
        form={
            "logout_token": {
                "type": "string",
                "description": "The logout token, which the provider has signed.",
            }
        },
        success="Logged out, or the user was not logged in.",
        statuses=(400, 413),
        security=[],
    ),
}

STANDARD: t.Final = frozenset(_OPERATIONS)
"""The endpoints that this module describes."""

_DESCRIPTIONS = {
    400: "The request is invalid.",
    401: "The client is unknown, or its secret is wrong.",
    413: "The body is too large.",
    503: "The store did not respond.",
}


def add_standard(
    document: _Json, url_prefix: str, endpoints: t.Collection[Endpoint]
) -> None:
    """Add the endpoints of this module to a document.

    :param document: the document, which this function changes.
    :param url_prefix: ``LOGOUT_URL_PREFIX`` of the app.
    :param endpoints: the endpoints of the app, of which others are ignored.
    """
    for name, operation in _OPERATIONS.items():
        if name in endpoints:
            path = f"{url_prefix}{operation.path}"
            document["paths"][path] = {"post": _describe(name, operation)}
            if operation.security:
                document["components"]["securitySchemes"][_CLIENT] = _SCHEME
    schemas = document["components"]["schemas"]
    schemas[_ERROR] = _SCHEMAS[_ERROR]
    if "introspect" in endpoints:
        schemas[_INTROSPECTION] = _SCHEMAS[_INTROSPECTION]


def _describe(name: str, operation: _Operation) -> _Json:
    first = next(iter(operation.form))
    success: _Json = {"description": operation.success, "headers": headers_of(200)}
    if name == "introspect":
        success["content"] = _refer(_INTROSPECTION)
    return {
        "operationId": name,
        "summary": operation.summary,
        "description": operation.description,
        "security": operation.security,
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {
                        "type": "object",
                        "properties": operation.form,
                        "required": [first],
                    },
                    "example": {first: _EXAMPLE_TOKEN},
                }
            },
        },
        "responses": {
            "200": success,
            **{str(status): _describe_error(status) for status in operation.statuses},
        },
    }


def _describe_error(status: int) -> _Json:
    headers = headers_of(status)
    if status == 401:
        headers["WWW-Authenticate"] = {
            "description": "How the client can authenticate.",
            "required": True,
            "schema": {"type": "string", "const": 'Basic realm="logout"'},
        }
    return {
        "description": _DESCRIPTIONS[status],
        "headers": headers,
        "content": _refer(_ERROR),
    }


def _refer(schema: str) -> _Json:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
