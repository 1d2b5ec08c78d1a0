"""The OpenAPI document describes the endpoints of OAuth and OpenID Connect."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from flask_logout import openapi
from flask_logout.config.value_types import Endpoint

from .conftest import MakeApp
from .key_server import serving_keys
from .oauth_apps import CLIENT_ID
from .oauth_apps import CLIENT_SECRET
from .oauth_apps import load_client
from .openapi_examples import ALL_PATHS
from .openapi_examples import Version
from .tokens import make_pair

STANDARD: list[Endpoint] = ["revoke", "introspect", "backchannel_logout"]


@pytest.mark.parametrize("version", ["3.0", "3.1"])
@pytest.mark.parametrize("endpoint", STANDARD)
def test_the_document_of_one_endpoint_is_valid(
    version: Version, endpoint: Endpoint
) -> None:
    document = openapi(version=version, endpoints=[endpoint], url_prefix="/api")
    validate(t.cast(t.Any, document))
    (path,) = ALL_PATHS[endpoint]
    assert list(document["paths"]) == [path.replace("/auth", "/api")]
    schemas = set(document["components"]["schemas"])
    expected = {"LogoutOAuthError"}
    if endpoint == "introspect":
        expected.add("LogoutIntrospection")
    assert schemas == expected


def test_each_caller_gets_a_document_of_its_own() -> None:
    first = openapi(endpoints=STANDARD)
    first["components"]["schemas"]["LogoutOAuthError"].clear()
    assert openapi(endpoints=STANDARD)["components"]["schemas"]["LogoutOAuthError"]


def test_only_endpoints_with_clients_have_their_scheme() -> None:
    document = openapi(endpoints=["backchannel_logout"])
    assert document["components"]["securitySchemes"] == {}
    found = openapi(endpoints=STANDARD)
    assert list(found["components"]["securitySchemes"]) == ["LogoutClient"]
    security = [found["paths"][f"/auth/{x}"]["post"]["security"] for x in STANDARD[:2]]
    # Only one of them works without a client.
    assert security == [[{"LogoutClient": []}, {}], [{"LogoutClient": []}]]


@pytest.mark.parametrize("name", ["revoke", "introspect", "backchannel-logout"])
@pytest.mark.parametrize("case", ["valid", "empty", "no client", "too large", "down"])
def test_real_responses_match_the_document(
    make_app: MakeApp, name: str, case: str
) -> None:
    with serving_keys() as provider:
        app: Flask = make_app(
            LOGOUT_ENDPOINTS=set(STANDARD),
            LOGOUT_BACKCHANNEL={
                provider.issuer: {"client_id": "app", "jwks_uri": provider.jwks_uri}
            },
        )
        app.extensions["logout"].loaders.client = load_client
        token = make_pair(app).access
        form = {"token": token, "logout_token": provider.sign(sub="ada")}
        if case == "empty":
            form = {"x": "y"}
        elif case == "too large":
            form["y"] = 1_000_000 * "x"
        elif case == "down":
            with app.app_context():
                app.extensions["sqlalchemy"].drop_all()
        secret = "wrong" if case == "no client" else CLIENT_SECRET
        response = app.test_client().post(
            f"/auth/{name}", data=form, auth=(CLIENT_ID, secret)
        )
    document = openapi(endpoints=STANDARD)
    said = document["paths"][f"/auth/{name}"]["post"]["responses"]
    found = said[str(response.status_code)]
    for header, described in found["headers"].items():
        expected = described["schema"].get("const")
        assert expected in {None, response.headers[header]}
    if "content" not in found:
        assert response.data == b""
        return
    reference = found["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    Draft202012Validator(schema).validate(response.get_json())
