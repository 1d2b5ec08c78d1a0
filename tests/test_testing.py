"""The pytest plugin, in the test suite of a small app that uses the package."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import typing as t
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from flask_jwt_extended import create_access_token
from flask_jwt_extended import decode_token

from flask_logout import LogoutExtension
from flask_logout.testing import TokenPair

from .conftest import MakeApp

PAGE = Path(__file__).parent.parent / "docs" / "howto/testing.rst"

FIXTURES = {
    "logout_app",
    "logout_assert_not_revoked",
    "logout_assert_revoked",
    "logout_clean_up",
    "logout_client",
    "logout_headers",
    "logout_log_out",
    "logout_make_expired_pair",
    "logout_make_foreign_pair",
    "logout_make_malformed_pair",
    "logout_make_pair",
    "logout_make_session_pair",
    "logout_make_swapped_pair",
    "logout_store_unavailable",
}

MYAPP = """
from flask import Flask
from flask_jwt_extended import get_jwt_identity
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy

from flask_logout import LogoutExtension

db = SQLAlchemy()


def create_app(**config):
    app = Flask("myapp")
    app.config["JWT_SECRET_KEY"] = "a secret of at least thirty-two bytes"
    app.config.update(config)
    db.init_app(app)
    JWTManager(app)
    LogoutExtension(app)

    @app.get("/me")
    @jwt_required()
    def me():
        return {"identity": get_jwt_identity()}

    return app
"""

CONFTEST = """
import pytest

from config import CONFIG
from myapp import create_app
from myapp import db


@pytest.fixture
def app(tmp_path):
    uri = f"sqlite:///{tmp_path / 'test.db'}"
    app = create_app(SQLALCHEMY_DATABASE_URI=uri, **CONFIG)
    with app.app_context():
        db.create_all()
    yield app
    with app.app_context():
        db.engine.dispose()
"""


class RunSuite(t.Protocol):
    """Run the suite of an app with a config, with warnings as errors."""

    def __call__(
        self, source: str, *args: str, config: str = "{}"
    ) -> pytest.RunResult: ...


PLAIN = ("-p", "no:flask")

# The suite runs in this process, where our own tests are imported already: pytest
# would say of those that it comes too late to rewrite their asserts.
WARNINGS = ("-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning")

without_pytest_flask = pytest.mark.parametrize(
    "run_suite", [PLAIN], ids=["plain"], indirect=True
)


@pytest.fixture(params=[(), PLAIN], ids=["pytest-flask", "plain"])
def run_suite(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> RunSuite:
    pytester.makepyfile(myapp=MYAPP)
    pytester.makeconftest(CONFTEST)

    def run(source: str, *args: str, config: str = "{}") -> pytest.RunResult:
        header = "from datetime import timedelta\n\n"
        pytester.makepyfile(config=f"{header}CONFIG = {config}")
        pytester.makepyfile(test_app=source)
        return pytester.runpytest_inprocess(*WARNINGS, *request.param, *args)

    return run


def is_in(result: pytest.RunResult, text: str) -> bool:
    """Whether the output has a text, however its lines are broken and marked."""
    return text in re.sub(r"\s+(E\s+)?", " ", result.stdout.str())


# The plugin as such


def test_the_plugin_imports_nothing_but_pytest() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules)\n"
        "import flask_logout.testing\n"
        "print(sorted(x for x in set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "['flask_logout', 'flask_logout.testing']\n"


@without_pytest_flask
def test_fixtures_are_named_and_explained(run_suite: RunSuite) -> None:
    result = run_suite("", "--fixtures", "-v")
    listed = re.findall(
        r"^(\w+) -- .*flask_logout/testing\.py:\d+\n    (\S.*)$",
        result.stdout.str(),
        re.MULTILINE,
    )
    assert {name for name, _ in listed} == FIXTURES


def test_no_fixture_acts_unasked(run_suite: RunSuite) -> None:
    result = run_suite("def test_nothing(app): pass", "--setup-show")
    result.assert_outcomes(passed=1)
    assert "logout_" not in result.stdout.str()


def test_pytest_finds_the_plugin_by_itself(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("flask_logout")
            assert "flask" not in sys.modules
        """
    )
    others = (f"-pno:{name}" for name in ("flask", "hypothesispytest", "schemathesis"))
    result = pytester.runpytest_subprocess("-W", "error", *others)
    result.assert_outcomes(passed=1)


def test_pair_hides_its_tokens() -> None:
    pair = TokenPair("an.access.token", "a.refresh.token")
    assert (repr(pair), f"{pair}") == ("TokenPair(access=…, refresh=…)",) * 2


# The app


def test_missing_app_is_explained(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_pair(logout_make_pair): pass")
    result = pytester.runpytest_inprocess(*WARNINGS)
    result.assert_outcomes(errors=1)
    assert is_in(
        result,
        'The logout_ fixtures need a fixture "app" that returns the Flask app under'
        " test. Define it in conftest.py. If your fixture has another name, define"
        ' "logout_app" to return its app.'
        " @pytest.fixture def app(): return create_app()",
    )


@pytest.mark.parametrize("given", ["Flask('myapp')", "object()"])
def test_app_without_the_extension_is_explained(
    pytester: pytest.Pytester, given: str
) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        from flask import Flask

        @pytest.fixture
        def app():
            return {given}

        def test_pair(logout_make_pair):
            pass
        """
    )
    result = pytester.runpytest_inprocess(*WARNINGS, *PLAIN)
    result.assert_outcomes(errors=1)
    assert is_in(
        result,
        'The fixture "app" didn\'t return a Flask app that has a LogoutExtension. Call'
        " LogoutExtension(app) or init_app(app) before the fixture returns the app.",
    )


def test_what_the_app_fixture_misses_is_named_by_pytest(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def app(database):
            pass

        def test_pair(logout_make_pair):
            pass
        """
    )
    result = pytester.runpytest_inprocess(*WARNINGS)
    result.assert_outcomes(errors=1)
    assert is_in(result, "fixture 'database' not found")


@without_pytest_flask
def test_app_and_client_can_be_overridden(run_suite: RunSuite) -> None:
    result = run_suite(
        """
        import pytest
        from flask import abort
        from flask import request

        @pytest.fixture
        def logout_app(app):
            @app.before_request
            def check():
                if request.headers.get("X-Key") != "key":
                    abort(403)
            return app

        @pytest.fixture
        def keyed(logout_client):
            logout_client.environ_base["HTTP_X_KEY"] = "key"

        def test_refused(logout_log_out, logout_make_pair):
            assert logout_log_out(logout_make_pair("ada")).status_code == 403

        def test_keyed(keyed, logout_log_out, logout_make_pair):
            assert logout_log_out(logout_make_pair("ada")).status_code == 200
        """
    )
    result.assert_outcomes(passed=2)


# Pairs, headers and the logout


def test_pair_is_the_apps_own(run_suite: RunSuite) -> None:
    result = run_suite(
        """
        import pytest
        from flask_jwt_extended import decode_token

        @pytest.fixture
        def pair(app, logout_make_pair):
            jwt = app.extensions["flask-jwt-extended"]
            jwt.user_identity_loader(lambda user: user["name"])
            jwt.additional_claims_loader(lambda user: {"role": "admin", "team": 1})
            return logout_make_pair({"name": "ada"}, team=2)

        def test_claims(app, pair):
            with app.app_context():
                for token, kind in zip(pair, ("access", "refresh")):
                    claims = decode_token(token)
                    assert {
                        name: claims.get(name)
                        for name in ("iss", "role", "sid", "sub", "team", "type")
                    } == {
                        "iss": "us",
                        "role": "admin",
                        "sid": None,
                        "sub": "ada",
                        "team": 2,
                        "type": kind,
                    }

        def test_route(app, pair, logout_headers):
            answer = app.test_client().get("/me", headers=logout_headers(pair))
            assert answer.get_json() == {"identity": "ada"}
        """,
        config="{'JWT_ENCODE_ISSUER': 'us', 'JWT_DECODE_ISSUER': 'us'}",
    )
    result.assert_outcomes(passed=2)


def test_pair_is_made_in_the_context_that_is_open(run_suite: RunSuite) -> None:
    result = run_suite(
        """
        from flask import Flask
        from flask import g
        from flask_jwt_extended import decode_token

        def test_contexts(app, logout_make_pair):
            jwt = app.extensions["flask-jwt-extended"]
            jwt.additional_claims_loader(lambda _: {"team": g.get("team")})

            def make_team():
                pair = logout_make_pair("ada")
                with app.app_context():
                    return decode_token(pair.access)["team"]

            with app.app_context():
                g.team = 1
                assert make_team() == 1
                with Flask("another").app_context():
                    g.team = 2
                    assert make_team() is None
            assert make_team() is None
        """
    )
    result.assert_outcomes(passed=1)


def test_session_pair_shares_a_session(run_suite: RunSuite) -> None:
    result = run_suite(
        """
        from flask_jwt_extended import decode_token
        from flask_logout import session_claims

        def test_session(
            app,
            logout_make_pair,
            logout_make_session_pair,
            logout_log_out,
            logout_assert_revoked,
            logout_assert_not_revoked,
        ):
            pair, other = (logout_make_session_pair("ada", team=2) for _ in "12")
            with app.app_context():
                access, refresh = map(decode_token, pair)
            assert access["sid"] == refresh["sid"]
            assert access["team"] == refresh["team"] == 2
            refreshed = logout_make_pair("ada", **session_claims(access))
            assert logout_log_out(pair).status_code == 200
            logout_assert_revoked(*pair, *refreshed)
            logout_assert_not_revoked(*other)
        """
    )
    result.assert_outcomes(passed=1)


@without_pytest_flask
@pytest.mark.parametrize(
    ("config", "headers"),
    [
        ("{}", "{'Authorization': 'Bearer ' + pair.access}"),
        ("{'JWT_HEADER_NAME': 'X-T'}", "{'X-T': 'Bearer ' + pair.access}"),
        ("{'JWT_HEADER_TYPE': 'JWT'}", "{'Authorization': 'JWT ' + pair.access}"),
        ("{'JWT_HEADER_TYPE': ''}", "{'Authorization': pair.access}"),
    ],
)
def test_headers_are_those_the_app_reads(
    run_suite: RunSuite, config: str, headers: str
) -> None:
    result = run_suite(
        f"""
        def test_headers(app, logout_make_pair, logout_headers, logout_log_out):
            pair = logout_make_pair("ada")
            assert logout_headers(pair) == logout_headers(pair.access) == {headers}
            client = app.test_client()
            answers = [client.get("/me", headers=logout_headers(x)) for x in pair]
            assert [x.status_code for x in answers] == [200, 422]
            assert logout_log_out(pair).status_code == 200
        """,
        config=config,
    )
    result.assert_outcomes(passed=1)


@without_pytest_flask
@pytest.mark.parametrize(
    "config",
    [
        "{}",
        "{'LOGOUT_URL_PREFIX': '/api/auth', 'APPLICATION_ROOT': '/root'}",
        "{'LOGOUT_URL_PREFIX': '', 'SERVER_NAME': 'example.com'}",
        "{'JWT_TOKEN_LOCATION': 'cookies'}",
        "{'JWT_TOKEN_LOCATION': 'cookies', 'JWT_COOKIE_CSRF_PROTECT': False}",
        "{'JWT_TOKEN_LOCATION': ['cookies', 'headers'], 'JWT_COOKIE_SECURE': True}",
        "{'JWT_TOKEN_LOCATION': 'json', 'JWT_JSON_KEY': 'token'}",
        "{'JWT_TOKEN_LOCATION': 'query_string', 'JWT_QUERY_STRING_VALUE_PREFIX': 'x'}",
    ],
)
def test_pair_is_logged_out_wherever_the_app_looks_for_tokens(
    run_suite: RunSuite, config: str
) -> None:
    result = run_suite(
        """
        def test_log_out(
            logout_make_pair,
            logout_make_malformed_pair,
            logout_log_out,
            logout_assert_revoked,
        ):
            pair = logout_make_pair("ada")
            response = logout_log_out(pair)
            assert (response.status_code, response.get_json()) == (
                200, {"code": 200, "message": "logout successful", "data": {}}
            )
            logout_assert_revoked(pair.access, pair.refresh)
            malformed = logout_make_malformed_pair("ada")
            for refused in (pair, malformed):
                assert logout_log_out(refused).get_json() == {
                    "code": 401, "message": "invalid token", "data": {}
                }
        """,
        config=config,
    )
    result.assert_outcomes(passed=1)


def test_client_of_pytest_flask_keeps_its_cookies(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        myapp=MYAPP, config="CONFIG = {'JWT_TOKEN_LOCATION': 'cookies'}"
    )
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        """
        def test_cookies(app, client, logout_make_pair, logout_log_out):
            ada, bob = logout_make_pair("ada"), logout_make_pair("bob")
            client.set_cookie("access_token_cookie", ada.access)
            assert logout_log_out(bob).status_code == 200
            assert client.get("/me").json == {"identity": "ada"}
        """
    )
    pytester.runpytest_inprocess(*WARNINGS).assert_outcomes(passed=1)


# Invalid tokens


def key_pair(private: t.Any) -> dict[str, bytes]:
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    return {
        "JWT_PRIVATE_KEY": private.private_bytes(
            pem, kind, serialization.NoEncryption()
        ),
        "JWT_PUBLIC_KEY": private.public_key().public_bytes(pem, public),
    }


BAD_PAIRS = """
import pytest

from flask_logout.testing import TokenPair

ME = {
    "expired": (401, "Token has expired"),
    "foreign": (422, "Signature verification failed"),
    "malformed": (422, "Not enough segments"),
    "swapped": (422, "Only non-refresh tokens are allowed"),
}
LOGOUT = {
    "expired": None,
    "foreign": "invalid",
    "malformed": "invalid",
    "swapped": "wrong_token_type",
}


@pytest.fixture(params=ME)
def kind(request):
    return request.param


@pytest.fixture
def bad_pair(request, kind):
    return request.getfixturevalue(f"logout_make_{kind}_pair")("ada", team=2)


def test_no_route_takes_them(app, kind, bad_pair, logout_headers):
    answer = app.test_client().get("/me", headers=logout_headers(bad_pair))
    status, message = ME[kind]
    assert (answer.status_code, answer.get_json()) == (status, {"msg": message})


def test_logout_refuses_the_access_token(bad_pair, logout_make_pair, logout_log_out):
    pair = TokenPair(bad_pair.access, logout_make_pair("ada").refresh)
    answer = {"code": 401, "message": "invalid token", "data": {}}
    assert logout_log_out(pair).get_json() == answer


def test_logout_names_the_refresh_token(
    kind, bad_pair, logout_make_pair, logout_log_out
):
    response = logout_log_out(TokenPair(logout_make_pair("ada").access, bad_pair[1]))
    data = response.get_json()["data"]
    errors = [x["message"] for x in data.get("errors", [])]
    assert errors == [x for x in [LOGOUT[kind]] if x]
"""


def test_bad_pairs_are_bad_in_one_way(run_suite: RunSuite) -> None:
    run_suite(BAD_PAIRS).assert_outcomes(passed=12)


@without_pytest_flask
@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", rsa.generate_private_key(65537, 2048)),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ],
)
def test_foreign_pair_is_foreign_whatever_the_algorithm(
    run_suite: RunSuite, algorithm: str, key: t.Any
) -> None:
    config = repr({"JWT_ALGORITHM": algorithm, **key_pair(key)})
    run_suite(BAD_PAIRS, "-k", "foreign", config=config).assert_outcomes(
        passed=3, deselected=9
    )


@without_pytest_flask
def test_expired_pair_is_beyond_leeway_and_grace(run_suite: RunSuite) -> None:
    result = run_suite(
        """
        def test_expired(logout_make_expired_pair, logout_log_out):
            answer = {"code": 401, "message": "invalid token", "data": {}}
            expired = logout_make_expired_pair("ada")
            assert logout_log_out(expired).get_json() == answer
        """,
        config="""{
            "JWT_ACCESS_TOKEN_EXPIRES": False,
            "JWT_DECODE_LEEWAY": 7200,
            "LOGOUT_EXPIRED_ACCESS_GRACE": timedelta(days=9),
        }""",
    )
    result.assert_outcomes(passed=1)


# What is revoked


def test_assertions_tell_what_is_revoked(run_suite: RunSuite) -> None:
    result = run_suite(
        """
        import pytest

        def test_revoked(
            logout_make_pair,
            logout_make_expired_pair,
            logout_log_out,
            logout_assert_revoked,
            logout_assert_not_revoked,
        ):
            pair, expired = logout_make_pair("ada"), logout_make_expired_pair("ada")
            logout_assert_not_revoked(*pair, *expired)
            for token in (*pair, *expired):
                with pytest.raises(AssertionError):
                    logout_assert_revoked(token)
            assert logout_log_out(pair).status_code == 200
            logout_assert_revoked(*pair)
            logout_assert_not_revoked(*expired)
            for tokens in (pair, (*expired, pair.access), (*expired, pair.refresh)):
                with pytest.raises(AssertionError):
                    logout_assert_not_revoked(*tokens)
        """
    )
    result.assert_outcomes(passed=1)


@without_pytest_flask
def test_the_blocklist_loader_of_the_app_is_asked_too(
    pytester: pytest.Pytester, run_suite: RunSuite
) -> None:
    loader = "lambda header, claims: header['kid'] == claims['sub'] == 'bob'"
    pytester.makepyfile(
        myapp=MYAPP.replace(
            "    JWTManager(app)\n",
            "    jwt = JWTManager(app)\n"
            "    jwt.additional_headers_loader(lambda identity: {'kid': identity})\n"
            f"    jwt.token_in_blocklist_loader({loader})\n",
        )
    )
    result = run_suite(
        """
        def test_loader(
            logout_make_pair, logout_assert_revoked, logout_assert_not_revoked
        ):
            logout_assert_revoked(*logout_make_pair("bob"))
            logout_assert_not_revoked(*logout_make_pair("ada"))
        """
    )
    result.assert_outcomes(passed=1)


FAILURES = """
from pathlib import Path

import pytest


@pytest.fixture
def make(logout_make_pair):
    def make_and_keep(identity):
        pair = logout_make_pair(identity)
        Path("tokens.txt").write_text("\\n".join(pair))
        return pair

    return make_and_keep


def test_failure(
    make,
    logout_log_out,
    logout_assert_revoked,
    logout_assert_not_revoked,
    logout_store_unavailable,
):
    pair = make("ada")
    %s
"""


@without_pytest_flask
@pytest.mark.parametrize(
    ("line", "error"),
    [
        (
            "logout_assert_revoked(pair.refresh)",
            "AssertionError: The refresh token of 'ada' is not revoked. Check that the"
            " logout request returned 200.",
        ),
        (
            "logout_log_out(pair); logout_assert_not_revoked(*pair)",
            "AssertionError: The access token of 'ada' is revoked. Something has"
            " revoked this token, its login, all tokens of its user, or all tokens.",
        ),
        (
            "logout_assert_revoked(pair.access[:-8] + 8 * 'A')",
            "AssertionError: Invalid token: Signature verification failed",
        ),
        (
            "logout_assert_not_revoked(pair.access.rpartition('.')[0])",
            "AssertionError: Invalid token: Not enough segments",
        ),
        (
            "logout_assert_revoked(pair)",
            "AssertionError: Invalid token: Invalid token type. Token must be a <class"
            " 'bytes'>",
        ),
    ],
)
def test_a_failed_assertion_explains_and_shows_no_token(
    pytester: pytest.Pytester, run_suite: RunSuite, line: str, error: str
) -> None:
    result = run_suite(FAILURES % line, "--tb=long", "-vv")
    result.assert_outcomes(failed=1)
    assert is_in(result, error)
    assert_hidden(pytester, result)


@without_pytest_flask
def test_a_store_that_fails_an_assertion_is_named_without_the_token(
    pytester: pytest.Pytester, run_suite: RunSuite
) -> None:
    line = "with logout_store_unavailable(): logout_assert_revoked(pair.access)"
    result = run_suite(FAILURES % line, "--tb=long", "-vv")
    result.assert_outcomes(failed=1)
    assert is_in(
        result,
        "StoreUnavailableError: the test uses logout_store_unavailable",
    )
    assert_hidden(pytester, result)


def assert_hidden(pytester: pytest.Pytester, result: pytest.RunResult) -> None:
    tokens = (pytester.path / "tokens.txt").read_text().splitlines()
    shown = result.stdout.str() + result.stderr.str()
    for part in (part for token in tokens for part in token.split(".")[1:]):
        assert part[8:24] not in shown


# The store


def test_stopped_store_refuses_everything(run_suite: RunSuite) -> None:
    result = run_suite(
        """
        import pytest

        from flask_logout import LogoutExtension
        from flask_logout import StoreUnavailableError

        def test_stopped(
            app,
            logout_make_pair,
            logout_headers,
            logout_log_out,
            logout_assert_not_revoked,
            logout_store_unavailable,
        ):
            pair = logout_make_pair("ada")
            unavailable = {"code": 503, "message": "service unavailable", "data": {}}

            def get_me():
                return app.test_client().get("/me", headers=logout_headers(pair))

            with logout_store_unavailable():
                with logout_store_unavailable():
                    pass
                for response in (get_me(), logout_log_out(pair)):
                    assert response.status_code == 503
                    assert response.get_json() == unavailable
                with app.app_context():
                    for use in (LogoutExtension().purge, LogoutExtension().revoke_everyone):
                        with pytest.raises(StoreUnavailableError):
                            use()
            logout_assert_not_revoked(*pair)
            assert get_me().get_json() == {"identity": "ada"}
            with pytest.raises(ZeroDivisionError):
                with logout_store_unavailable():
                    1 / 0
            assert get_me().get_json() == {"identity": "ada"}
        """
    )
    result.assert_outcomes(passed=1)


SHARED_APP = CONFTEST.replace("@pytest.fixture", "@pytest.fixture(scope='session')")
SHARED_APP = SHARED_APP.replace("app(tmp_path)", "app(tmp_path_factory)")
SHARED_APP = SHARED_APP.replace("{tmp_path / ", "{tmp_path_factory.mktemp('db') / ")


def test_revocations_are_forgotten_when_the_test_has_ended(
    pytester: pytest.Pytester, run_suite: RunSuite
) -> None:
    pytester.makeconftest(SHARED_APP)
    result = run_suite(
        """
        import pytest

        @pytest.fixture(scope="session")
        def pairs():
            return []

        @pytest.fixture
        def logged_out(pairs, logout_make_pair, logout_log_out, logout_assert_revoked):
            pairs.append(logout_make_pair("ada"))
            assert logout_log_out(pairs[-1]).status_code == 200
            logout_assert_revoked(*pairs[-1])

        def test_without(logged_out):
            pass

        def test_after_without(pairs, logout_assert_revoked):
            logout_assert_revoked(*pairs[-1])

        def test_with(logout_clean_up, logged_out):
            pass

        def test_after_with(pairs, logout_assert_not_revoked):
            for pair in pairs:
                logout_assert_not_revoked(*pair)

        def test_with_failure(logout_clean_up, logged_out):
            raise RuntimeError

        def test_after_with_failure(pairs, logout_assert_not_revoked):
            logout_assert_not_revoked(*pairs[-1])

        def test_call(pairs, logged_out, logout_clean_up, logout_assert_not_revoked):
            logout_clean_up()
            logout_assert_not_revoked(*pairs[-1])
        """
    )
    result.assert_outcomes(passed=6, failed=1)


def test_every_revocation_is_cleared(make_app: MakeApp, database_url: str) -> None:
    assert_cleared(make_app(SQLALCHEMY_DATABASE_URI=database_url))


def test_every_revocation_in_memory_is_cleared(make_app: MakeApp) -> None:
    assert_cleared(make_app(SQLALCHEMY_DATABASE_URI="sqlite://"))


def assert_cleared(app: Flask) -> None:
    logout = LogoutExtension()
    with app.app_context():
        never_expires = create_access_token("ada", expires_delta=False)
        claims = decode_token(never_expires)
        logout.revoke_token(claims)
        logout.revoke_everyone()
        assert logout.is_revoked(claims)
        app.extensions["logout"].store.inspect().clear()
        assert not logout.is_revoked(claims)


# The page


def read_blocks() -> dict[str, str]:
    """The code on the page by its file name."""
    blocks = re.findall(
        r"^\.\. code-block:: python\n    :caption: (\S+)\n\n((?:    .*\n|\n)+)",
        PAGE.read_text(),
        re.MULTILINE,
    )
    return {name: textwrap.dedent(code) for name, code in blocks}


def test_the_code_on_the_page_works(
    pytester: pytest.Pytester, run_suite: RunSuite
) -> None:
    blocks = read_blocks()
    # An app fixture of another name: the tests of the page, in a folder without "app".
    blocks["another/conftest.py"] += blocks["conftest.py"].replace(
        "def app(", "def api("
    )
    blocks["another/test_again.py"] = blocks["test_types.py"]
    assert len(blocks) == PAGE.read_text().count("code-block::") + 1
    for name, code in blocks.items():
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    run_suite("").assert_outcomes(passed=7)


def test_the_page_names_every_fixture_and_type() -> None:
    text = PAGE.read_text()
    types = {"TokenPair", "MakePair", "MakeHeaders", "LogOut", "AssertTokens"}
    types |= {"StopStore", "CleanUp"}
    assert [x for x in FIXTURES | types if f"`{x}" not in text] == []
