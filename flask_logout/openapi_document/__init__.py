"""Generate the OpenAPI document of the endpoints from their schemas."""

from __future__ import annotations

import json
import typing as t
from copy import deepcopy
from importlib import metadata

from pydantic.json_schema import GenerateJsonSchema
from pydantic.json_schema import JsonSchemaMode
from pydantic.json_schema import models_json_schema
from pydantic_core.core_schema import WithDefaultSchema

from ..config.value_types import Endpoint
from ..schemas import DEFAULT_MAX_TOKEN_LENGTH
from ..schemas import Envelope
from ..schemas import LogoutRequest
from .conversion import convert_to_3_0
from .headers import headers_of
from .oauth_operations import add_standard
from .oauth_operations import STANDARD
from .operations import Answer
from .operations import Operation
from .operations import OPERATIONS
from .security import add_refresh_cookie
from .security import add_set_cookies
from .security import add_unset_cookies
from .security import make_schemes
from .security import Token

_Json = dict[str, t.Any]

_VERSIONS = {"3.0": "3.0.3", "3.1": "3.1.0"}

# The prefix of every component, so that none collides with a component of the app.
_PREFIX = "Logout"
_REFS = f"#/components/schemas/{_PREFIX}{{model}}"

_LOGOUT_ALONE: tuple[Endpoint, ...] = ("logout",)


class _JsonSchema(GenerateJsonSchema):
    """Omits titles and defaults, which would only repeat names and constants."""

    def field_title_should_be_set(self, schema: t.Any) -> bool:
        return False

    def default_schema(self, schema: WithDefaultSchema) -> _Json:
        return self.generate_inner(schema["schema"])


def openapi(
    *,
    version: t.Literal["3.0", "3.1"] = "3.1",
    endpoints: t.Collection[Endpoint] = _LOGOUT_ALONE,
    url_prefix: str = "/auth",
    max_token_length: int = DEFAULT_MAX_TOKEN_LENGTH,
    require_refresh_token: bool = True,
    headers: bool = True,
    cookies: bool = False,
    access_cookie_name: str = "access_token_cookie",
    refresh_cookie_name: str = "refresh_token_cookie",
    csrf_header_name: str | None = "X-CSRF-TOKEN",
    refresh_csrf_header_name: str | None = "X-CSRF-TOKEN",
) -> dict[str, t.Any]:
    """Return an OpenAPI document that describes the endpoints.

    The names of its components start with ``Logout``, so that you can merge it into the
    document of your app. With ``cookies``, the logout endpoint doesn't require a body,
    because the refresh token may come in a cookie.

    :param version: the version of OpenAPI, ``"3.0"`` or ``"3.1"``.
    :param endpoints: ``LOGOUT_ENDPOINTS`` of the app.
    :param url_prefix: ``LOGOUT_URL_PREFIX`` of the app.
    :param max_token_length: ``LOGOUT_MAX_TOKEN_LENGTH`` of the app, in characters.
    :param require_refresh_token: ``LOGOUT_REQUIRE_REFRESH_TOKEN`` of the app.
    :param headers: whether ``JWT_TOKEN_LOCATION`` of the app contains ``"headers"``.
    :param cookies: whether ``JWT_TOKEN_LOCATION`` of the app contains ``"cookies"``.
    :param access_cookie_name: ``JWT_ACCESS_COOKIE_NAME`` of the app.
    :param refresh_cookie_name: ``JWT_REFRESH_COOKIE_NAME`` of the app.
    :param csrf_header_name: ``JWT_ACCESS_CSRF_HEADER_NAME`` of the app, or ``None`` if
        its ``JWT_COOKIE_CSRF_PROTECT`` is ``False``.
    :param refresh_csrf_header_name: the same for ``JWT_REFRESH_CSRF_HEADER_NAME``.
    :returns: a document with the paths of the endpoints, which you can serialize as JSON.
    :raises ValueError: ``version`` is neither ``"3.0"`` nor ``"3.1"``, ``endpoints`` has
        a name that isn't one of an endpoint, or ``headers`` and ``cookies`` are both
        ``False``.
    """
    if version not in _VERSIONS:
        raise ValueError(f"Invalid version: {version!r}. Expected '3.0' or '3.1'.")
    _check_endpoints(endpoints)
    operations = _select(endpoints)
    where: dict[Token, list[_Json]] = {
        "access": make_schemes(
            "access", headers, cookies, access_cookie_name, csrf_header_name
        ),
        "refresh": make_schemes(
            "refresh", headers, cookies, refresh_cookie_name, refresh_csrf_header_name
        ),
    }
    needs_body = require_refresh_token and not cookies
    paths: _Json = {}
    schemes: _Json = {}
    for described in operations:
        operation = _operation(described, needs_body)
        groups = where[described.token]
        operation["security"] = [{name: [] for name in group} for group in groups]
        schemes |= {name: x for group in groups for name, x in group.items()}
        if cookies:
            _add_cookies(operation, described, refresh_cookie_name)
        path = paths.setdefault(f"{url_prefix}{described.path}", {})
        path[described.method] = operation
    document = {
        "openapi": _VERSIONS[version],
        "info": {"title": "Flask-Logout", "version": metadata.version("Flask-Logout")},
        "paths": paths,
        "components": {
            "schemas": _schemas(operations, max_token_length, needs_body),
            "securitySchemes": schemes,
        },
    }
    if not STANDARD.isdisjoint(endpoints):
        add_standard(document, url_prefix, endpoints)
    document = deepcopy(document)
    return convert_to_3_0(document) if version == "3.0" else document


def _check_endpoints(endpoints: t.Collection[str]) -> None:
    names = t.get_args(Endpoint)
    if isinstance(endpoints, str) or not {*endpoints} <= {*names}:
        expected = ", ".join(map(repr, names))
        raise ValueError(
            f"Invalid endpoints: {endpoints!r}. Expected a collection of names out of"
            f" {expected}."
        )


def _select(endpoints: t.Collection[Endpoint]) -> list[Operation]:
    """Return the operations of the endpoints, in the order of their names."""
    known = OPERATIONS
    if not {"refresh", "sessions"}.isdisjoint(endpoints):
        from .sessions import SESSION_OPERATIONS

        known = known | SESSION_OPERATIONS
    return [x for name, found in known.items() if name in endpoints for x in found]


def _operation(described: Operation, needs_body: bool) -> _Json:
    operation: _Json = {
        "operationId": described.name,
        "summary": described.summary,
        "description": described.description,
        "responses": _responses(described.answers),
    }
    if described.parameters:
        operation["parameters"] = deepcopy([*described.parameters])
    if described.request is not None:
        operation["requestBody"] = {
            "description": described.body_description,
            "required": needs_body and described.takes_refresh_token,
            "content": _content(
                [described.request], {described.name: {"value": {**described.body}}}
            ),
        }
    return operation


def _add_cookies(
    operation: _Json, described: Operation, refresh_cookie_name: str
) -> None:
    add_unset_cookies(operation, described.unsets_cookies)
    if described.sets_cookies:
        add_set_cookies(operation)
    if described.takes_refresh_token:
        add_refresh_cookie(operation, refresh_cookie_name)


def _responses(answers: t.Iterable[Answer]) -> _Json:
    by_code: dict[int, list[Answer]] = {}
    for answer in answers:
        by_code.setdefault(answer.envelope.code, []).append(answer)
    return {str(code): _response(code, found) for code, found in by_code.items()}


def _response(code: int, found: list[Answer]) -> _Json:
    models = list(dict.fromkeys(type(x.envelope) for x in found))
    examples = {
        x.name: {"summary": x.summary, "value": json.loads(x.envelope.to_json())}
        for x in found
    }
    return {
        "description": " Or: ".join(str(model.__doc__) for model in models),
        "headers": headers_of(code),
        "content": _content(models, examples),
    }


def _content(models: t.Sequence[type], examples: _Json) -> _Json:
    refs = [{"$ref": _REFS.format(model=_suffix(model.__name__))} for model in models]
    schema = refs[0] if len(refs) == 1 else {"oneOf": refs}
    return {"application/json": {"schema": schema, "examples": examples}}


def _schemas(
    operations: t.Sequence[Operation], max_token_length: int, needs_body: bool
) -> _Json:
    requests = dict.fromkeys(x.request for x in operations if x.request is not None)
    answers = dict.fromkeys(type(y.envelope) for x in operations for y in x.answers)
    models: list[tuple[t.Any, JsonSchemaMode]] = [(x, "validation") for x in requests]
    models += [(model, "serialization") for model in answers]
    _, made = models_json_schema(
        models, ref_template=_REFS, schema_generator=_JsonSchema
    )
    schemas: _Json = made.get("$defs", {})
    request = schemas.get(LogoutRequest.__name__)
    if request is not None:
        request["properties"]["refresh_token"]["maxLength"] = max_token_length
        if not needs_body:
            del request["required"]
    for model in answers:
        for name, field in Envelope.model_fields.items():
            shown = schemas[model.__name__]["properties"][name]
            shown.setdefault("description", field.description)
    for schema in schemas.values():
        schema.pop("title", None)
    return {f"{_PREFIX}{_suffix(name)}": schema for name, schema in schemas.items()}


def _suffix(name: str) -> str:
    return name.removeprefix(_PREFIX)
