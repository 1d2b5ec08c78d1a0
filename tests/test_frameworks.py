"""Frameworks that handle errors themselves keep the 503, their 401, and the endpoint."""

from __future__ import annotations

import typing as t
import warnings

import pytest
from apiflask import APIFlask
from flask import Blueprint
from flask import Flask
from flask_jwt_extended import get_jwt_identity
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from flask_smorest import Api as SmorestApi
from flask_smorest import Blueprint as SmorestBlueprint
from flask_sqlalchemy import SQLAlchemy
from werkzeug.exceptions import HTTPException

from flask_logout import LogoutExtension
from flask_logout import StoreUnavailableError

from .conftest import dispose
from .conftest import SECRET
from .tokens import bearer
from .tokens import get_status
from .tokens import INVALID_TOKEN
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

with warnings.catch_warnings():
    # Both use deprecated names of other packages when they are imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    import flask_restful
    import flask_restx

logout = LogoutExtension()

UNAVAILABLE = {"code": 503, "message": "service unavailable", "data": {}}
REVOKED = {"msg": "Token has been revoked"}

Add = t.Callable[[Flask], object]


@jwt_required()
def me() -> dict[str, t.Any]:
    """Return the identity of an access token."""
    return {"identity": get_jwt_identity()}


@jwt_required(refresh=True)
def refresh() -> dict[str, t.Any]:
    """Return the identity of a refresh token."""
    return {"identity": get_jwt_identity()}


@jwt_required()
def revoke_me() -> dict[str, t.Any]:
    """Log the caller out everywhere."""
    logout.revoke_user(get_jwt_identity())
    return {}


def add_flask(app: Flask) -> None:
    """Add the routes to a Flask app that has a handler for every exception."""

    @app.errorhandler(Exception)
    def fail(error: Exception) -> tuple[str, int]:
        code = error.code if isinstance(error, HTTPException) else None
        return "caught", code or 500

    add_rules(app)


def add_rules(target: Flask | Blueprint) -> None:
    """Add the routes as plain views."""
    target.add_url_rule("/me", view_func=me)
    target.add_url_rule("/refresh", view_func=refresh, methods=["POST"])
    target.add_url_rule("/revoke-me", view_func=revoke_me, methods=["POST"])


def add_restx(app: Flask) -> None:
    """Add the routes as resources of flask-restx."""
    add_resources(flask_restx.Api(app), flask_restx.Resource)


def add_restful(app: Flask) -> None:
    """Add the routes as resources of Flask-RESTful."""
    add_resources(flask_restful.Api(app), flask_restful.Resource)


def add_resources(api: t.Any, base: t.Any) -> None:
    """Add the routes as resources of either framework."""

    class Me(base):  # type: ignore[misc]
        def get(self) -> dict[str, t.Any]:
            return t.cast(dict[str, t.Any], me())

    class Refresh(base):  # type: ignore[misc]
        def post(self) -> dict[str, t.Any]:
            return t.cast(dict[str, t.Any], refresh())

    class RevokeMe(base):  # type: ignore[misc]
        def post(self) -> dict[str, t.Any]:
            return t.cast(dict[str, t.Any], revoke_me())

    api.add_resource(Me, "/me")
    api.add_resource(Refresh, "/refresh")
    api.add_resource(RevokeMe, "/revoke-me")


def add_smorest(app: Flask) -> None:
    """Add the routes to a blueprint of flask-smorest."""
    app.config.update(API_TITLE="t", API_VERSION="1", OPENAPI_VERSION="3.0.3")
    api = SmorestApi(app)
    routes = SmorestBlueprint("routes", __name__)
    add_rules(routes)
    api.register_blueprint(routes)


FRAMEWORKS: dict[str, tuple[type[Flask], Add]] = {
    "flask": (Flask, add_flask),
    "restx": (Flask, add_restx),
    "restful": (Flask, add_restful),
    "smorest": (Flask, add_smorest),
    "apiflask": (APIFlask, add_rules),
}


class Make(t.Protocol):
    """Makes an app of a framework, with neither testing nor debugging enabled."""

    def __call__(self, name: str, **config: t.Any) -> Flask: ...


@pytest.fixture
def make(tmp_path: t.Any) -> t.Iterator[Make]:
    """Make apps on a SQLite file."""
    made: list[Flask] = []

    def make(name: str, **config: t.Any) -> Flask:
        kind, add = FRAMEWORKS[name]
        app = kind("tests", instance_path=str(tmp_path))
        app.config.update(JWT_SECRET_KEY=SECRET, **config)
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.db'}"
        db = SQLAlchemy(app)
        JWTManager(app)
        logout.init_app(app)
        add(app)
        with app.app_context():
            db.create_all()
        made.append(app)
        return app

    yield make
    for app in made:
        dispose(app)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_an_unavailable_store_returns_503(make: Make, name: str) -> None:
    app = make(name)
    pair, client = make_pair(app), app.test_client()
    assert get_status(client, pair) == (200, 200)
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()
    for response in (
        client.get("/me", headers=bearer(pair.access)),
        client.post("/refresh", headers=bearer(pair.refresh)),
        client.post("/revoke-me", headers=bearer(pair.access)),
        log_out(client, pair),
    ):
        assert (response.status_code, response.get_json()) == (503, UNAVAILABLE)
        assert response.content_type == "application/json"
        assert response.headers.getlist("Retry-After") == ["5"]
        assert response.headers.getlist("Cache-Control") == ["no-store"]
        assert response.content_length == len(response.data)


def test_a_blueprints_error_handler_does_not_replace_the_503(make: Make) -> None:
    app = make("flask")
    routes = Blueprint("routes", __name__, url_prefix="/v2")
    routes.register_error_handler(Exception, lambda error: ("caught", 500))
    add_rules(routes)
    app.register_blueprint(routes)
    pair, client = make_pair(app), app.test_client()
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()
    response = client.get("/v2/me", headers=bearer(pair.access))
    assert (response.status_code, response.get_json()) == (503, UNAVAILABLE)
    assert response.headers["Retry-After"] == "5"


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_logout_works_and_revoked_tokens_return_401(make: Make, name: str) -> None:
    config = {"PROPAGATE_EXCEPTIONS": True} if name.startswith("rest") else {}
    app = make(name, **config)
    pair, client = make_pair(app), app.test_client()
    response = log_out(client, pair)
    assert (response.status_code, response.data) == (200, LOGGED_OUT)
    for response in (
        client.get("/me", headers=bearer(pair.access)),
        client.post("/refresh", headers=bearer(pair.refresh)),
    ):
        assert (response.status_code, response.get_json()) == (401, REVOKED)
    response = log_out(client, pair)
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)


def test_an_app_can_handle_store_unavailable_error_itself(make: Make) -> None:
    app = make("smorest")
    app.register_error_handler(StoreUnavailableError, lambda error: ("own", 503))
    pair, client = make_pair(app), app.test_client()
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()
    assert client.get("/me", headers=bearer(pair.access)).data == b"own"
