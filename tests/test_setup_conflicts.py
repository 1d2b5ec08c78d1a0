"""Conflicts with an app's own blueprints, commands, routes, and frameworks."""

from __future__ import annotations

import typing as t
import warnings
from pathlib import Path

import pytest
from flask import Blueprint
from flask import Flask
from flask.cli import AppGroup
from flask_jwt_extended import JWTManager
from flask_jwt_extended.exceptions import RevokedTokenError
from flask_sqlalchemy import SQLAlchemy
from werkzeug.routing import Rule

from flask_logout import ConfigError
from flask_logout import LogoutExtension

from .commands import find_problems
from .conftest import dispose
from .conftest import MakeApp
from .conftest import SECRET
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

with warnings.catch_warnings():
    # On import, both use names that their dependencies have deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import flask_restful
    import flask_restx


def shadowed(
    endpoint: str, path: str = "/auth/logout", *, call: str = "logout.log_out()"
) -> str:
    """Return the message about two routes with the same URL."""
    return (
        f"Two routes handle POST {path}: that of Flask-Logout, and the endpoint"
        f" '{endpoint}' of this app. Flask calls only one of them. Remove your route or"
        " change LOGOUT_URL_PREFIX. To keep your route, remove the name of the other one"
        f" from LOGOUT_ENDPOINTS and call {call} in yours."
    )


COMMAND_TAKEN = (
    "This app already has a command named 'logout', and Flask-Logout needs that name."
    " Rename your command."
)


@pytest.fixture
def bare(tmp_path: Path) -> t.Iterator[Flask]:
    """Make an app with a database, but without the extension."""
    app = Flask("tests", instance_path=str(tmp_path))
    app.config.update(JWT_SECRET_KEY=SECRET, TESTING=True)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.db'}"
    db = SQLAlchemy(app)
    JWTManager(app)
    yield app
    with app.app_context():
        db.drop_all()
    dispose(app)


def set_up(app: Flask) -> None:
    """Add the extension and create its table."""
    LogoutExtension(app)
    with app.app_context():
        app.extensions["sqlalchemy"].create_all()


def goodbye() -> str:
    """Respond without revoking anything."""
    return "goodbye"


def add_own(app: Flask) -> None:
    """Add the app's own logout route."""
    app.add_url_rule("/auth/logout", "own", goodbye, methods=["GET", "POST"])


def add_redirect(app: Flask) -> None:
    """Add a route that redirects from the endpoint's URL."""
    app.url_map.add(Rule("/auth/logout", redirect_to="/bye", endpoint="own"))


def assert_rejected(app: Flask, message: str) -> None:
    """Assert that requests and ``flask logout check`` report the problem."""
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            app.test_client().get("/")
        assert str(caught.value) == message
    assert find_problems(app) == {"route": message}


@pytest.mark.parametrize("is_first", [True, False])
def test_a_second_logout_route_is_rejected(bare: Flask, is_first: bool) -> None:
    steps = [add_own, set_up] if is_first else [set_up, add_own]
    for step in steps:
        step(bare)
    assert_rejected(bare, shadowed("own"))


def test_a_redirect_from_the_endpoints_url_is_rejected(bare: Flask) -> None:
    add_redirect(bare)
    set_up(bare)
    assert_rejected(bare, shadowed("(redirect)"))


def test_a_blueprint_route_with_the_endpoints_url_is_rejected(bare: Flask) -> None:
    bare.config["LOGOUT_URL_PREFIX"] = ""
    auth = Blueprint("auth", __name__)
    auth.add_url_rule("/logout", "leave", goodbye, methods=["POST"])
    bare.register_blueprint(auth)
    set_up(bare)
    assert_rejected(bare, shadowed("auth.leave", "/logout"))


@pytest.mark.parametrize("is_first", [True, False])
def test_a_route_with_the_url_of_another_endpoint_is_rejected(
    bare: Flask, is_first: bool
) -> None:
    bare.config["LOGOUT_ENDPOINTS"] = {"logout", "logout_all"}

    def add(app: Flask) -> None:
        app.add_url_rule("/auth/logout/all", "own", goodbye, methods=["POST"])

    for step in [add, set_up] if is_first else [set_up, add]:
        step(bare)
    call = "logout.log_out_everywhere()"
    assert_rejected(bare, shadowed("own", "/auth/logout/all", call=call))


@pytest.mark.parametrize("is_first", [True, False])
def test_the_name_of_a_placeholder_does_not_matter(bare: Flask, is_first: bool) -> None:
    bare.config["LOGOUT_ENDPOINTS"] = {"logout"}
    rules = [("/auth/things/<key>", "own"), ("/auth/things/<id>", "logout.things")]
    set_up(bare)
    for rule, endpoint in rules if is_first else rules[::-1]:
        bare.add_url_rule(rule, endpoint, goodbye, methods=["DELETE"])
    with pytest.raises(ConfigError) as caught:
        bare.test_client().get("/")
    message = shadowed(
        "own", "/auth/things/<id>", call="the methods of LogoutExtension"
    )
    assert str(caught.value) == message.replace("POST", "DELETE")


def test_a_disabled_endpoint_has_no_conflicts(bare: Flask) -> None:
    bare.add_url_rule("/auth/logout/all", "own", goodbye, methods=["POST"])
    set_up(bare)
    assert find_problems(bare) == {}


def test_similar_routes_are_accepted(bare: Flask) -> None:
    bare.add_url_rule("/auth/logout", "page", goodbye)
    bare.add_url_rule("/auth/<path:rest>", "rest", goodbye, methods=["POST"])
    bare.add_url_rule(
        "/auth/logout/", "slash", goodbye, methods=["POST"], strict_slashes=False
    )
    set_up(bare)
    client = bare.test_client()
    assert log_out(client, make_pair(bare)).data == LOGGED_OUT
    assert client.get("/auth/logout").data == b"goodbye"
    assert find_problems(bare) == {}


def test_host_matching_is_accepted(tmp_path: Path) -> None:
    app = Flask("tests", host_matching=True, static_folder=None)
    app.config.update(JWT_SECRET_KEY=SECRET, TESTING=True)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.db'}"
    SQLAlchemy(app)
    set_up(app)
    app.add_url_rule("/", "page", goodbye, host="localhost")
    assert app.test_client().get("/").status_code == 200
    dispose(app)


def test_an_earlier_blueprint_named_logout_is_rejected(bare: Flask) -> None:
    bare.register_blueprint(Blueprint("logout", "elsewhere"))
    with pytest.raises(ConfigError) as caught:
        LogoutExtension(bare)
    assert str(caught.value) == (
        "This app already has a blueprint named 'logout', and Flask-Logout needs that"
        " name. Rename your blueprint."
    )


def test_flask_rejects_a_later_blueprint_named_logout(bare: Flask) -> None:
    set_up(bare)
    with pytest.raises(ValueError, match="'logout' is already registered"):
        bare.register_blueprint(Blueprint("logout", "elsewhere"))


def test_an_earlier_command_named_logout_is_rejected(bare: Flask) -> None:
    bare.cli.add_command(AppGroup("logout"))
    with pytest.raises(ConfigError) as caught:
        LogoutExtension(bare)
    assert str(caught.value) == COMMAND_TAKEN


def test_a_later_command_named_logout_is_rejected(bare: Flask) -> None:
    set_up(bare)
    bare.cli.add_command(AppGroup("logout"))
    with pytest.raises(ConfigError) as caught:
        bare.test_client().get("/")
    assert str(caught.value) == COMMAND_TAKEN


@pytest.mark.parametrize("key", ["SQLALCHEMY_DATABASE_URI", "SQLALCHEMY_BINDS"])
def test_creating_the_database_after_the_extension_is_rejected(key: str) -> None:
    app = Flask("tests")
    app.config[key] = {"auth": "sqlite://"} if key.endswith("BINDS") else "sqlite://"
    with pytest.raises(ConfigError) as caught:
        LogoutExtension(app)
    assert str(caught.value) == (
        f"{key} is set, but this app has no SQLAlchemy object yet. Create it first: call"
        " db.init_app(app) or SQLAlchemy(app) before LogoutExtension."
    )
    app.config["LOGOUT_BIND_KEY"] = "auth" if key.endswith("BINDS") else None
    SQLAlchemy(app)
    LogoutExtension(app)
    dispose(app)


def five_hundred(names: str) -> dict[str, str]:
    """Return the finding about frameworks that hide the 401."""
    return {
        "error responses": f"With {names}, the response to a revoked token, or to any"
        " other invalid one, is a 500 instead of a 401. Set PROPAGATE_EXCEPTIONS to True,"
        " so that the error handlers of Flask-JWT-Extended are called."
    }


def test_frameworks_that_hide_the_401_are_reported(make_app: MakeApp) -> None:
    app = make_app()
    flask_restful.Api(app)
    assert find_problems(app) == five_hundred("flask-restful")
    flask_restx.Api(app, doc=False)
    assert find_problems(app) == five_hundred("flask-restful and flask-restx")
    app.config["PROPAGATE_EXCEPTIONS"] = True
    assert find_problems(app) == {}


def test_frameworks_with_a_handler_for_revoked_tokens_are_accepted(
    make_app: MakeApp,
) -> None:
    app = make_app()
    flask_restful.Api(app, errors={"RevokedTokenError": {"status": 401}})
    api = flask_restx.Api(app, doc=False)
    api.errorhandler(RevokedTokenError)(lambda error: ({}, 401))
    assert find_problems(app) == {}
