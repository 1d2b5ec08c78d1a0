"""Lists the active sessions of users."""

from __future__ import annotations

import typing as t

from .. import clock
from ..config import jwt_settings
from ..domain.revocation_keys import user_keys
from ..domain.rotation import Session
from ..purging import current_app_object
from ..reporting import reporting
from ..stores.sessions import Position
from ..stores.sessions import SessionStore
from .records import Owner

PAGE = 100
"""The usual number of sessions that are read at once."""


def list_of(store: SessionStore, subject: str) -> list[Session]:
    """List the active sessions of a subject, newest first."""
    found = [
        session
        for issuer in jwt_settings.token_issuers()
        for session in _list_all(store, Owner(issuer, subject))
    ]
    return sorted(found, key=lambda x: (x.created_at, x.key), reverse=True)


def list_page(
    store: SessionStore, owner: Owner, limit: int, after: Position | None = None
) -> list[Session]:
    """List a page of the active sessions of a user, newest first."""
    with reporting(current_app_object()):
        return store.list_active(
            owner.key,
            user_keys(*owner),
            clock.now(),
            subject=owner.subject,
            after=after,
            limit=limit,
        )


def _list_all(store: SessionStore, owner: Owner) -> t.Iterator[Session]:
    after = None
    while True:
        page = list_page(store, owner, PAGE, after)
        yield from page
        if len(page) < PAGE:
            return
        after = Position(page[-1].created_at, page[-1].key)
