"""The endpoints for sessions, ``GET /auth/sessions`` and ``DELETE /auth/sessions/<id>``."""

from __future__ import annotations

import typing as t

from flask import current_app
from flask import request
from flask import Response

from .. import clock
from ..blocklist import check_loader
from ..domain.claims import Claims
from ..domain.claims import session_of
from ..domain.revocation_keys import make_key
from ..domain.rotation import Session
from ..exceptions import InvalidRequestError
from ..service import get_service
from ..sessions.listing import list_page
from ..sessions.records import Owner
from ..sessions.records import owner_of
from ..sessions.schemas import encode_cursor
from ..sessions.schemas import NotFound
from ..sessions.schemas import parse_page
from ..sessions.schemas import SessionEnded
from ..sessions.schemas import SessionItem
from ..sessions.schemas import SessionList
from ..sessions.schemas import SessionListData
from . import cookies
from .access import verify_access
from .errors import make_json_response

if t.TYPE_CHECKING:
    from ..sessions import SessionService


def list_sessions() -> Response:
    """List the active sessions of the caller, newest first (ASVS 5.0 7.5.2).

    :returns: the documented 200 response.
    """
    check_loader(current_app)
    claims = verify_access()
    page = parse_page(request.args)
    if isinstance(page, list):
        raise InvalidRequestError(page)
    owner = owner_of(claims)
    # One more tells whether there is another page.
    found = list_page(_get_sessions().store, owner, page.limit + 1, page.after)
    shown = found[: page.limit]
    data = SessionListData(
        sessions=[_describe(x, _current_key(owner, claims)) for x in shown],
        next=encode_cursor(shown[-1]) if len(found) > page.limit else None,
    )
    return make_json_response(SessionList(data=data))


def end_session(sid: str) -> Response:
    """End one of the sessions of the caller (ASVS 5.0 7.5.2).

    :param sid: the ``id`` from the list of sessions.
    :returns: the documented 200 response, or 404 if the caller has no such session.
    """
    check_loader(current_app)
    claims = verify_access(fresh=get_service().settings.require_fresh)
    owner = owner_of(claims)
    if not _get_sessions().end(owner, sid):
        return make_json_response(NotFound())
    response = make_json_response(SessionEnded())
    is_current = make_key("session", owner.issuer, sid) == _current_key(owner, claims)
    return cookies.unset_unusable(response, [claims] if is_current else [])


def _get_sessions() -> SessionService:
    return t.cast("SessionService", get_service().sessions)


def _current_key(owner: Owner, claims: Claims) -> bytes | None:
    sid = session_of(claims)
    return None if sid is None else make_key("session", owner.issuer, sid)


def _describe(session: Session, current_key: bytes | None) -> SessionItem:
    is_current = session.key == current_key
    # A thief who saw when the victim last refreshed could refresh right after, unnoticed.
    seen_at = clock.now() if is_current else t.cast(t.Any, session.last_seen_at)
    return SessionItem(
        id=session.sid,
        current=is_current,
        created_at=session.created_at,
        last_seen_at=seen_at,
        user_agent=session.user_agent,
        ip_address=session.ip_address,
        label=session.label,
    )
