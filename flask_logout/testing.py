"""A pytest plugin for testing apps that use Flask-Logout.

pytest imports this module in every run, so the top of it imports only pytest. Each
fixture imports what it needs when a test uses it.
"""

from __future__ import annotations

import typing as t

import pytest

if t.TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from .stores import Store

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


class TokenPair(t.NamedTuple):
    """An access token and a refresh token. Its ``repr`` doesn't show them."""

    access: str
    """The encoded access token."""

    refresh: str
    """The encoded refresh token."""

    def __repr__(self) -> str:
        return "TokenPair(access=…, refresh=…)"


class MakePair(t.Protocol):
    """The type of ``logout_make_pair`` and the other fixtures that make pairs."""

    def __call__(self, identity: t.Any, /, **claims: t.Any) -> TokenPair:
        """Make a pair of tokens as the app does, with or without an app context.

        :param identity: the identity to pass to ``create_access_token``.
        :param **claims: additional claims of both tokens. They override the claims
            that the app's loaders add.
        :returns: the pair.
        """


class AssertTokens(t.Protocol):
    """The type of ``logout_assert_revoked`` and ``logout_assert_not_revoked``."""

    def __call__(self, token: str, *others: str) -> None:
        """Fail the test if the assertion is false for any of the tokens.

        :param token: an access or refresh token, which may have expired. Pass ``*pair``
            to check both.
        :param *others: more tokens.
        :raises AssertionError: the assertion is false, or a token is not valid in this
            app. The message doesn't contain the token.
        :raises StoreUnavailableError: the store did not answer.
        """


MakeHeaders = t.Callable[[t.Union[TokenPair, str]], dict[str, str]]
"""The type of ``logout_headers``."""

LogOut = t.Callable[[TokenPair], "TestResponse"]
"""The type of ``logout_log_out``."""

StopStore = t.Callable[[], "AbstractContextManager[None]"]
"""The type of ``logout_store_unavailable``."""

CleanUp = t.Callable[[], None]
"""The type of ``logout_clean_up``."""


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
    from .testing_tokens import make_tokens

    return lambda identity, /, **claims: TokenPair(
        *make_tokens(logout_app, identity, claims)
    )


@pytest.fixture
def logout_make_session_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair with the claims of session_claims(), as a login does."""
    from .login_claims import session_claims

    return lambda identity, /, **claims: logout_make_pair(
        identity, **{**session_claims(), **claims}
    )


@pytest.fixture
def logout_make_expired_pair(logout_app: Flask) -> MakePair:
    """Make a pair that expired before any leeway or grace period of the app."""
    from .testing_tokens import make_expired_tokens

    return lambda identity, /, **claims: TokenPair(
        *make_expired_tokens(logout_app, identity, claims)
    )


@pytest.fixture
def logout_make_foreign_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair with invalid signatures."""
    from .testing_tokens import forge

    return lambda identity, /, **claims: TokenPair(
        *map(forge, logout_make_pair(identity, **claims))
    )


@pytest.fixture
def logout_make_malformed_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair of tokens without their last part, the signature."""
    from .testing_tokens import cut

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
    from .testing_tokens import make_headers

    return lambda token: make_headers(
        logout_app, token if isinstance(token, str) else token.access
    )


@pytest.fixture
def logout_log_out(logout_app: Flask, logout_client: FlaskClient) -> LogOut:
    """Send a logout request to the app and return the response."""
    from .testing_tokens import make_request

    def log_out(pair: TokenPair) -> TestResponse:
        path, options = make_request(logout_app, pair.access, pair.refresh)
        return logout_client.post(path, **options)

    return log_out


@pytest.fixture
def logout_assert_revoked(logout_app: Flask) -> AssertTokens:
    """Fail if a token isn't revoked: logout_assert_revoked(token, *others)."""
    from .testing_tokens import make_assertion

    return make_assertion(logout_app, expected=True)


@pytest.fixture
def logout_assert_not_revoked(logout_app: Flask) -> AssertTokens:
    """Fail if a token is revoked: logout_assert_not_revoked(token, *others)."""
    from .testing_tokens import make_assertion

    return make_assertion(logout_app, expected=False)


@pytest.fixture
def logout_store_unavailable(logout_app: Flask) -> StopStore:
    """Make the store unavailable inside a with block: each check returns 503."""
    from contextlib import contextmanager
    from dataclasses import replace

    extensions = logout_app.extensions
    stopped: Store = _StoppedStore()

    @contextmanager
    def stop_store() -> t.Iterator[None]:
        state = extensions["logout"]
        extensions["logout"] = replace(state, store=stopped)
        try:
            yield
        finally:
            extensions["logout"] = state

    return stop_store


@pytest.fixture
def logout_clean_up(logout_app: Flask) -> t.Iterator[CleanUp]:
    """Delete all revocations after the test, and whenever the test calls this."""
    from .testing_tokens import open_context

    def clean_up() -> None:
        with open_context(logout_app):
            logout_app.extensions["logout"].store.inspect().clear()

    yield clean_up
    clean_up()


class _StoppedStore:
    """A store in which every operation fails, as if it couldn't be reached."""

    def _fail(self, *_: t.Any, **__: t.Any) -> t.NoReturn:
        from .exceptions import StoreUnavailableError

        raise StoreUnavailableError("the test uses logout_store_unavailable")

    add = remember = join = find = changes = purge = open_sessions = inspect = _fail
