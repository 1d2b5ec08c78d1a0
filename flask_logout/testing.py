"""The pytest plugin for the test suites of apps that use this package.

pytest imports this module at every run, whatever is tested, so it imports nothing but
pytest here; what a fixture needs is imported when the fixture is used.
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
The logout_ fixtures need a fixture "app" that gives the Flask app under test. Define it
in conftest.py, or define "logout_app" where yours has another name:

    @pytest.fixture
    def app():
        return create_app()"""

_NO_EXTENSION = """\
What the fixture "app" gives is not a Flask app with a LogoutExtension. Call
LogoutExtension(app), or init_app(app), before the fixture returns the app."""


class TokenPair(t.NamedTuple):
    """The two tokens of one login; its ``repr`` does not show them."""

    access: str
    """The encoded access token."""

    refresh: str
    """The encoded refresh token."""

    def __repr__(self) -> str:
        return "TokenPair(access=…, refresh=…)"


class MakePair(t.Protocol):
    """What ``logout_make_pair`` and its kin give."""

    def __call__(self, identity: t.Any, /, **claims: t.Any) -> TokenPair:
        """Make a pair of tokens as the app does, inside or outside an app context.

        :param identity: what ``create_access_token`` takes.
        :param **claims: what both tokens carry besides; it wins over the app's loaders.
        :returns: the pair.
        """


class AssertTokens(t.Protocol):
    """What ``logout_assert_revoked`` and ``logout_assert_not_revoked`` give."""

    def __call__(self, token: str, *others: str) -> None:
        """Fail the test unless it is so for each of the tokens.

        :param token: an access or refresh token, expired or not; ``*pair`` for both.
        :param *others: more of them.
        :raises AssertionError: it is not so, or one is not a token of the app; the
            message holds no token.
        :raises StoreUnavailableError: the store did not answer.
        """


MakeHeaders = t.Callable[[t.Union[TokenPair, str]], dict[str, str]]
"""What ``logout_headers`` gives."""

LogOut = t.Callable[[TokenPair], "TestResponse"]
"""What ``logout_log_out`` gives."""

StopStore = t.Callable[[], "AbstractContextManager[None]"]
"""What ``logout_store_unavailable`` gives."""

CleanUp = t.Callable[[], None]
"""What ``logout_clean_up`` gives."""


@pytest.fixture
def logout_app(request: pytest.FixtureRequest) -> Flask:
    """The app under test: what the fixture app gives. Override it for another one."""
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
    """The client of logout_log_out: the app's own, without the cookies of another."""
    return logout_app.test_client(use_cookies=False)


@pytest.fixture
def logout_make_pair(logout_app: Flask) -> MakePair:
    """Make an access and a refresh token: logout_make_pair(identity, **claims)."""
    return _maker(logout_app)


@pytest.fixture
def logout_make_session_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair whose tokens share a session, as session_claims() ties them."""
    from .login import session_claims

    return lambda identity, /, **claims: logout_make_pair(
        identity, **{**session_claims(), **claims}
    )


@pytest.fixture
def logout_make_expired_pair(logout_app: Flask) -> MakePair:
    """Make a pair that has expired, longer ago than any leeway or grace of the app."""
    from datetime import timedelta

    from .jwt_settings import read_leeway

    grace = logout_app.extensions["logout"].settings.expired_access_grace
    with _context(logout_app):
        leeway = read_leeway()
    return _maker(logout_app, expires_delta=-(leeway + grace + timedelta(minutes=1)))


@pytest.fixture
def logout_make_foreign_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair whose signatures are not of the app's key."""
    return _changed(logout_make_pair, lambda a, r: TokenPair(_forge(a), _forge(r)))


@pytest.fixture
def logout_make_malformed_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair of tokens whose last part is lost."""
    return _changed(logout_make_pair, lambda a, r: TokenPair(_cut(a), _cut(r)))


@pytest.fixture
def logout_make_swapped_pair(logout_make_pair: MakePair) -> MakePair:
    """Make a pair of tokens of the wrong type, each in the place of the other."""
    return _changed(logout_make_pair, lambda a, r: TokenPair(access=r, refresh=a))


@pytest.fixture
def logout_headers(logout_app: Flask) -> MakeHeaders:
    """Make the headers that carry the access token of a pair, or any one token."""

    def make_headers(token: TokenPair | str) -> dict[str, str]:
        with _context(logout_app):
            return _headers(token if isinstance(token, str) else token.access)

    return make_headers


@pytest.fixture
def logout_log_out(logout_app: Flask, logout_client: FlaskClient) -> LogOut:
    """Log a pair out at the app's own route, and return the response."""

    def log_out(pair: TokenPair) -> TestResponse:
        rule = next(logout_app.url_map.iter_rules("logout.logout")).rule
        with _context(logout_app):
            request = _request(pair)
        return logout_client.post(rule, **request)

    return log_out


@pytest.fixture
def logout_assert_revoked(logout_app: Flask) -> AssertTokens:
    """Fail unless the tokens are revoked: logout_assert_revoked(token, *others)."""
    complaint = (
        "is not revoked: the app takes it until it expires. Was it logged out, and was"
        " the answer a 200?"
    )
    return _asserter(logout_app, True, complaint)


@pytest.fixture
def logout_assert_not_revoked(logout_app: Flask) -> AssertTokens:
    """Fail if any of the tokens is revoked."""
    complaint = (
        "is revoked: alone, or with its session, or with all tokens of its user or of"
        " everybody."
    )
    return _asserter(logout_app, False, complaint)


@pytest.fixture
def logout_store_unavailable(logout_app: Flask) -> StopStore:
    """Stop the store: with logout_store_unavailable(), each check gives a 503."""
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
    """Empty the table when the test has ended, and whenever the test calls it."""

    def clean_up() -> None:
        with _context(logout_app):
            logout_app.extensions["logout"].store.inspect().clear()

    yield clean_up
    clean_up()


class _StoppedStore:
    """A store that does not answer."""

    def _fail(self, *_: t.Any, **__: t.Any) -> t.NoReturn:
        from .exceptions import StoreUnavailableError

        raise StoreUnavailableError("logout_store_unavailable has stopped the store")

    add = join = find = changes = purge = inspect = _fail


def _context(app: Flask) -> AbstractContextManager[object]:
    """The app context that is open, if any: the app's loaders may need its session."""
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
    """Invert the signature: whatever the algorithm, it is of the right length."""
    from jwt.utils import base64url_decode
    from jwt.utils import base64url_encode

    signature = base64url_decode(token.rpartition(".")[2])
    forged = base64url_encode(bytes(octet ^ 0xFF for octet in signature))
    return f"{_cut(token)}.{forged.decode()}"


def _headers(token: str) -> dict[str, str]:
    from .jwt_extended import config

    return {config.header_name: f"{config.header_type} {token}".strip()}


def _request(pair: TokenPair) -> dict[str, t.Any]:
    """Put the access token in every place where the app looks for one."""
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
        # pytest would show the arguments of this function, hence the tokens.
        __tracebackhide__ = True
        for each in (token, *others):
            is_revoked, name = _ask(app, each)
            if is_revoked is not expected:
                raise AssertionError(f"{name} {complaint}")

    return check


def _ask(app: Flask, token: str) -> tuple[bool, str]:
    """Ask as every protected route does, and describe the token without showing it."""
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
            raise AssertionError(f"this is not a token of the app: {e}") from None
        loader = blocklist_loader_of(app)
        is_revoked = bool(loader(get_unverified_jwt_headers(token), claims))
        subject = subject_of(claims, tokens.identity_claim())
    return is_revoked, f"the {claims['type']} token of {subject!r}"
