"""The fixtures of the pytest plugin for sessions."""

from __future__ import annotations

import typing as t

import pytest

from .types import ListSessions
from .types import MakeHeaders
from .types import MakeStale
from .types import StartSession
from .types import TokenPair

if t.TYPE_CHECKING:
    from flask import Flask

    from ..domain.rotation import Session

_NO_SESSIONS = """\
The app under test has no sessions, which {fixture} needs. Set LOGOUT_SESSIONS to True in
its config."""


@pytest.fixture
def logout_start_session(logout_app: Flask) -> StartSession:
    """Log a user in: logout_start_session(identity, label=None, fresh=True, **claims)."""
    from ..extension import LogoutExtension
    from .tokens import open_context

    _require_sessions(logout_app, "logout_start_session")

    def start(
        identity: t.Any,
        /,
        *,
        label: str | None = None,
        fresh: t.Any = True,
        **claims: t.Any,
    ) -> TokenPair:
        with open_context(logout_app):
            made = LogoutExtension().start_session(
                identity, label=label, fresh=fresh, additional_claims=claims
            )
        return TokenPair(*made)

    return start


@pytest.fixture
def logout_sessions(logout_app: Flask) -> ListSessions:
    """List the active sessions of a user, newest first: logout_sessions(identity)."""
    from ..extension import LogoutExtension
    from .tokens import open_context

    _require_sessions(logout_app, "logout_sessions")

    def list_sessions(identity: t.Any) -> list[Session]:
        with open_context(logout_app):
            return LogoutExtension().sessions_of(identity)

    return list_sessions


@pytest.fixture
def logout_make_stale(logout_app: Flask, logout_headers: MakeHeaders) -> MakeStale:
    """Exchange the refresh token of a pair, so that using it again ends its session."""
    from .tokens import exchange

    _require_sessions(logout_app, "logout_make_stale")

    def make_stale(pair: TokenPair) -> TokenPair:
        # After the second exchange, no setting allows the first token to be repeated.
        for _ in range(2):
            headers = logout_headers(pair.refresh)
            pair = TokenPair(*exchange(logout_app, headers))
        return pair

    return make_stale


def _require_sessions(app: Flask, fixture: str) -> None:
    if app.extensions["logout"].sessions is None:
        pytest.fail(_NO_SESSIONS.format(fixture=fixture), pytrace=False)
