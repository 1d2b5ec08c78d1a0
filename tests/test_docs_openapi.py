"""The page about OpenAPI makes the frameworks show the endpoint."""

from __future__ import annotations

import typing as t
import warnings
from pathlib import Path

import pytest
from apiflask import APIFlask
from flask import Blueprint
from flask import Flask
from openapi_schema_validator import OAS30Validator
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV2SpecValidator
from openapi_spec_validator import OpenAPIV30SpecValidator
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator import validate
from werkzeug.test import TestResponse

from flask_logout import LogoutExtension
from flask_logout import openapi

from .conftest import dispose
from .conftest import SECRET
from .pages import blocks
from .tokens import bearer
from .tokens import log_out
from .tokens import make_pair

with warnings.catch_warnings():
    # On import, both use names that other packages have deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import flask_restx
    import flask_smorest

Json = dict[str, t.Any]
Version = t.Literal["3.0", "3.1"]

APISPEC, SMOREST, APIFLASK, RESTX, OWN_SCHEME = blocks("howto/openapi.rst", "python")

# Of the document: how its version begins, what validates it, and what its schemas.
DIALECTS: dict[str, tuple[t.Any, t.Any]] = {
    "2.0": (OpenAPIV2SpecValidator, OAS30Validator),
    "3.0": (OpenAPIV30SpecValidator, OAS30Validator),
    "3.1": (OpenAPIV31SpecValidator, OAS31Validator),
}


class Make(t.Protocol):
    """Make an app with the extension."""

    def __call__(self, kind: type[Flask] = Flask, **config: t.Any) -> Flask: ...


@pytest.fixture
def make(tmp_path: Path) -> t.Iterator[Make]:
    """Make apps on a SQLite file."""
    made: list[Flask] = []

    def make(kind: type[Flask] = Flask, **config: t.Any) -> Flask:
        app = kind("tests", instance_path=str(tmp_path))
        app.config.update(JWT_SECRET_KEY=SECRET, **config)
        LogoutExtension(app)
        made.append(app)
        return app

    yield make
    for app in made:
        dispose(app)


def run_block(block: str, app: Flask, **more: t.Any) -> dict[str, t.Any]:
    """Run a block of the page, as a module that has an app."""
    names: dict[str, t.Any] = {"__name__": "myapp", "app": app, **more}
    exec(compile(block, "howto/openapi.rst", "exec"), names)
    return names


def load(app: Flask, path: str) -> tuple[str, Json]:
    """Fetch the document of an app, which must be valid, and its version."""
    document = t.cast(Json, app.test_client().get(path).get_json())
    version = (document.get("swagger") or document["openapi"])[:3]
    validate(document, cls=DIALECTS[version][0])
    return version, document


def get_responses(app: Flask, url: str = "/auth/logout") -> list[TestResponse]:
    """Get real responses: a missing refresh token, a logout, a revoked token."""
    client, pair = app.test_client(), make_pair(app)
    found = [
        client.post(url, headers=bearer(pair.access)),
        log_out(client, pair, url),
        log_out(client, pair, url),
    ]
    assert [response.status_code for response in found] == [400, 200, 401]
    return found


def check_merged(app: Flask, path: str) -> Json:
    """Check that the document of an app contains all of ours; return it."""
    version, document = load(app, path)
    ours = openapi(version=t.cast(Version, version))
    assert document["paths"].items() >= ours["paths"].items()
    for kind, named in ours["components"].items():
        assert document["components"][kind].items() >= named.items()
    responses = document["paths"]["/auth/logout"]["post"]["responses"]
    for response in get_responses(app):
        said = responses[str(response.status_code)]["content"][response.content_type]
        whole = {"allOf": [said["schema"]], "components": document["components"]}
        validator = DIALECTS[version][1](whole)
        assert [*validator.iter_errors(response.get_json())] == []
    return document


def test_apispec_shows_logout(make: Make) -> None:
    app = make()
    spec = run_block(APISPEC, app)["spec"]
    spec.components.schema("Pet", {"type": "object"})
    responses = {"204": {"description": "fed"}}
    spec.path("/pets", operations={"post": {"responses": responses}})
    document = check_merged(app, "/openapi.json")
    assert document["paths"]["/pets"] == {"post": {"responses": responses}}
    assert document["components"]["schemas"]["Pet"] == {"type": "object"}


def add_pets(api: t.Any) -> None:
    """Add a route of flask-smorest."""
    pets = flask_smorest.Blueprint("pets", __name__)
    pets.route("/pets")(pets.response(204)(lambda: None))
    api.register_blueprint(pets)


def test_flask_smorest_shows_logout(make: Make) -> None:
    app = make()
    add_pets(run_block(SMOREST, app)["api"])
    document = check_merged(app, "/openapi.json")
    assert "204" in document["paths"]["/pets"]["get"]["responses"]
    assert "DEFAULT_ERROR" in document["components"]["responses"]


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_apiflask_shows_logout(make: Make, version: str) -> None:
    app = make(APIFlask, OPENAPI_VERSION=version)
    run_block(APIFLASK, app)
    app.add_url_rule("/pets", view_func=lambda: {}, endpoint="pets")
    document = check_merged(app, "/openapi.json")
    assert document["openapi"] == version
    assert "/pets" in document["paths"]


def add_resource(api: t.Any) -> None:
    """Add a route of flask-restx, with a model and a security scheme."""
    pet = api.model("Pet", {"name": flask_restx.fields.String})
    api.authorizations = {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}}

    class Pets(flask_restx.Resource):  # type: ignore[misc]
        @api.marshal_with(pet)
        def get(self) -> Json:
            return {}

    api.add_resource(Pets, "/pets")


def check_restx(app: Flask, path: str, url: str, shown: str) -> None:
    """Check that a document of flask-restx shows the endpoint, and what it can't say."""
    _, document = load(app, path)
    assert [*document["paths"]] == ["/pets", shown]
    operation = document["paths"][shown]["post"]
    assert operation["security"] == [{"LogoutAccessToken": []}]
    assert [*document["securityDefinitions"]] == ["key", "LogoutAccessToken"]
    ours = openapi(version="3.0")
    assert {*document["definitions"]} == {"Pet", *ours["components"]["schemas"]}
    assert [*operation["responses"]] == ["200", "400", "401", "413", "503"]
    assert operation["responses"]["400"]["schema"] == {"type": "object"}
    for response in get_responses(app, url):
        said = operation["responses"][str(response.status_code)]
        whole = {"allOf": [said["schema"]], "definitions": document["definitions"]}
        assert [*OAS30Validator(whole).iter_errors(response.get_json())] == []
    (body,) = operation["parameters"]
    assert (body["in"], body["required"]) == ("body", True)
    whole = {"allOf": [body["schema"]], "definitions": document["definitions"]}
    assert [*OAS30Validator(whole).iter_errors({"refresh_token": "a.b.c"})] == []
    assert [*OAS30Validator(whole).iter_errors({})] != []


def test_flask_restx_shows_logout(make: Make) -> None:
    app = make()
    add_resource(run_block(RESTX, app)["api"])
    # Twice, because flask-restx keeps the document.
    for _ in "12":
        check_restx(app, "/swagger.json", "/auth/logout", "/auth/logout")


def test_flask_restx_on_a_blueprint_shows_logout_below_its_prefix(make: Make) -> None:
    app = make(LOGOUT_URL_PREFIX="/api/auth")
    block = RESTX.replace('"3.0"', '"3.0", url_prefix="/api/auth"')
    blueprint = Blueprint("api", __name__, url_prefix="/api")
    names = run_block(block.replace("(app)", "(api)"), app, api=blueprint)
    add_resource(names["api"])
    app.register_blueprint(blueprint)
    check_restx(app, "/api/swagger.json", "/api/auth/logout", "/auth/logout")


def test_an_app_can_use_its_own_security_scheme(make: Make) -> None:
    app = make()
    bearer_auth = {"type": "http", "scheme": "bearer"}
    block = SMOREST.replace('document = openapi(version="3.0")\n', OWN_SCHEME)
    api = run_block(block, app)["api"]
    api.spec.components.security_scheme("BearerAuth", bearer_auth)
    _, document = load(app, "/openapi.json")
    operation = document["paths"]["/auth/logout"]["post"]
    assert operation["security"] == [{"BearerAuth": []}]
    assert document["components"]["securitySchemes"] == {"BearerAuth": bearer_auth}
