"""The OpenAPI document is valid, and real responses match it."""

from __future__ import annotations

import json
import typing as t

import pytest
from flask import Flask
from flask_jwt_extended import get_csrf_token
from openapi_schema_validator import OAS30Validator
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV30SpecValidator
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator import validate
from werkzeug.test import TestResponse

from flask_logout import ExternalAPIError
from flask_logout import LogoutTokens
from flask_logout import openapi
from flask_logout import session_claims
from flask_logout.config.value_types import Endpoint
from flask_logout.schemas import ErrorCode

from .conftest import MakeApp
from .openapi_examples import ALL_PATHS
from .openapi_examples import examples
from .openapi_examples import operation
from .openapi_examples import PATHS
from .openapi_examples import responses
from .openapi_examples import session_examples
from .openapi_examples import Version
from .tokens import bearer
from .tokens import INVALID_TOKEN
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair
from .tokens import TOO_LARGE
from .tokens import UNAVAILABLE
from .tokens import validation_failed

VERSIONS: dict[Version, tuple[t.Any, t.Any]] = {
    "3.0": (OpenAPIV30SpecValidator, OAS30Validator),
    "3.1": (OpenAPIV31SpecValidator, OAS31Validator),
}
each_version = pytest.mark.parametrize("version", VERSIONS)

SHOWN = "eyJhbGciOiJI…"

# The bodies that the contract promises for the examples of every endpoint.
SHARED = {
    "logged_out": LOGGED_OUT,
    "invalid_json": validation_failed("body", "invalid_json", "[1, 2]"),
    "external_api_error": b'{"code":400,"message":"external api error","data":{"type":'
    b'"external_api_error","errors":[],"details":{"upstream":"identity provider",'
    b'"status":502}}}',
    "invalid_token": INVALID_TOKEN,
    "content_too_large": TOO_LARGE,
    "service_unavailable": UNAVAILABLE,
}
PROMISED: dict[Endpoint, dict[str, bytes]] = {
    "logout": {
        **SHARED,
        "required": validation_failed("refresh_token", "required", ""),
        "string_expected": validation_failed("refresh_token", "string_expected", "42"),
        "too_long": validation_failed("refresh_token", "too_long", SHOWN),
        "invalid": validation_failed("refresh_token", "invalid", SHOWN),
        "wrong_token_type": validation_failed(
            "refresh_token", "wrong_token_type", SHOWN
        ),
        "wrong_subject": validation_failed("refresh_token", "wrong_subject", SHOWN),
    },
    "logout_all": {
        **SHARED,
        "boolean_expected": validation_failed(
            "keep_current", "boolean_expected", "null"
        ),
        "session_required": validation_failed(
            "keep_current", "session_required", "true"
        ),
    },
}
each_endpoint = pytest.mark.parametrize("endpoint", PROMISED)
each_case = pytest.mark.parametrize(
    ("endpoint", "case"),
    [(endpoint, case) for endpoint, found in PROMISED.items() for case in found],
)
ANSWERS = [
    "LogoutLoggedOut",
    "LogoutValidationFailed",
    "LogoutExternalAPIFailed",
    "LogoutInvalidToken",
    "LogoutContentTooLarge",
    "LogoutServiceUnavailable",
]


def schema_errors(
    schema: dict[str, t.Any], value: t.Any, version: Version = "3.1"
) -> list[str]:
    """List why a value doesn't match a schema of the document."""
    # OpenAPI 3.0 ignores everything beside a $ref, so wrap the reference.
    whole = {"allOf": [schema], "components": _components(version)}
    return [error.message for error in VERSIONS[version][1](whole).iter_errors(value)]


def _components(version: Version) -> t.Any:
    return openapi(version=version, endpoints=PROMISED)["components"]


def schema_of(model: str) -> dict[str, t.Any]:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{model}"}


def cause(app: Flask, endpoint: Endpoint, case: str) -> TestResponse:
    """Send the request that leads to an example."""
    pair, eve = make_pair(app), make_pair(app, "eve")
    if case == "external_api_error":
        app.extensions["logout"].upstreams.append(fail)
    if case == "service_unavailable":
        with app.app_context():
            app.extensions["sqlalchemy"].drop_all()
    bodies: dict[str, t.Any] = {
        "invalid_json": [1, 2],
        "boolean_expected": {"keep_current": None},
        "session_required": {"keep_current": True},
        "required": {},
        "string_expected": {"refresh_token": 42},
        "too_long": {"refresh_token": pair.refresh * 50},
        "invalid": {"refresh_token": pair.refresh[:-9]},
        "wrong_token_type": {"refresh_token": pair.access},
        "wrong_subject": {"refresh_token": eve.refresh},
        "content_too_large": {"refresh_token": "x" * 20_000},
    }
    return app.test_client().post(
        PATHS[endpoint],
        headers={} if case == "invalid_token" else bearer(pair.access),
        json=bodies.get(case, {"refresh_token": pair.refresh}),
    )


def fail(_: LogoutTokens) -> None:
    """Raise the error of a failed identity provider."""
    raise ExternalAPIError(details={"upstream": "identity provider", "status": 502})


def walk(node: t.Any) -> t.Iterator[t.Any]:
    """Visit every object and array, the inner ones first."""
    for child in list(node.values() if isinstance(node, dict) else node):
        if isinstance(child, (dict, list)):
            yield from walk(child)
    yield node


@pytest.mark.parametrize("url_prefix", ["", "/auth", "/api/auth"])
@pytest.mark.parametrize("cookies", [False, True])
@each_version
@pytest.mark.parametrize(
    "endpoints",
    [["logout"], ["logout_all"], [*PROMISED], ["refresh"], ["sessions", "logout"], []],
)
def test_the_document_is_valid(
    version: Version, cookies: bool, url_prefix: str, endpoints: list[Endpoint]
) -> None:
    document = openapi(
        version=version, cookies=cookies, url_prefix=url_prefix, endpoints=endpoints
    )
    described = [y for x, paths in ALL_PATHS.items() if x in endpoints for y in paths]
    paths = [x.replace("/auth", url_prefix) for x in described]
    assert list(document["paths"]) == paths
    assert document["openapi"].startswith(version)
    validate(document, cls=VERSIONS[version][0])


def test_openapi_3_1_is_the_default() -> None:
    assert openapi() == openapi(version="3.1")


def test_another_version_raises_an_error() -> None:
    with pytest.raises(ValueError) as info:
        openapi(version=t.cast(t.Any, "2.0"))
    assert str(info.value) == "Invalid version: '2.0'. Expected '3.0' or '3.1'."


@pytest.mark.parametrize("endpoints", [["log_out"], "logout", ["logout", "all"]])
def test_an_unknown_endpoint_raises_an_error(endpoints: t.Any) -> None:
    with pytest.raises(ValueError) as info:
        openapi(endpoints=endpoints)
    assert str(info.value) == (
        f"Invalid endpoints: {endpoints!r}. Expected a collection of names out of"
        " 'logout', 'logout_all', 'refresh', 'sessions', 'revoke', 'introspect',"
        " 'backchannel_logout'."
    )


def test_the_schemas_of_a_disabled_endpoint_are_missing() -> None:
    both = openapi(endpoints=PROMISED)["components"]["schemas"].keys()
    assert (
        "LogoutRequest"
        not in openapi(endpoints=["logout_all"])["components"]["schemas"]
    )
    assert both - openapi()["components"]["schemas"].keys() == {"LogoutAllRequest"}


def test_openapi_3_0_has_no_keywords_of_later_versions() -> None:
    for node in walk(openapi(version="3.0", cookies=True, endpoints=PROMISED)):
        if isinstance(node, dict):
            assert not {"const", "$schema", "$defs"} & node.keys()
            assert not isinstance(node.get("examples"), list)
            assert not isinstance(node.get("type"), list)
            assert node.get("type") != "null"
            assert "$ref" not in node or len(node) == 1


@each_version
def test_the_names_of_components_have_a_prefix(version: Version) -> None:
    document = openapi(version=version, cookies=True, endpoints=PROMISED)
    names = [name for kind in document["components"].values() for name in kind]
    assert [name for name in names if not name.startswith("Logout")] == []
    assert [name for name in names if name.startswith("LogoutLogout")] == []
    # Some tools use a title instead of the name.
    assert '"title"' not in json.dumps(document["components"])


def test_the_document_contains_the_arguments() -> None:
    document = openapi(url_prefix="/api/auth", max_token_length=99)
    assert list(document["paths"]) == ["/api/auth/logout"]
    request = document["components"]["schemas"]["LogoutRequest"]
    assert request["properties"]["refresh_token"]["maxLength"] == 99


def test_the_defaults_match_the_settings(make_app: MakeApp) -> None:
    settings = make_app().extensions["logout"].settings
    assert openapi() == openapi(
        url_prefix=settings.url_prefix, max_token_length=settings.max_token_length
    )


@each_endpoint
def test_the_operation_is_described(endpoint: Endpoint) -> None:
    document = openapi(endpoints=[endpoint])
    said = operation(document, endpoint)
    assert said["operationId"] == endpoint
    assert said["summary"] and said["description"]
    assert said["security"] == [{"LogoutAccessToken": []}]
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert scheme["bearerFormat"] == "JWT"
    assert said["requestBody"]["required"] is (endpoint == "logout")
    described = {
        code: said["description"] for code, said in responses(endpoint=endpoint).items()
    }
    assert list(described) == ["200", "400", "401", "413", "503"]
    assert all(described.values())


@pytest.mark.parametrize(
    ("arguments", "security"),
    [
        ({"cookies": True}, [["AccessToken"], ["AccessCookie", "CSRFToken"]]),
        ({"cookies": True, "headers": False}, [["AccessCookie", "CSRFToken"]]),
        (
            {"cookies": True, "csrf_header_name": None},
            [["AccessToken"], ["AccessCookie"]],
        ),
    ],
)
def test_cookies_are_described(
    arguments: dict[str, t.Any], security: list[list[str]]
) -> None:
    document = openapi(**arguments)
    groups = [[f"Logout{name}" for name in group] for group in security]
    assert [[*group] for group in operation(document)["security"]] == groups
    schemes = document["components"]["securitySchemes"]
    assert list(schemes) == [name for group in groups for name in group]
    assert operation(document)["requestBody"]["required"] is False
    assert "required" not in document["components"]["schemas"]["LogoutRequest"]
    for code, said in operation(document)["responses"].items():
        assert ("Set-Cookie" in said["headers"]) is (code in ("200", "401"))


def test_cookies_of_the_other_endpoints_are_described() -> None:
    document = openapi(cookies=True, endpoints=PROMISED)
    said = operation(document, "logout_all")
    assert said["security"] == operation(document)["security"]
    assert "parameters" not in said
    for code, response in said["responses"].items():
        assert ("Set-Cookie" in response["headers"]) is (code in ("200", "401"))


def test_a_document_without_headers_and_cookies_raises_an_error() -> None:
    with pytest.raises(ValueError) as info:
        openapi(headers=False)
    assert str(info.value) == (
        "Invalid headers and cookies: both are False. Expected at least one of them to be"
        " True, because every endpoint needs a token."
    )


COOKIE_CONFIG: dict[str, t.Any] = {
    "JWT_TOKEN_LOCATION": ["headers", "cookies"],
    "JWT_ACCESS_COOKIE_NAME": "a",
    "JWT_REFRESH_COOKIE_NAME": "r",
    "JWT_ACCESS_CSRF_HEADER_NAME": "X-Proof",
}


def print_document(app: Flask, *options: str) -> dict[str, t.Any]:
    """Run ``flask logout openapi``."""
    result = app.test_cli_runner().invoke(args=["logout", "openapi", *options])
    assert result.exit_code == 0, result.output
    return t.cast(dict[str, t.Any], json.loads(result.stdout))


def test_the_command_prints_the_requested_version(make_app: MakeApp) -> None:
    app = make_app()
    assert print_document(app) == openapi()
    assert print_document(app, "--version", "3.0") == openapi(version="3.0")
    both = make_app(LOGOUT_ENDPOINTS=["logout_all", "logout"])
    assert print_document(both) == openapi(endpoints=PROMISED)
    result = app.test_cli_runner().invoke(
        args=["logout", "openapi", "--version", "2.0"]
    )
    assert result.exit_code == 2
    assert "'2.0' is not one of '3.0', '3.1'" in result.output


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        ({"JWT_TOKEN_LOCATION": "cookies"}, {"cookies": True, "headers": False}),
        ({"JWT_TOKEN_LOCATION": ["query_string"]}, {}),
        (
            COOKIE_CONFIG,
            {
                "cookies": True,
                "access_cookie_name": "a",
                "refresh_cookie_name": "r",
                "csrf_header_name": "X-Proof",
            },
        ),
        (
            {"JWT_TOKEN_LOCATION": ["cookies"], "JWT_COOKIE_CSRF_PROTECT": False},
            {"cookies": True, "headers": False, "csrf_header_name": None},
        ),
        (
            {"JWT_TOKEN_LOCATION": ["cookies"], "JWT_CSRF_METHODS": ["PUT"]},
            {"cookies": True, "headers": False, "csrf_header_name": None},
        ),
    ],
)
def test_the_command_reads_where_the_app_expects_tokens(
    make_app: MakeApp, config: dict[str, t.Any], arguments: dict[str, t.Any]
) -> None:
    assert print_document(make_app(**config)) == openapi(**arguments)


def send(
    app: Flask, document: dict[str, t.Any], pair: Pair, schemes: t.Iterable[str]
) -> TestResponse:
    """Log out with these security schemes of a document, and a refresh cookie."""
    client = app.test_client()
    headers: dict[str, str] = {}
    for name in schemes:
        scheme = document["components"]["securitySchemes"][name]
        if scheme["type"] == "http":
            headers |= bearer(pair.access)
        elif scheme["in"] == "cookie":
            client.set_cookie(scheme["name"], pair.access)
        else:
            with app.app_context():
                headers[scheme["name"]] = get_csrf_token(pair.access)
    (parameter,) = operation(document)["parameters"]
    client.set_cookie(parameter["name"], pair.refresh)
    return client.post("/auth/logout", headers=headers)


@pytest.mark.parametrize(
    ("schemes", "status"),
    [
        (["LogoutAccessToken"], 200),
        (["LogoutAccessCookie", "LogoutCSRFToken"], 200),
        (["LogoutAccessCookie"], 401),
        (["LogoutCSRFToken"], 401),
    ],
)
@each_version
def test_a_request_must_use_the_documented_schemes(
    make_app: MakeApp, version: Version, schemes: list[str], status: int
) -> None:
    app = make_app(**COOKIE_CONFIG)
    document = print_document(app, "--version", version)
    documented = [[*group] for group in operation(document)["security"]]
    assert (schemes in documented) is (status == 200)
    response = send(app, document, make_pair(app), schemes)
    assert response.status_code == status
    said = operation(document)["responses"][str(status)]
    content = said["content"][response.content_type]
    assert schema_errors(content["schema"], response.get_json(), version) == []
    assert ("Set-Cookie" in response.headers) is (status == 200)


def test_every_attribute_is_described() -> None:
    undescribed = [
        f"{model}.{name}"
        for model, schema in _components("3.1")["schemas"].items()
        for name, attribute in schema.get("properties", {}).items()
        if not attribute.get("description")
    ]
    assert undescribed == []


@each_endpoint
def test_the_examples_match_the_contract(endpoint: Endpoint) -> None:
    found = examples(endpoint=endpoint)
    promised = PROMISED[endpoint]
    documented = {name: body for name, (_, body) in found.items()}
    assert documented == {name: json.loads(body) for name, body in promised.items()}


def test_every_error_code_has_an_example() -> None:
    found = {name for endpoint in PROMISED for name in examples(endpoint=endpoint)}
    found |= {name for name, _ in session_examples("/auth/sessions", "get")}
    assert set(t.get_args(ErrorCode)) <= found


@each_case
@each_version
def test_every_example_matches_its_schema(
    version: Version, endpoint: Endpoint, case: str
) -> None:
    status, body = examples(version, endpoint)[case]
    said = responses(version, endpoint)[status]
    schema = said["content"]["application/json"]["schema"]
    assert schema_errors(schema, body, version) == []
    assert str(body["code"]) == status


@each_case
@each_version
def test_real_responses_match_the_document(
    make_app: MakeApp, version: Version, endpoint: Endpoint, case: str
) -> None:
    app = make_app(MAX_CONTENT_LENGTH=20_000, LOGOUT_ENDPOINTS={endpoint})
    response = cause(app, endpoint, case)
    status, body = examples(version, endpoint)[case]
    promised = PROMISED[endpoint][case]
    assert (str(response.status_code), response.data) == (status, promised)
    assert list(response.get_json()) == ["code", "message", "data"]
    said = responses(version, endpoint)[status]
    content = said["content"][response.content_type]
    assert schema_errors(content["schema"], response.get_json(), version) == []
    for name, header in said["headers"].items():
        value: str | int = response.headers[name]
        value = int(value) if header["schema"]["type"] == "integer" else value
        assert schema_errors(header["schema"], value, version) == []


@pytest.mark.parametrize(
    ("token", "challenge"), [(None, "Bearer"), ("x", "Bearer error=")]
)
def test_real_challenges_match_the_document(
    make_app: MakeApp, token: str | None, challenge: str
) -> None:
    headers = {} if token is None else bearer(token)
    response = make_app().test_client().post("/auth/logout", headers=headers)
    real = response.headers["WWW-Authenticate"]
    assert real.startswith(challenge)
    schema = responses()["401"]["headers"]["WWW-Authenticate"]["schema"]
    assert schema_errors(schema, real) == []
    assert schema_errors(schema, f"{real} more") != []


@each_endpoint
def test_headers_are_documented(endpoint: Endpoint) -> None:
    said = responses(endpoint=endpoint)
    documented = {code: list(found["headers"]) for code, found in said.items()}
    assert documented == {
        "200": ["Cache-Control"],
        "400": ["Cache-Control"],
        "401": ["Cache-Control", "WWW-Authenticate"],
        "413": ["Cache-Control"],
        "503": ["Cache-Control", "Retry-After"],
    }


@pytest.mark.parametrize("model", ANSWERS)
@each_version
def test_a_response_has_exactly_code_message_and_data(
    version: Version, model: str
) -> None:
    def errors_of(body: t.Any) -> list[str]:
        return schema_errors(schema_of(model), body, version)

    bodies = [body for _, body in examples().values()]
    good = next(body for body in bodies if errors_of(body) == [])
    assert list(good) == ["code", "message", "data"]
    for name in good:
        less = {key: value for key, value in good.items() if key != name}
        assert errors_of(less) != []
    assert errors_of({**good, "more": 1}) != []
    assert errors_of({**good, "code": 418}) != []
    assert errors_of({**good, "message": "other"}) != []
    assert errors_of({**good, "data": {"more": 1}}) != []


@each_version
def test_external_details_are_any_json_and_optional(
    version: Version,
) -> None:
    schema = schema_of("LogoutExternalAPIErrorData")
    data: dict[str, t.Any] = {"type": "external_api_error", "errors": []}
    assert schema_errors(schema, data, version) == []
    for details in (None, 1, "x", [1], {"a": {"b": None}}):
        assert schema_errors(schema, {**data, "details": details}, version) == []


@pytest.mark.parametrize(
    ("body", "is_accepted"),
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
def test_the_schema_of_the_request_matches_its_validation(
    make_app: MakeApp, body: t.Any, is_accepted: bool
) -> None:
    app = make_app()
    response = app.test_client().post(
        "/auth/logout", headers=bearer(make_pair(app).access), json=body
    )
    message = response.get_json()["data"]["errors"][0]["message"]
    assert (message == "invalid") is is_accepted
    for version in VERSIONS:
        errors_of = schema_errors(schema_of("LogoutRequest"), body, version)
        assert (errors_of == []) is is_accepted


@pytest.mark.parametrize(
    ("body", "is_accepted"),
    [
        ({}, True),
        ({"keep_current": False}, True),
        ({"keep_current": True, "more": 1}, True),
        ({"keep_current": None}, False),
        ({"keep_current": 1}, False),
        ({"keep_current": "true"}, False),
        ([], False),
    ],
)
def test_the_schema_of_logout_all_matches_its_validation(
    make_app: MakeApp, body: t.Any, is_accepted: bool
) -> None:
    app = make_app(LOGOUT_ENDPOINTS={"logout_all"})
    access = make_pair(app, additional_claims=session_claims()).access
    response = app.test_client().post(
        "/auth/logout/all", headers=bearer(access), json=body
    )
    assert response.status_code == (200 if is_accepted else 400)
    for version in VERSIONS:
        errors_of = schema_errors(schema_of("LogoutAllRequest"), body, version)
        assert (errors_of == []) is is_accepted


def test_callers_can_change_their_document() -> None:
    def make() -> dict[str, t.Any]:
        return openapi(cookies=True, endpoints=PROMISED)

    untouched = json.dumps(make())
    for node in walk(make()):
        node.clear()
    assert json.dumps(make()) == untouched
