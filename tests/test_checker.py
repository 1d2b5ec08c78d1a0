"""Services without Flask reject the tokens that an app has revoked."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from flask import Flask

from flask_logout import Checker
from flask_logout import ConfigError
from flask_logout import LogoutExtension
from flask_logout import session_claims
from flask_logout import StoreUnavailableError

from .conftest import MakeApp
from .pages import run
from .proxied_apps import PATIENCE
from .proxied_apps import STORES
from .proxied_apps import WARM
from .proxy import free_port
from .proxy import proxied
from .redis_servers import running_url
from .tokens import bearer
from .tokens import claims_of
from .tokens import encode
from .tokens import expired
from .tokens import log_out
from .tokens import make_pair
from .tokens import Pair
from .tokens import tampered

MakeChecker = t.Callable[..., Checker]


@pytest.fixture(params=["database", "redis"])
def uri(request: pytest.FixtureRequest, database_url: str) -> str:
    """The URL of each kind of store."""
    if request.param == "database":
        return database_url
    if not database_url.startswith("sqlite"):
        pytest.skip("Redis is tried once")
    return running_url()


@pytest.fixture
def make_checker() -> t.Iterator[MakeChecker]:
    """Make checkers, and close them afterwards."""
    made: list[Checker] = []

    def make(*args: t.Any, **options: t.Any) -> Checker:
        made.append(Checker(*args, **options))
        return made[-1]

    yield make
    for checker in made:
        checker.close()


@pytest.fixture
def app(make_app: MakeApp, uri: str) -> t.Iterator[Flask]:
    """An app that stores its revocations there."""
    app = make_app(LOGOUT_STORE_URI=uri)
    with app.app_context():
        inspection = app.extensions["logout"].store.inspect()
        inspection.create()
        inspection.clear()
        yield app


def log_in(app: Flask, identity: str = "ada") -> Pair:
    """Issue the tokens of a session."""
    with app.app_context():
        return make_pair(app, identity, additional_claims=session_claims())


@pytest.mark.parametrize("max_staleness", [0, 0.000001])
def test_it_rejects_what_the_app_rejects(
    app: Flask, uri: str, make_checker: MakeChecker, max_staleness: float
) -> None:
    checker = make_checker(uri, max_staleness=max_staleness)
    logout = LogoutExtension()
    pairs = [log_in(app, x) for x in ("ada", "ada", "bob", "eve", "mallory")]
    claims = [claims_of(pair.access) for pair in pairs]

    def rejected() -> list[bool]:
        return [checker.is_revoked(x) for x in claims]

    assert rejected() == 5 * [False]
    assert log_out(app.test_client(), pairs[0]).status_code == 200
    assert rejected() == [True, False, False, False, False]
    logout.revoke_user("bob")
    assert rejected() == [True, False, True, False, False]
    logout.revoke_token(claims[3])
    assert rejected() == [True, False, True, True, False]
    logout.revoke_session(claims[4]["sid"])
    assert rejected() == [True, False, True, True, True]
    logout.revoke_everyone()
    assert rejected() == 5 * [True]
    later = log_in(app, "bob")
    assert not checker.is_revoked(claims_of(later.access))
    # It reads the same keys for refresh tokens.
    assert checker.is_revoked(claims_of(pairs[0].refresh))


def test_the_table_and_the_identity_claim_are_those_of_the_app(
    make_app: MakeApp, make_checker: MakeChecker, database_url: str
) -> None:
    app = make_app(
        SQLALCHEMY_DATABASE_URI=database_url,
        LOGOUT_TABLE_NAME="others",
        JWT_IDENTITY_CLAIM="uid",
    )
    pair = make_pair(app)
    with app.app_context():
        LogoutExtension().revoke_user("ada")
    checker = make_checker(database_url, table_name="others", identity_claim="uid")
    assert checker.is_revoked(claims_of(pair.access))


@pytest.mark.parametrize("driver", STORES)
def test_a_check_takes_one_round_trip(
    make_app: MakeApp, make_checker: MakeChecker, driver: str
) -> None:
    with proxied(driver) as (url, proxy):
        uri = url.render_as_string(hide_password=False)
        app = make_app(LOGOUT_STORE_URI=uri, LOGOUT_TIMEOUT=PATIENCE)
        with app.app_context():
            app.extensions["logout"].store.inspect().create()
        claims = claims_of(make_pair(app).access)
        checker = make_checker(uri, timeout=PATIENCE)
        for _ in range(WARM):
            assert not checker.is_revoked(claims)
        proxy.reset()
        assert not checker.is_revoked(claims)
        assert proxy.round_trips == 1


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+pymysql", "redis"])
def test_a_store_that_is_down(scheme: str) -> None:
    checker = Checker(f"{scheme}://user@127.0.0.1:{free_port()}/1")
    with pytest.raises(StoreUnavailableError):
        checker.is_revoked({"jti": "1", "sub": "ada"})


def test_threads_and_a_forked_process_share_it(
    app: Flask, uri: str, make_checker: MakeChecker
) -> None:
    pair = log_in(app)
    assert log_out(app.test_client(), pair).status_code == 200
    checker, claims = make_checker(uri), claims_of(pair.access)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(checker.is_revoked, 64 * [claims]))
    child = os.fork()
    if not child:
        os._exit(0 if checker.is_revoked(claims) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert checker.is_revoked(claims)


def test_it_imports_no_framework(tmp_path: Path) -> None:
    program = (
        "import sys; from flask_logout import Checker\n"
        f"Checker('sqlite:///{tmp_path}/x.db')\n"
        "names = 'flask flask_jwt_extended flask_sqlalchemy pydantic redis'.split()\n"
        "print([x for x in names if x in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("uri", "options", "message"),
    [
        (
            "sqlite:///app.db",
            {},
            "Invalid store_uri of Checker: 'sqlite:///app.db'. Expected an absolute path of"
            " a SQLite file, such as sqlite:////var/lib/app/app.db, because the app looks"
            " for a relative path in its instance folder.",
        ),
        (
            None,
            {},
            "Invalid store_uri of Checker: a value of type NoneType. Expected the URL of a"
            " Redis server or of a database.",
        ),
        (
            "redis://localhost",
            {"table_name": "a b"},
            "Invalid table_name of Checker: 'a b'. Expected 1 to 40 ASCII letters, digits"
            " and underscores, the first of them not a digit.",
        ),
        (
            "redis://localhost",
            {"timeout": 0},
            "Invalid timeout of Checker: 0. Expected a timedelta or a number of seconds,"
            " more than 0 and at most 3600.",
        ),
        (
            "redis://localhost",
            {"timeout": "2"},
            "Invalid timeout of Checker: '2'. Expected a timedelta or a number of seconds,"
            " more than 0 and at most 3600.",
        ),
        (
            "redis://localhost",
            {"max_staleness": -1},
            "Invalid max_staleness of Checker: -1. Expected a timedelta or a number of"
            " seconds, 0 or more and at most 31536000000.",
        ),
    ],
)
def test_wrong_arguments(uri: t.Any, options: t.Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Checker(uri, **options)
    assert str(caught.value) == message


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        Checker("nonsense://user:secret@host/db")
    assert "secret" not in str(caught.value)


def test_the_page_about_other_services(
    app: Flask, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URI", uri)
    monkeypatch.setenv("JWT_SECRET_KEY", app.config["JWT_SECRET_KEY"])
    names = run("howto/other-services.rst")
    pair, ended = log_in(app), log_in(app)
    assert log_out(app.test_client(), ended).status_code == 200
    claims = claims_of(pair.access)

    def ask(token: str) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(names["api"])
            url = "http://service"
            async with httpx.AsyncClient(transport=transport, base_url=url) as client:
                return await client.get("/me", headers=bearer(token))

        return asyncio.run(send())

    assert ask(pair.access).json() == {"identity": "ada"}
    others = [ended.access, pair.refresh, tampered(pair.access), "x"]
    others += [expired(app).access, encode(app, sub="ada")]
    for token in others:
        response = ask(token)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert names["export"](claims) == "exported the data of ada"
    done = names["export"](claims_of(ended.access))
    assert done == "skipped: the user has logged out"
    read = names["checker"]
    monkeypatch.setitem(names, "checker", Checker(f"redis://127.0.0.1:{free_port()}"))
    response = ask(pair.access)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    read.close()
