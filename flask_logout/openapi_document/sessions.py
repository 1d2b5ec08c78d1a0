"""Describe in OpenAPI the endpoints for sessions."""

from __future__ import annotations

from datetime import datetime
from datetime import timezone

from ..config.value_types import Endpoint
from ..schemas import EXAMPLE_TOKEN
from ..schemas import InvalidToken
from ..sessions.schemas import DEFAULT_LIMIT
from ..sessions.schemas import MAX_LIMIT
from ..sessions.schemas import NotFound
from ..sessions.schemas import Refreshed
from ..sessions.schemas import SessionEnded
from ..sessions.schemas import SessionItem
from ..sessions.schemas import SessionList
from ..sessions.schemas import SessionListData
from ..sessions.schemas import TokenData
from .operations import Answer
from .operations import Operation
from .operations import reject
from .operations import TOO_LARGE
from .operations import UNAVAILABLE

_ID = "4f6986e5-ea08-4094-9bfe-f3a454166796"

_SESSION = SessionItem(
    id=_ID,
    current=True,
    created_at=datetime(2026, 11, 26, 8, 28, 10, tzinfo=timezone.utc),
    last_seen_at=datetime(2026, 11, 26, 9, 15, tzinfo=timezone.utc),
    user_agent=None,
    ip_address=None,
    label="my phone",
)

_INVALID_ACCESS = Answer(
    "invalid_token",
    "Missing, malformed, forged, expired, revoked, or a refresh token",
    InvalidToken(),
)

_REFRESH = Operation(
    name="refresh",
    path="/refresh",
    method="post",
    summary="Exchange a refresh token for a new pair of tokens",
    description="Each refresh token can be exchanged once, and again within a short grace"
    " period. Any later use ends its session (RFC 9700, section 4.14.2).",
    answers=(
        Answer(
            "refreshed",
            "Exchanged",
            Refreshed(
                data=TokenData(access_token=EXAMPLE_TOKEN, refresh_token=EXAMPLE_TOKEN)
            ),
        ),
        Answer(
            "invalid_token",
            "Missing, malformed, forged, expired, revoked, already used, or an access"
            " token",
            InvalidToken(),
        ),
        TOO_LARGE,
        UNAVAILABLE,
    ),
    token="refresh",
    sets_cookies=True,
    unsets_cookies=("401",),
)

_LIST = Operation(
    name="list_sessions",
    path="/sessions",
    method="get",
    summary="List the active sessions of the user",
    description="The sessions are listed from new to old.",
    answers=(
        Answer(
            "sessions",
            "A page of sessions",
            SessionList(data=SessionListData(sessions=[_SESSION], next=None)),
        ),
        reject("limit", "integer_expected", "ten", "Not a whole number"),
        reject("limit", "out_of_range", "0", f"Not from 1 to {MAX_LIMIT}"),
        reject("cursor", "invalid", "x", "Not the `next` of a page"),
        _INVALID_ACCESS,
        UNAVAILABLE,
    ),
    parameters=(
        {
            "name": "limit",
            "in": "query",
            "description": "The largest number of sessions in the page.",
            "schema": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_LIMIT,
                "default": DEFAULT_LIMIT,
            },
        },
        {
            "name": "cursor",
            "in": "query",
            "description": "The `next` of the previous page.",
            "schema": {"type": "string"},
        },
    ),
    unsets_cookies=("401",),
)

_END = Operation(
    name="end_session",
    path="/sessions/{id}",
    method="delete",
    summary="End a session of the user",
    description="Revokes every token of the session.",
    answers=(
        Answer("session_ended", "Ended", SessionEnded()),
        _INVALID_ACCESS,
        Answer("not_found", "The user has no such session", NotFound()),
        UNAVAILABLE,
    ),
    parameters=(
        {
            "name": "id",
            "in": "path",
            "required": True,
            "description": "The `id` of the session, from the list.",
            "schema": {"type": "string", "minLength": 1},
            "example": _ID,
        },
    ),
)

SESSION_OPERATIONS: dict[Endpoint, tuple[Operation, ...]] = {
    "refresh": (_REFRESH,),
    "sessions": (_LIST, _END),
}
"""The operations of each endpoint for sessions."""
