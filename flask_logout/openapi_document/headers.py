"""Describe in OpenAPI the headers of the responses."""

from __future__ import annotations

import typing as t
from copy import deepcopy

from ..exceptions import RETRY_AFTER

_Json = dict[str, t.Any]

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
            "description": "`Bearer` if the request has no token, otherwise"
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


def headers_of(code: int) -> _Json:
    """Describe the headers of a response.

    :param code: the status of the response.
    :returns: a new dict with the description of each header.
    """
    return deepcopy({**_NO_STORE, **_HEADERS.get(code, {})})
