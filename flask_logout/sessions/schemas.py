"""Pydantic models of the responses about sessions, and the parsing of their requests."""

from __future__ import annotations

import typing as t
from base64 import urlsafe_b64decode
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from datetime import timezone

from pydantic import Field

from ..domain.revocation_keys import KEY_SIZE
from ..domain.rotation import Session
from ..request_validation import error_item
from ..schemas import EmptyData
from ..schemas import Envelope
from ..schemas import ErrorItem
from ..schemas import EXAMPLE_TOKEN
from ..schemas import Payload
from ..stores.sessions import Position

MAX_LIMIT = 100
"""The largest number of sessions in a page."""

DEFAULT_LIMIT = 50
"""The number of sessions in a page, unless the client asks for another."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_CLOCK_SIZE = 8


class TokenData(Payload):
    """The new tokens."""

    access_token: str = Field(repr=False, examples=[EXAMPLE_TOKEN])
    """The new access token, which is not fresh."""

    refresh_token: str = Field(repr=False, examples=[EXAMPLE_TOKEN])
    """The new refresh token. Use it for the next refresh."""


class Refreshed(Envelope):
    """The refresh token was exchanged for new tokens."""

    code: t.Literal[200] = 200
    message: t.Literal["token refreshed"] = "token refreshed"
    data: TokenData


class SessionItem(Payload):
    """An active session."""

    id: str
    """Identifies the session: the ``sid`` claim of its tokens."""

    current: bool
    """Whether the access token of this request belongs to it."""

    created_at: datetime
    """When the login began (RFC 3339, UTC)."""

    last_seen_at: datetime
    """The time of the last login or refresh (RFC 3339, UTC). For the current session, the
    time of this request."""

    user_agent: str | None
    """The browser or program, or null if the app doesn't keep it."""

    ip_address: str | None
    """The address of the client, or null if the app doesn't keep it."""

    label: str | None
    """A name for the session, or null if it has none."""


class SessionListData(Payload):
    """A page of the active sessions of the user."""

    sessions: list[SessionItem]
    """The sessions, newest first."""

    next: str | None
    """The cursor of the next page, or null if this is the last page."""


class SessionList(Envelope):
    """The active sessions of the user."""

    code: t.Literal[200] = 200
    message: t.Literal["ok"] = "ok"
    data: SessionListData

    def to_json(self) -> str:
        """Serialize to the documented JSON.

        :returns: compact JSON, with null for what is unknown.
        """
        return self.model_dump_json()


class SessionEnded(Envelope):
    """All tokens of the session are revoked."""

    code: t.Literal[200] = 200
    message: t.Literal["session ended"] = "session ended"
    data: EmptyData = EmptyData()


class NotFound(Envelope):
    """The user has no such session."""

    code: t.Literal[404] = 404
    message: t.Literal["not found"] = "not found"
    data: EmptyData = EmptyData()


@dataclass(frozen=True)
class PageRequest:
    """Which page of the sessions a client wants."""

    limit: int
    """The largest number of sessions in the page."""

    after: Position | None
    """Where the previous page ended, or ``None`` for the first page."""


def parse_page(args: t.Mapping[str, str]) -> PageRequest | list[ErrorItem]:
    """Parse the query string of a request for sessions.

    :param args: the parameters ``limit`` and ``cursor``, both optional.
    :returns: the request, or its errors, one per parameter.
    """
    errors: list[ErrorItem] = []
    limit, after = args.get("limit", str(DEFAULT_LIMIT)), None
    if not (limit.isascii() and limit.isdigit() and len(limit) < _CLOCK_SIZE):
        errors.append(error_item("limit", "integer_expected", limit))
    elif not 1 <= int(limit) <= MAX_LIMIT:
        errors.append(error_item("limit", "out_of_range", limit))
    if "cursor" in args:
        after = _decode_cursor(args["cursor"])
        if after is None:
            errors.append(error_item("cursor", "invalid", args["cursor"]))
    return errors or PageRequest(int(limit), after)


def encode_cursor(last: Session) -> str:
    """Make the cursor of the next page.

    :param last: the last session of this page.
    :returns: a text that is safe in URLs.
    """
    microseconds = (last.created_at - _EPOCH) // _MICROSECOND
    octets = microseconds.to_bytes(_CLOCK_SIZE, "big", signed=True) + last.key
    return urlsafe_b64encode(octets).decode()


def _decode_cursor(cursor: str) -> Position | None:
    try:
        octets = urlsafe_b64decode(cursor.encode("ascii"))
        clock, key = octets[:_CLOCK_SIZE], octets[_CLOCK_SIZE:]
        created_at = _EPOCH + int.from_bytes(clock, "big", signed=True) * _MICROSECOND
    except (ValueError, OverflowError):
        return None
    return Position(created_at, key) if len(key) == KEY_SIZE else None
