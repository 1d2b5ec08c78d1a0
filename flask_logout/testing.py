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
    return _maker(logout_app)


@pytest.fixture
def logout_make_session_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair with the claims of session_claims(), as a login does."""
    from .login import session_claims

    return lambda identity, /, **claims: logout_make_pair(
        identity, **{**session_claims(), **claims}
    )


@pytest.fixture
def logout_make_expired_pair(logout_app: Flask) -> MakePair:
    """Make a pair that expired before any leeway or grace period of the app."""
    from datetime import timedelta

    from .jwt_settings import read_leeway

    grace = logout_app.extensions["logout"].settings.expired_access_grace
    with _context(logout_app):
        leeway = read_leeway()
    return _maker(logout_app, expires_delta=-(leeway + grace + timedelta(minutes=1)))


@pytest.fixture
def logout_make_foreign_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair with invalid signatures."""
    return _changed(logout_make_pair, lambda a, r: TokenPair(_forge(a), _forge(r)))


@pytest.fixture
def logout_make_malformed_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair of tokens without their last part, the signature."""
    return _changed(logout_make_pair, lambda a, r: TokenPair(_cut(a), _cut(r)))


@pytest.fixture
def logout_make_swapped_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair in which the access token and the refresh token are swapped."""
    return _changed(logout_make_pair, lambda a, r: TokenPair(access=r, refresh=a))


@pytest.fixture
def logout_headers(logout_app: Flask) -> MakeHeaders:
    """Make request headers with the access token of a pair, or with a single token."""

    def make_headers(token: TokenPair | str) -> dict[str, str]:
        with _context(logout_app):
            return _headers(token if isinstance(token, str) else token.access)

    return make_headers


@pytest.fixture
def logout_log_out(logout_app: Flask, logout_client: FlaskClient) -> LogOut:
    """Send a logout request to the app and return the response."""

    def log_out(pair: TokenPair) -> TestResponse:
        rule = next(logout_app.url_map.iter_rules("logout.logout")).rule
        with _context(logout_app):
            request = _request(pair)
        return logout_client.post(rule, **request)

    return log_out


@pytest.fixture
def logout_assert_revoked(logout_app: Flask) -> AssertTokens:
    """Fail if a token isn't revoked: logout_assert_revoked(token, *others)."""
    complaint = "is not revoked. Check that the logout request returned 200."
    return _asserter(logout_app, True, complaint)


@pytest.fixture
def logout_assert_not_revoked(logout_app: Flask) -> AssertTokens:
    """Fail if a token is revoked: logout_assert_not_revoked(token, *others)."""
    complaint = (
        "is revoked. Something has revoked this token, its login, all tokens of its"
        " user, or all tokens."
    )
    return _asserter(logout_app, False, complaint)


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

    def clean_up() -> None:
        with _context(logout_app):
            logout_app.extensions["logout"].store.inspect().clear()

    yield clean_up
    clean_up()


class _StoppedStore:
    """Raise in every operation, as a store that does not answer does."""

    def _fail(self, *_: t.Any, **__: t.Any) -> t.NoReturn:
        from .exceptions import StoreUnavailableError

        raise StoreUnavailableError("the test uses logout_store_unavailable")

    add = join = find = changes = purge = inspect = _fail


def _context(app: Flask) -> AbstractContextManager[object]:
    """Reuse an open context of the app, because the app's loaders may need its g."""
    from contextlib import nullcontext

    from flask import current_app

    return nullcontext() if current_app and current_app == app else app.app_context()


def _maker(app: Flask, **options: t.Any) -> MakePair:
    import flask_jwt_extended as fje

    def make(identity: t.Any, /, **claims: t.Any) -> TokenPair:
        given = {**options, "additional_claims": claims}
        with _context(app):
            return TokenPair(
                fje.create_access_token(identity, **given),
                fje.create_refresh_token(identity, **given),
            )

    return make


def _changed(make: MakePair, change: t.Callable[[str, str], TokenPair]) -> MakePair:
    return lambda identity, /, **claims: change(*make(identity, **claims))


def _cut(token: str) -> str:
    return token.rpartition(".")[0]


def _forge(token: str) -> str:
    """Invert the signature, so that its length is right for any algorithm."""
    from jwt.utils import base64url_decode
    from jwt.utils import base64url_encode

    signature = base64url_decode(token.rpartition(".")[2])
    forged = base64url_encode(bytes(octet ^ 0xFF for octet in signature))
    return f"{_cut(token)}.{forged.decode()}"


def _headers(token: str) -> dict[str, str]:
    from .jwt_extended import config

    return {config.header_name: f"{config.header_type} {token}".strip()}


def _request(pair: TokenPair) -> dict[str, t.Any]:
    """Put the access token everywhere that the app looks for one."""
    from .jwt_extended import config

    body, query, headers = {"refresh_token": pair.refresh}, {}, {}
    if "headers" in config.token_location:
        headers.update(_headers(pair.access))
    if "cookies" in config.token_location:
        headers["Cookie"] = f"{config.access_cookie_name}={pair.access}"
        headers[config.access_csrf_header_name] = _csrf_of(pair.access)
    if "json" in config.token_location:
        body[config.json_key] = pair.access
    if "query_string" in config.token_location:
        value = f"{config.query_string_value_prefix}{pair.access}"
        query[config.query_string_name] = value
    return {"json": body, "query_string": query, "headers": headers}


def _csrf_of(token: str) -> str:
    import jwt

    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        return ""
    return str(claims.get("csrf", ""))


def _asserter(app: Flask, expected: bool, complaint: str) -> AssertTokens:
    def check(token: str, *others: str) -> None:
        # Hide this frame, because pytest shows the arguments, which are tokens.
        __tracebackhide__ = True
        for each in (token, *others):
            is_revoked, name = _ask(app, each)
            if is_revoked is not expected:
                raise AssertionError(f"{name} {complaint}")

    return check


def _ask(app: Flask, token: str) -> tuple[bool, str]:
    """Check a token as protected routes do, and describe it without showing it."""
    __tracebackhide__ = True
    from flask_jwt_extended import get_unverified_jwt_headers

    from . import tokens
    from .claims import subject_of
    from .exceptions import InvalidTokenError
    from .jwt_extended import blocklist_loader_of

    with _context(app):
        try:
            claims = tokens.decode(token)
        except InvalidTokenError as e:
            raise AssertionError(f"Invalid token: {e}") from None
        loader = blocklist_loader_of(app)
        is_revoked = bool(loader(get_unverified_jwt_headers(token), claims))
        subject = subject_of(claims, tokens.identity_claim())
    return is_revoked, f"The {claims['type']} token of {subject!r}"
