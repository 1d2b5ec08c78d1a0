"""A pytest plugin for testing apps that use Flask-Logout.

pytest imports this module in every run, so it and the modules with the other fixtures
import only pytest at the top. Each fixture imports what it needs when a test uses it.
"""

from __future__ import annotations

import typing as t

import pytest

from .sessions import logout_make_stale as logout_make_stale
from .sessions import logout_sessions as logout_sessions
from .sessions import logout_start_session as logout_start_session
from .store import logout_clean_up as logout_clean_up
from .store import logout_store_unavailable as logout_store_unavailable
from .types import AssertTokens as AssertTokens
from .types import CleanUp as CleanUp
from .types import ListSessions as ListSessions
from .types import LogOut as LogOut
from .types import MakeHeaders as MakeHeaders
from .types import MakePair as MakePair
from .types import MakeStale as MakeStale
from .types import StartSession as StartSession
from .types import StopStore as StopStore
from .types import TokenPair as TokenPair

if t.TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

_NO_APP = """\
The logout_ fixtures need a fixture "app" that returns the Flask app under test. Define
it in conftest.py. If your fixture has another name, define "logout_app" to return its
app.

    @pytest.fixture
    def app():
        return create_app()"""

_NO_EXTENSION = """\
The fixture "app" didn't return a Flask app that has a LogoutExtension. Call
LogoutExtension(app) or init_app(app) before the fixture returns the app."""


@pytest.fixture
def logout_app(request: pytest.FixtureRequest) -> Flask:
    """The Flask app under test. Override this if your fixture isn't named "app"."""
    try:
        app = request.getfixturevalue("app")
    except pytest.FixtureLookupError as e:
        if e.argname != "app":
            raise
        pytest.fail(_NO_APP, pytrace=False)
    if "logout" not in getattr(app, "extensions", ()):
        pytest.fail(_NO_EXTENSION, pytrace=False)
    return t.cast("Flask", app)


@pytest.fixture
def logout_client(logout_app: Flask) -> FlaskClient:
    """The test client that logout_log_out uses. It doesn't store cookies."""
    return logout_app.test_client(use_cookies=False)


@pytest.fixture
def logout_make_pair(logout_app: Flask) -> MakePair:
    """Make an access and a refresh token: logout_make_pair(identity, **claims)."""
    from .tokens import make_tokens

    return lambda identity, /, **claims: TokenPair(
        *make_tokens(logout_app, identity, claims)
    )


@pytest.fixture
def logout_make_session_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair with the claims of session_claims(), as a login does."""
    from ..tokens.login_claims import session_claims

    return lambda identity, /, **claims: logout_make_pair(
        identity, **{**session_claims(), **claims}
    )


@pytest.fixture
def logout_make_expired_pair(logout_app: Flask) -> MakePair:
    """Make a pair that expired before any leeway or grace period of the app."""
    from .tokens import make_expired_tokens

    return lambda identity, /, **claims: TokenPair(
        *make_expired_tokens(logout_app, identity, claims)
    )


@pytest.fixture
def logout_make_foreign_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair with invalid signatures."""
    from .tokens import forge

    return lambda identity, /, **claims: TokenPair(
        *map(forge, logout_make_pair(identity, **claims))
    )


@pytest.fixture
def logout_make_malformed_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair of tokens without their last part, the signature."""
    from .tokens import cut

    return lambda identity, /, **claims: TokenPair(
        *map(cut, logout_make_pair(identity, **claims))
    )


@pytest.fixture
def logout_make_swapped_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair in which the access token and the refresh token are swapped."""
    return lambda identity, /, **claims: TokenPair(
        *reversed(logout_make_pair(identity, **claims))
    )


@pytest.fixture
def logout_headers(logout_app: Flask) -> MakeHeaders:
    """Make request headers with the access token of a pair, or with a single token."""
    from .tokens import make_headers

    return lambda token: make_headers(
        logout_app, token if isinstance(token, str) else token.access
    )


@pytest.fixture
def logout_log_out(logout_app: Flask, logout_client: FlaskClient) -> LogOut:
    """Send a logout request to the app and return the response."""
    from .tokens import make_request

    def log_out(pair: TokenPair) -> TestResponse:
        path, options = make_request(logout_app, pair.access, pair.refresh)
        return logout_client.post(path, **options)

    return log_out


@pytest.fixture
def logout_assert_revoked(logout_app: Flask) -> AssertTokens:
    """Fail if a token isn't revoked: logout_assert_revoked(token, *others)."""
    from .tokens import make_assertion

    return make_assertion(logout_app, expected=True)


@pytest.fixture
def logout_assert_not_revoked(logout_app: Flask) -> AssertTokens:
    """Fail if a token is revoked: logout_assert_not_revoked(token, *others)."""
    from .tokens import make_assertion

    return make_assertion(logout_app, expected=False)
