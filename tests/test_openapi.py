"""The OpenAPI document is valid, and real answers keep to it."""

from __future__ import annotations

import json
import typing as t

import pytest
from flask import Flask
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from werkzeug.test import TestResponse

from flask_logout import ExternalAPIError
from flask_logout import LogoutTokens
from flask_logout import openapi
from flask_logout.schemas import ErrorCode

from .conftest import MakeApp
from .tokens import bearer
from .tokens import INVALID_TOKEN
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import TOO_LARGE
from .tokens import UNAVAILABLE
from .tokens import validation_failed

SHOWN = "eyJhbGciOiJI…"

# Each example of the document, and the body that is promised.
PROMISED = {
    "logged_out": LOGGED_OUT,
    "invalid_json": validation_failed("body", "invalid_json", "[1, 2]"),
    "required": validation_failed("refresh_token", "required", ""),
    "string_expected": validation_failed("refresh_token", "string_expected", "42"),
    "too_long": validation_failed("refresh_token", "too_long", SHOWN),
    "invalid": validation_failed("refresh_token", "invalid", SHOWN),
    "wrong_token_type": validation_failed("refresh_token", "wrong_token_type", SHOWN),
    "wrong_subject": validation_failed("refresh_token", "wrong_subject", SHOWN),
    "external_api_error": b'{"code":400,"message":"external api error","data":{"type":'
    b'"external_api_error","errors":[],"details":{"upstream":"identity provider",'
    b'"status":502}}}',
    "invalid_token": INVALID_TOKEN,
    "content_too_large": TOO_LARGE,
    "service_unavailable": UNAVAILABLE,
}
CASES = sorted(PROMISED)
ANSWERS = [
    "LoggedOut",
    "ValidationFailed",
    "ExternalAPIFailed",
    "InvalidToken",
    "ContentTooLarge",
    "ServiceUnavailable",
]


def responses() -> dict[str, t.Any]:
    """Read what is said of every status."""
    return t.cast(
        dict[str, t.Any], openapi()["paths"]["/auth/logout"]["post"]["responses"]
    )


def examples() -> dict[str, tuple[str, t.Any]]:
    """Read every example of an answer: its status and its body."""
    return {
        name: (status, example["value"])
        for status, response in responses().items()
        for name, example in response["content"]["application/json"]["examples"].items()
    }


def complaints(schema: dict[str, t.Any], value: t.Any) -> list[str]:
    """Hold a value against a schema of the document."""
    whole = {**schema, "components": openapi()["components"]}
    return [error.message for error in OAS31Validator(whole).iter_errors(value)]


def schema_of(model: str) -> dict[str, t.Any]:
    """Refer to a schema of the document."""
    return {"$ref": f"#/components/schemas/{model}"}


def cause(app: Flask, case: str) -> TestResponse:
    """Send the request that is answered so."""
    pair, eve = make_pair(app), make_pair(app, "eve")
    if case == "external_api_error":
        app.extensions["logout"].upstreams.append(fail)
    if case == "service_unavailable":
        with app.app_context():
            app.extensions["sqlalchemy"].drop_all()
    bodies: dict[str, t.Any] = {
        "invalid_json": [1, 2],
        "required": {},
        "string_expected": {"refresh_token": 42},
        "too_long": {"refresh_token": pair.refresh * 50},
        "invalid": {"refresh_token": pair.refresh[:-9]},
        "wrong_token_type": {"refresh_token": pair.access},
        "wrong_subject": {"refresh_token": eve.refresh},
        "content_too_large": {"refresh_token": "x" * 20_000},
    }
    return app.test_client().post(
        "/auth/logout",
        headers={} if case == "invalid_token" else bearer(pair.access),
        json=bodies.get(case, {"refresh_token": pair.refresh}),
    )


def fail(_: LogoutTokens) -> None:
    """Fail as an identity provider does."""
    raise ExternalAPIError(details={"upstream": "identity provider", "status": 502})


def walk(node: t.Any) -> t.Iterator[t.Any]:
    """Visit every object and array, the inner ones first."""
    for child in list(node.values() if isinstance(node, dict) else node):
        if isinstance(child, (dict, list)):
            yield from walk(child)
    yield node


@pytest.mark.parametrize("url_prefix", ["", "/auth", "/api/auth"])
def test_the_document_is_valid(url_prefix: str) -> None:
    validate(openapi(url_prefix=url_prefix))


def test_the_arguments_arrive_in_the_document() -> None:
    document = openapi(url_prefix="/api/auth", max_token_length=99)
    assert list(document["paths"]) == ["/api/auth/logout"]
    request = document["components"]["schemas"]["LogoutRequest"]
    assert request["properties"]["refresh_token"]["maxLength"] == 99


def test_the_defaults_are_those_of_the_settings(make_app: MakeApp) -> None:
    settings = make_app().extensions["logout"].settings
    assert openapi() == openapi(
        url_prefix=settings.url_prefix, max_token_length=settings.max_token_length
    )


def test_the_operation_is_described() -> None:
    document = openapi()
    operation = document["paths"]["/auth/logout"]["post"]
    assert operation["operationId"] == "logout"
    assert operation["summary"] and operation["description"]
    assert operation["security"] == [{"accessToken": []}]
    scheme = document["components"]["securitySchemes"]["accessToken"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert scheme["bearerFormat"] == "JWT"
    assert operation["requestBody"]["required"] is True
    described = {code: said["description"] for code, said in responses().items()}
    assert list(described) == ["200", "400", "401", "413", "503"]
    assert all(described.values())


def test_every_attribute_is_described() -> None:
    undescribed = [
        f"{model}.{name}"
        for model, schema in openapi()["components"]["schemas"].items()
        for name, attribute in schema.get("properties", {}).items()
        if not attribute.get("description")
    ]
    assert undescribed == []


def test_the_examples_are_the_promised_bodies() -> None:
    documented = {name: body for name, (_, body) in examples().items()}
    assert documented == {name: json.loads(body) for name, body in PROMISED.items()}


def test_every_error_code_has_an_example() -> None:
    assert set(t.get_args(ErrorCode)) <= examples().keys()


@pytest.mark.parametrize("case", CASES)
def test_an_example_keeps_to_its_schema(case: str) -> None:
    status, body = examples()[case]
    content = responses()[status]["content"]["application/json"]
    assert complaints(content["schema"], body) == []
    assert str(body["code"]) == status


@pytest.mark.parametrize("case", CASES)
def test_a_real_answer_keeps_to_the_document(make_app: MakeApp, case: str) -> None:
    response = cause(make_app(MAX_CONTENT_LENGTH=20_000), case)
    status, body = examples()[case]
    assert (str(response.status_code), response.data) == (status, PROMISED[case])
    assert list(response.get_json()) == ["code", "message", "data"]
    said = responses()[status]
    content = said["content"][response.content_type]
    assert complaints(content["schema"], response.get_json()) == []
    for name, header in said["headers"].items():
        value: str | int = response.headers[name]
        value = int(value) if header["schema"]["type"] == "integer" else value
        assert complaints(header["schema"], value) == []


@pytest.mark.parametrize(
    ("token", "challenge"), [(None, "Bearer"), ("x", "Bearer error=")]
)
def test_a_challenge_keeps_to_the_document(
    make_app: MakeApp, token: str | None, challenge: str
) -> None:
    headers = {} if token is None else bearer(token)
    response = make_app().test_client().post("/auth/logout", headers=headers)
    real = response.headers["WWW-Authenticate"]
    assert real.startswith(challenge)
    schema = responses()["401"]["headers"]["WWW-Authenticate"]["schema"]
    assert complaints(schema, real) == []
    assert complaints(schema, f"{real} more") != []


def test_headers_are_documented() -> None:
    documented = {code: list(said["headers"]) for code, said in responses().items()}
    assert documented == {
        "200": ["Cache-Control"],
        "400": ["Cache-Control"],
        "401": ["Cache-Control", "WWW-Authenticate"],
        "413": ["Cache-Control"],
        "503": ["Cache-Control", "Retry-After"],
    }


@pytest.mark.parametrize("model", ANSWERS)
def test_an_answer_has_exactly_code_message_and_data(model: str) -> None:
    bodies = [body for _, body in examples().values()]
    good = next(body for body in bodies if complaints(schema_of(model), body) == [])
    assert list(good) == ["code", "message", "data"]
    for name in good:
        less = {key: value for key, value in good.items() if key != name}
        assert complaints(schema_of(model), less) != []
    assert complaints(schema_of(model), {**good, "more": 1}) != []
    assert complaints(schema_of(model), {**good, "code": 418}) != []
    assert complaints(schema_of(model), {**good, "message": "other"}) != []
    assert complaints(schema_of(model), {**good, "data": {"more": 1}}) != []


def test_external_details_may_be_any_json_and_may_be_left_out() -> None:
    schema = schema_of("ExternalAPIErrorData")
    data: dict[str, t.Any] = {"type": "external_api_error", "errors": []}
    assert complaints(schema, data) == []
    for details in (None, 1, "x", [1], {"a": {"b": None}}):
        assert complaints(schema, {**data, "details": details}) == []


@pytest.mark.parametrize(
    ("body", "is_taken"),
    [
        ({"refresh_token": "a.b.c"}, True),
        ({"refresh_token": "a.b.c", "token_type_hint": "refresh_token"}, True),
        ({"refresh_token": "x" * 8192}, True),
        ({"refresh_token": "x" * 8193}, False),
        ({"refresh_token": " "}, False),
        ({"refresh_token": ""}, False),
        ({"refresh_token": None}, False),
        ({"refresh_token": 7}, False),
        ({}, False),
        ([], False),
    ],
)
def test_the_request_is_described_as_it_is_checked(
    make_app: MakeApp, body: t.Any, is_taken: bool
) -> None:
    app = make_app()
    response = app.test_client().post(
        "/auth/logout", headers=bearer(make_pair(app).access), json=body
    )
    message = response.get_json()["data"]["errors"][0]["message"]
    assert (message == "invalid") is is_taken
    assert (complaints(schema_of("LogoutRequest"), body) == []) is is_taken


def test_a_document_is_the_callers_own() -> None:
    mine, untouched = openapi(), json.dumps(openapi())
    for node in walk(mine):
        node.clear()
    assert json.dumps(openapi()) == untouched
