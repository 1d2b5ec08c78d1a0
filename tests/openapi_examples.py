"""The operation, responses and examples in the OpenAPI document."""

from __future__ import annotations

import typing as t

from flask_logout import openapi

Version = t.Literal["3.0", "3.1"]


def operation(document: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the logout operation of a document."""
    return t.cast(dict[str, t.Any], document["paths"]["/auth/logout"]["post"])


def responses(version: Version = "3.1") -> dict[str, t.Any]:
    """Return the documented responses, by status."""
    return t.cast(dict[str, t.Any], operation(openapi(version=version))["responses"])


def examples(version: Version = "3.1") -> dict[str, tuple[str, t.Any]]:
    """Return the status and the body of every example of a response."""
    return {
        name: (status, example["value"])
        for status, response in responses(version).items()
        for name, example in response["content"]["application/json"]["examples"].items()
    }
