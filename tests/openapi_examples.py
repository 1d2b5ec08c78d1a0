"""The operation, responses and examples in the OpenAPI document."""

from __future__ import annotations

import typing as t

from flask_logout import openapi
from flask_logout.config.value_types import Endpoint

Version = t.Literal["3.0", "3.1"]

PATHS: dict[Endpoint, str] = {
    "logout": "/auth/logout",
    "logout_all": "/auth/logout/all",
}
"""The endpoints that don't need sessions, with their paths."""

ALL_PATHS: dict[Endpoint, list[str]] = {
    **{name: [path] for name, path in PATHS.items()},
    "refresh": ["/auth/refresh"],
    "sessions": ["/auth/sessions", "/auth/sessions/{id}"],
    "revoke": ["/auth/revoke"],
    "introspect": ["/auth/introspect"],
    "backchannel_logout": ["/auth/backchannel-logout"],
}
"""All endpoints, with their paths."""


def operation(
    document: dict[str, t.Any], endpoint: Endpoint = "logout"
) -> dict[str, t.Any]:
    """Return an operation of a document."""
    return t.cast(dict[str, t.Any], document["paths"][PATHS[endpoint]]["post"])


def responses(
    version: Version = "3.1", endpoint: Endpoint = "logout"
) -> dict[str, t.Any]:
    """Return the documented responses, by status."""
    document = openapi(version=version, endpoints=PATHS)
    return t.cast(dict[str, t.Any], operation(document, endpoint)["responses"])


def examples(
    version: Version = "3.1", endpoint: Endpoint = "logout"
) -> dict[str, tuple[str, t.Any]]:
    """Return the status and the body of every example of a response."""
    return {
        name: (status, example["value"])
        for status, response in responses(version, endpoint).items()
        for name, example in response["content"]["application/json"]["examples"].items()
    }


def session_examples(
    path: str, method: str, version: Version = "3.1"
) -> list[tuple[str, t.Any]]:
    """Return the name and the body of every example of an endpoint for sessions."""
    document = openapi(version=version, endpoints=["refresh", "sessions"])
    said = document["paths"][path][method]["responses"]
    return [
        (name, example["value"])
        for response in said.values()
        for name, example in response["content"]["application/json"]["examples"].items()
    ]
