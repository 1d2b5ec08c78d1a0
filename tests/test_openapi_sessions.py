"""The OpenAPI document describes the endpoints for sessions, and they match it."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from openapi_schema_validator import OAS30Validator
from openapi_schema_validator import OAS31Validator
from werkzeug.test import TestResponse

from flask_logout import openapi

from .conftest import MakeApp
from .openapi_examples import session_examples
from .openapi_examples import Version
from .session_apps import log_in
from .session_apps import make_session_app
from .session_apps import sid_of
from .tokens import bearer

ENDPOINTS: t.Any = ["refresh", "sessions"]
VALIDATORS: dict[Version, t.Any] = {"3.0": OAS30Validator, "3.1": OAS31Validator}
OPERATIONS = [
    ("/auth/refresh", "post", "LogoutRefreshToken"),
    ("/auth/sessions", "get", "LogoutAccessToken"),
    ("/auth/sessions/{id}", "delete", "LogoutAccessToken"),
]
each_operation = pytest.mark.parametrize(("path", "method", "token"), OPERATIONS)


@each_operation
def test_the_operation_is_described(path: str, method: str, token: str) -> None:
    said = openapi(endpoints=ENDPOINTS)["paths"][path][method]
    assert said["security"] == [{token: []}]
    assert said["summary"] and said["description"]
    assert "requestBody" not in said


def test_only_the_schemes_in_use_are_listed() -> None:
    document = openapi(endpoints=["refresh"], cookies=True)
    assert list(document["components"]["securitySchemes"]) == [
        "LogoutRefreshToken",
        "LogoutRefreshCookie",
        "LogoutRefreshCSRFToken",
    ]
    headers = {
        code: response["headers"].get("Set-Cookie", {}).get("description")
        for code, response in document["paths"]["/auth/refresh"]["post"][
            "responses"
        ].items()
    }
    assert headers == {
        "200": "Sets the cookies of the new tokens.",
        "401": "Unsets the cookies of this request whose tokens are revoked or expired.",
        "413": None,
        "503": None,
    }


def send(app: Flask, path: str, method: str, case: str) -> TestResponse:
    """Send the request that leads to an example."""
    client = app.test_client()
    pair = log_in(client, label="my phone")
    query = {
        "integer_expected": {"limit": "ten"},
        "out_of_range": {"limit": "0"},
        "invalid": {"cursor": "x"},
    }
    if case == "service_unavailable":
        with app.app_context():
            app.extensions["sqlalchemy"].drop_all()
    token = pair.refresh if path == "/auth/refresh" else pair.access
    return client.open(
        path.format(id="other" if case == "not_found" else sid_of(pair)),
        method=method,
        headers={} if case == "invalid_token" else bearer(token),
        query_string=query.get(case),
        data=b"x" * 20_000 if case == "content_too_large" else None,
        content_type="application/json",
    )


@pytest.mark.parametrize("version", VALIDATORS)
@pytest.mark.parametrize(
    ("path", "method", "case"),
    [
        (path, method, case)
        for path, method, _ in OPERATIONS
        for case, _ in session_examples(path, method)
    ],
)
def test_real_responses_match_the_document(
    make_app: MakeApp, version: Version, path: str, method: str, case: str
) -> None:
    app = make_session_app(
        make_app,
        LOGOUT_ENDPOINTS=ENDPOINTS,
        MAX_CONTENT_LENGTH=10_000,
        JWT_TOKEN_LOCATION=["json", "headers"]
        if case == "content_too_large"
        else ["headers"],
    )
    response = send(app, path, method, case)
    document = openapi(version=version, endpoints=ENDPOINTS)
    said = document["paths"][path][method]["responses"][str(response.status_code)]
    media = said["content"]["application/json"]
    whole = {"allOf": [media["schema"]], "components": document["components"]}
    body = response.get_json()
    assert [x.message for x in VALIDATORS[version](whole).iter_errors(body)] == []
    example = media["examples"][case]["value"]
    assert [x.message for x in VALIDATORS[version](whole).iter_errors(example)] == []
    assert (body["code"], body["message"]) == (example["code"], example["message"])
    if response.status_code == 400:
        assert body == example
    for name, header in said["headers"].items():
        assert not header.get("required") or name in response.headers
