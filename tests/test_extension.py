"""Initializing apps: the order, mistakes, and what must not change."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask import request
from flask_jwt_extended import create_access_token
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy
from werkzeug.exceptions import HTTPException

import flask_logout
from flask_logout import ConfigError
from flask_logout import LogoutExtension

from .conftest import add_routes
from .conftest import dispose
from .conftest import MakeApp
from .conftest import SECRET
from .tokens import bearer
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import tampered

REPLACED = (
    "Revocation is disabled, because a JWTManager or a token_in_blocklist_loader that"
    " was set after LogoutExtension replaced its loader. Create the JWTManager and set its"
    " loaders before LogoutExtension. Your own loader is then called as well."
)


@pytest.fixture
def bare(tmp_path: Path) -> t.Iterator[Flask]:
    """An app without any extension, configured for an embedded database."""
    app = Flask("tests", instance_path=str(tmp_path / "instance"))
    app.config.update(JWT_SECRET_KEY=SECRET, TESTING=True)
    yield app
    if "sqlalchemy" in app.extensions:
        dispose(app)


def assert_logs_out(app: Flask) -> None:
    """Check that a pair is accepted, logs out, and is then rejected."""
    pair, client = make_pair(app), app.test_client()
    assert get_status(client, pair) == (200, 200)
    assert log_out(client, pair).data == LOGGED_OUT
    assert get_status(client, pair) == (401, 401)


def test_an_app_without_other_extensions_can_log_out(bare: Flask) -> None:
    LogoutExtension(bare)
    add_routes(bare)
    assert Path(bare.instance_path, "logout.db").exists()
    assert_logs_out(bare)


def test_init_app_creates_no_table_in_the_apps_database(
    bare: Flask, tmp_path: Path
) -> None:
    bare.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.db'}"
    db = SQLAlchemy(bare)
    LogoutExtension(bare)
    add_routes(bare)
    with bare.app_context():
        assert sa.inspect(db.engine).get_table_names() == []
        db.create_all()
    assert_logs_out(bare)


@pytest.mark.parametrize("is_embedded", [True, False])
def test_an_existing_jwt_manager_is_used(bare: Flask, is_embedded: bool) -> None:
    if not is_embedded:
        SQLAlchemy_for(bare)
    jwt = JWTManager(bare)
    LogoutExtension(bare)
    assert bare.extensions["flask-jwt-extended"] is jwt


def SQLAlchemy_for(app: Flask) -> SQLAlchemy:
    """Configure a database in memory."""
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    return SQLAlchemy(app)


def test_the_factory_pattern(tmp_path: Path) -> None:
    db, jwt, logout = SQLAlchemy(), JWTManager(), LogoutExtension()
    apps = []
    for name in ("one", "two"):
        app = Flask("tests")
        app.config.update(JWT_SECRET_KEY=SECRET, TESTING=True)
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / name}.db"
        db.init_app(app)
        jwt.init_app(app)
        logout.init_app(app)
        add_routes(app)
        with app.app_context():
            db.create_all()
        apps.append(app)
    one, two = apps
    pair = make_pair(one)
    assert log_out(one.test_client(), pair).data == LOGGED_OUT
    assert get_status(one.test_client(), pair) == (401, 401)
    assert get_status(two.test_client(), pair) == (200, 200)
    assert_logs_out(two)
    for app in apps:
        dispose(app)


def test_a_jwt_manager_may_be_shared_with_an_app_without_the_extension(
    make_app: MakeApp, tmp_path: Path
) -> None:
    app = make_app()
    other = Flask("other")
    other.config.update(JWT_SECRET_KEY=SECRET)
    app.extensions["flask-jwt-extended"].init_app(other)
    add_routes(other)
    assert get_status(other.test_client(), make_pair(other)) == (200, 200)


def test_initializing_an_app_twice_is_an_error(bare: Flask) -> None:
    logout = LogoutExtension(bare)
    for again in (logout.init_app, LogoutExtension):
        with pytest.raises(RuntimeError) as caught:
            again(bare)
        assert str(caught.value) == (
            "This app already has a LogoutExtension. Initialize it only once."
        )


def test_using_the_api_without_init_app_is_an_error(bare: Flask) -> None:
    with bare.app_context(), pytest.raises(ConfigError) as caught:
        LogoutExtension().purge()
    assert str(caught.value) == (
        "The current app has no LogoutExtension. Call init_app(app) first."
    )


def test_a_jwt_manager_created_later_is_an_error(bare: Flask) -> None:
    LogoutExtension(bare)
    JWTManager(bare)
    add_routes(bare)
    with pytest.raises(ConfigError) as caught:
        bare.test_client().get("/open")
    assert str(caught.value) == REPLACED


def test_a_loader_set_later_is_an_error(make_app: MakeApp) -> None:
    app = make_app()
    loader = app.extensions["flask-jwt-extended"].token_in_blocklist_loader
    loader(lambda header, claims: False)
    with pytest.raises(ConfigError) as caught:
        app.test_client().get("/open")
    assert str(caught.value) == REPLACED
    app.config["TESTING"] = False
    for _ in range(2):
        assert app.test_client().get("/open").status_code == 500


def test_logout_fails_if_a_loader_is_set_after_the_first_request(
    make_app: MakeApp,
) -> None:
    app = make_app()
    client, pair = app.test_client(), make_pair(app)
    assert client.get("/open").status_code == 200
    loader = app.extensions["flask-jwt-extended"].token_in_blocklist_loader
    loader(lambda header, claims: False)
    with pytest.raises(ConfigError) as caught:
        log_out(client, pair)
    assert str(caught.value) == REPLACED


def test_a_loader_set_earlier_is_called_as_well(bare: Flask) -> None:
    jwt = JWTManager(bare)
    banned: list[str] = []

    @jwt.token_in_blocklist_loader
    def is_banned(header: dict[str, t.Any], claims: dict[str, t.Any]) -> bool:
        return claims["sub"] in banned

    LogoutExtension(bare)
    add_routes(bare)
    pair = make_pair(bare)
    assert_logs_out(bare)
    assert get_status(bare.test_client(), pair) == (200, 200)
    banned.append("ada")
    assert get_status(bare.test_client(), pair) == (401, 401)


class AsyncLoader:
    """A loader that is an object with a coroutine method."""

    async def __call__(self, header: object, claims: object) -> bool:
        """Reject no token."""
        return False


@pytest.mark.parametrize("is_object", [True, False])
def test_an_async_loader_is_rejected(bare: Flask, is_object: bool) -> None:
    async def is_revoked(header: object, claims: object) -> bool:
        return False

    loader: t.Any = AsyncLoader() if is_object else is_revoked
    JWTManager(bare).token_in_blocklist_loader(loader)
    with pytest.raises(ConfigError) as caught:
        LogoutExtension(bare)
    assert str(caught.value) == (
        "The app's token_in_blocklist_loader is a coroutine function. Flask-JWT-Extended"
        " doesn't await it, so it would reject every token. Define it with def instead of"
        " async def."
    )


def test_an_unknown_bind_key_is_an_error(bare: Flask) -> None:
    bare.config["LOGOUT_BIND_KEY"] = "auth"
    SQLAlchemy_for(bare)
    with pytest.raises(ConfigError) as caught:
        LogoutExtension(bare)
    assert str(caught.value) == (
        "Invalid LOGOUT_BIND_KEY: 'auth'. Expected a key of SQLALCHEMY_BINDS, or None for"
        " the default database."
    )


def test_an_unsupported_database_is_an_error(bare: Flask) -> None:
    bare.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    bare.config["LOGOUT_BIND_KEY"] = "old"
    db = SQLAlchemy(bare)
    with bare.app_context():
        odd = sa.create_engine("sqlite://")
        odd.dialect.name = "mssql"
        db._app_engines[bare]["old"] = odd
        db.metadatas["old"] = sa.MetaData()
    with pytest.raises(ConfigError) as caught:
        LogoutExtension(bare)
    assert str(caught.value) == (
        "Unsupported database: mssql. Expected one of cockroachdb, mariadb, mysql,"
        " postgresql, sqlite. Set LOGOUT_BIND_KEY or LOGOUT_STORE_URI to a supported"
        " database."
    )


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"JWT_TOKEN_LOCATION": ["cookies", "headers"]},
        {"JWT_TOKEN_LOCATION": ["json", "query_string"]},
        {"JWT_HEADER_NAME": "X-Auth", "JWT_HEADER_TYPE": ""},
        {"JWT_ERROR_MESSAGE_KEY": "detail"},
        {"JWT_DECODE_AUDIENCE": "app"},
        {"PROPAGATE_EXCEPTIONS": False, "TESTING": False},
    ],
    ids=lambda config: ",".join(config),
)
def test_other_routes_keep_their_responses(
    make_app: MakeApp, config: dict[str, t.Any]
) -> None:
    plain = Flask("tests")
    plain.config.update(JWT_SECRET_KEY=SECRET, **{"TESTING": True, **config})
    JWTManager(plain)
    add_routes(plain)
    app = make_app(**config)
    good = make_pair(app)
    headers: list[dict[str, str]] = [
        {},
        bearer(good.access),
        bearer(good.refresh),
        bearer(tampered(good.access)),
        bearer("x"),
        {"Authorization": "Bearer x y"},
        {"X-Auth": good.access},
        {"Cookie": f"access_token_cookie={good.access}"},
    ]
    requests = [
        (method, path, header)
        for method in ("GET", "POST", "OPTIONS", "HEAD", "DELETE")
        for path in ("/me", "/refresh", "/open", "/missing", "/auth", "/auth/login")
        for header in headers
    ]
    for method, path, header in requests:
        ours, theirs = (
            x.test_client().open(path, method=method, headers=header)
            for x in (app, plain)
        )
        assert ours.status_code == theirs.status_code
        assert ours.data == theirs.data
        assert dict(ours.headers) == dict(theirs.headers)


def test_the_apps_error_handlers_still_handle_its_own_routes(make_app: MakeApp) -> None:
    app = make_app()
    app.register_error_handler(413, lambda e: ("app", 413))
    app.register_error_handler(Exception, lambda e: ("app", 500))
    app.register_error_handler(HTTPException, lambda e: ("app", e.code))

    @app.post("/upload")
    def upload() -> str:
        return str(len(request.get_data()))

    app.config["MAX_CONTENT_LENGTH"] = 5
    pair, client = make_pair(app), app.test_client()
    assert client.post("/upload", data="x" * 9).data == b"app"
    assert log_out(client, pair).get_json()["message"] == "content too large"
    assert client.get("/auth/logout").data == b"app"
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()
    assert client.get("/me", headers=bearer(pair.access)).status_code == 503


PREFIX_ERRORS = [
    ("GET", "/auth/logout", 405, "method not allowed"),
    ("GET", "/auth/nothing", 404, "not found"),
]


@pytest.mark.parametrize(("method", "path", "code", "message"), PREFIX_ERRORS)
def test_app_wide_errors_include_404_and_405_under_the_prefix(
    make_app: MakeApp, method: str, path: str, code: int, message: str
) -> None:
    app = make_app(LOGOUT_APP_WIDE_ERRORS=True)
    response = app.test_client().open(path, method=method)
    assert response.status_code == code
    expected = f'{{"code":{code},"message":"{message}","data":{{}}}}'
    assert response.get_data(as_text=True) == expected
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    if code == 405:
        assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


def test_app_wide_errors_exclude_other_paths(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_APP_WIDE_ERRORS=True)
    client = app.test_client()
    assert client.get("/authors").content_type.startswith("text/html")
    assert client.delete("/me").status_code == 405
    app = make_app(LOGOUT_APP_WIDE_ERRORS=True)
    app.register_error_handler(HTTPException, lambda e: ("general", e.code))
    client = app.test_client()
    assert client.get("/authors").data == b"general"
    assert client.get("/auth/x").get_json()["code"] == 404


def test_app_wide_errors_call_a_handler_set_earlier(bare: Flask) -> None:
    bare.config["LOGOUT_APP_WIDE_ERRORS"] = True
    bare.config["LOGOUT_URL_PREFIX"] = ""
    bare.register_error_handler(404, lambda e: ("app", 404))
    LogoutExtension(bare)
    client = bare.test_client()
    assert client.get("/x").data == b"app"
    assert client.get("/logout").get_json()["code"] == 405
    assert client.get("/logout/x").get_json()["code"] == 404


def test_app_wide_errors_include_jwt_errors(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_APP_WIDE_ERRORS=True)
    pair, client = make_pair(app), app.test_client()
    for header, challenge in (
        ({}, "Bearer"),
        (
            bearer(pair.refresh),
            'Bearer error="invalid_token",'
            ' error_description="Only non-refresh tokens are allowed"',
        ),
        (
            bearer(tampered(pair.access)),
            'Bearer error="invalid_token",'
            ' error_description="Signature verification failed"',
        ),
    ):
        response = client.get("/me", headers=header)
        assert response.status_code == 401
        expected = b'{"code":401,"message":"invalid token","data":{}}'
        assert response.data == expected
        assert response.headers["WWW-Authenticate"] == challenge


def test_a_description_cannot_break_out_of_the_header(make_app: MakeApp) -> None:
    app = make_app(JWT_DECODE_AUDIENCE="app")
    response = log_out(app.test_client(), make_pair(app))
    assert response.headers["WWW-Authenticate"] == (
        'Bearer error="invalid_token",'
        " error_description=\"Token is missing the 'aud' claim\""
    )


def test_the_public_names_can_be_imported() -> None:
    for name in flask_logout.__all__:
        assert getattr(flask_logout, name).__name__ if name[0].isupper() else True
    assert flask_logout.session_claims()["sid"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        flask_logout.nothing  # noqa: B018


def test_a_token_issued_before_init_app_is_revoked(bare: Flask) -> None:
    JWTManager(bare)
    with bare.app_context():
        token = create_access_token("ada")
    logout = LogoutExtension(bare)
    add_routes(bare)
    client = bare.test_client()
    assert client.get("/me", headers=bearer(token)).status_code == 200
    with bare.app_context():
        logout.revoke_user("ada")
    assert client.get("/me", headers=bearer(token)).status_code == 401


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "JWT_DECODE_LEEWAY",
            "Invalid JWT_DECODE_LEEWAY: '10'. Expected a timedelta or a number of"
            " seconds, from 0 to 365000 days.",
        ),
        (
            "JWT_REFRESH_TOKEN_EXPIRES",
            "Invalid JWT_REFRESH_TOKEN_EXPIRES: '10'. Expected a timedelta or a whole"
            " number of seconds, from 0 to 365000 days, or False for tokens that never"
            " expire.",
        ),
    ],
)
def test_a_jwt_setting_of_the_wrong_type_is_an_error(
    bare: Flask, key: str, message: str
) -> None:
    bare.config[key] = "10"
    with pytest.raises(ConfigError) as caught:
        LogoutExtension(bare)
    assert str(caught.value) == message
