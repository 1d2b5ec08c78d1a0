"""The operation, responses and examples in the OpenAPI document."""

from __future__ import annotations

import typing as t

from flask_logout import openapi
from flask_logout.config_values import Endpoint

Version = t.Literal["3.0", "3.1"]

PATHS: dict[Endpoint, str] = {
    "logout": "/auth/logout",
    "logout_all": "/auth/logout/all",
}
"""The endpoints that the document describes, with their paths."""


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
