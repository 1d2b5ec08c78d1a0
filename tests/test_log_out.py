"""Logouts without a refresh token, in routes of the app, and with unusual input."""

from __future__ import annotations

import io
import json
import typing as t

import pytest
from flask import Flask
from flask import request
from flask_jwt_extended import get_jwt
from flask_jwt_extended import jwt_required

from flask_logout import ExternalAPIError
from flask_logout import InvalidRequestError
from flask_logout import LogoutExtension
from flask_logout import OutcomeUnknownError
from flask_logout import revocation_unknown
from flask_logout import session_claims
from flask_logout import StoreUnavailableError

from .conftest import MakeApp
from .tokens import bearer
from .tokens import get_status
from .tokens import INVALID_TOKEN
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair
from .tokens import TOO_LARGE
from .tokens import validation_failed


@pytest.fixture
def lenient(make_app: MakeApp) -> Flask:
    """An app that doesn't require a refresh token."""
    return make_app(LOGOUT_REQUIRE_REFRESH_TOKEN=False)


@pytest.mark.parametrize("body", [{}, {"json": {}}, {"json": {"other": 1}}])
def test_an_access_token_logs_out_without_a_refresh_token(
    lenient: Flask, body: t.Any
) -> None:
    pair, other = make_pair(lenient), make_pair(lenient)
    client = lenient.test_client()
    response = client.post("/auth/logout", headers=bearer(pair.access), **body)
    assert (response.status_code, response.data) == (200, LOGGED_OUT)
    assert get_status(client, pair) == (401, 200)
    assert get_status(client, other) == (200, 200)


def test_an_access_token_with_a_session_revokes_the_session(lenient: Flask) -> None:
    pair = make_pair(lenient, additional_claims=session_claims())
    client = lenient.test_client()
    response = client.post("/auth/logout", headers=bearer(pair.access))
    assert response.data == LOGGED_OUT
    assert get_status(client, pair) == (401, 401)


def test_an_optional_refresh_token_is_still_validated(lenient: Flask) -> None:
    ours, theirs = make_pair(lenient, "ada"), make_pair(lenient, "bob")
    client = lenient.test_client()
    for value, message, value_in_error in (
        (None, "required", "null"),
        ("", "required", ""),
        (7, "string_expected", "7"),
        ("x", "invalid", "x"),
        (theirs.refresh, "wrong_subject", f"{theirs.refresh[:12]}…"),
    ):
        response = client.post(
            "/auth/logout", headers=bearer(ours.access), json={"refresh_token": value}
        )
        expected = validation_failed("refresh_token", message, value_in_error)
        assert (response.status_code, response.data) == (400, expected)
    broken = {"data": "{", "content_type": "application/json"}
    response = client.post("/auth/logout", headers=bearer(ours.access), **broken)
    assert response.data == validation_failed("body", "invalid_json", "")
    assert get_status(client, ours) == (200, 200)
    assert log_out(client, ours).data == LOGGED_OUT


def own_route(app: Flask) -> LogoutExtension:
    """Add a logout route that calls ``log_out()``."""
    logout = LogoutExtension()

    @app.post("/sign-out")
    @jwt_required()
    def sign_out() -> dict[str, t.Any]:
        body = request.get_json(silent=True) or {}
        logout.log_out(get_jwt(), body.get("token"))
        return {"claims": get_jwt()}

    return logout


def sign_out(app: Flask, pair: Pair, **body: t.Any) -> t.Any:
    """Log out by that route."""
    return app.test_client().post("/sign-out", headers=bearer(pair.access), json=body)


def test_log_out_works_in_a_route_of_the_app(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_ENDPOINTS=set())
    own_route(app)
    pair = make_pair(app)
    response = sign_out(app, pair, token=pair.refresh)
    # get_jwt() returns an empty dict after the logout.
    assert (response.status_code, response.get_json()) == (200, {"claims": {}})
    assert get_status(app.test_client(), pair) == (401, 401)
    assert log_out(app.test_client(), make_pair(app)).status_code == 404


def test_errors_in_a_route_of_the_app_have_the_documented_responses(
    make_app: MakeApp,
) -> None:
    app = make_app()
    own_route(app)
    ours, theirs = make_pair(app, "ada"), make_pair(app, "bob")
    response = sign_out(app, ours)
    expected = validation_failed("refresh_token", "required", "")
    assert (response.status_code, response.data) == (400, expected)
    response = sign_out(app, ours, token=theirs.refresh)
    assert response.get_json()["data"]["errors"][0]["message"] == "wrong_subject"
    assert get_status(app.test_client(), ours) == (200, 200)
    assert get_status(app.test_client(), theirs) == (200, 200)
    with app.app_context():
        store = app.extensions["logout"].store
        store.table.drop(store.engine.get())
    assert sign_out(app, ours, token=ours.refresh).status_code == 503


def test_log_out_raises_what_it_documents(make_app: MakeApp) -> None:
    app = make_app()
    logout = LogoutExtension()
    pair = make_pair(app)
    with app.test_request_context():
        from flask_jwt_extended import decode_token

        access, refresh = decode_token(pair.access), decode_token(pair.refresh)
        for claims in ({}, refresh):
            with pytest.raises(ValueError, match="claims of an access token"):
                logout.log_out(claims, pair.refresh)
        with pytest.raises(InvalidRequestError, match="refresh_token: required"):
            logout.log_out(access)
        with pytest.raises(InvalidRequestError, match="refresh_token: invalid"):
            logout.log_out(access, "x")
    assert get_status(app.test_client(), pair) == (200, 200)


def test_an_exception_in_the_apps_loader_is_not_an_invalid_token(
    make_app: MakeApp,
) -> None:
    app = make_app(JWT_TOKEN_LOCATION=["headers", "cookies"])
    app.testing = False
    loader = app.extensions["flask-jwt-extended"]._token_in_blocklist_callback

    def look_up(header: t.Any, claims: t.Any) -> bool:
        raise KeyError("no such user")

    loader.previous = look_up
    pair = make_pair(app)
    client = app.test_client()
    client.set_cookie("refresh_token_cookie", pair.refresh)
    response = log_out(client, pair)
    assert response.status_code == 500
    assert "Set-Cookie" not in response.headers
    loader.previous = None
    assert get_status(app.test_client(), pair) == (200, 200)


class Endless(io.RawIOBase):
    """A body that never ends, and that counts the bytes that are read."""

    size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        buffer[:] = b" " * len(buffer)
        self.size += len(buffer)
        return len(buffer)


@pytest.mark.parametrize("locations", [["headers"], ["json", "headers"]])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_huge_body_is_not_read(
    make_app: MakeApp, locations: list[str], is_chunked: bool
) -> None:
    app = make_app(JWT_TOKEN_LOCATION=locations)
    body = Endless()
    length: dict[str, t.Any] = {"CONTENT_LENGTH": "22000000"}
    if is_chunked:
        length = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    response = app.test_client().post(
        "/auth/logout",
        content_type="application/json",
        headers=bearer(make_pair(app).access),
        environ_overrides={"wsgi.input": body, **length},
    )
    # Werkzeug truncates a body of unknown length, so it isn't valid JSON.
    cut = validation_failed("body", "invalid_json", "")
    expected = (400, cut) if is_chunked else (413, TOO_LARGE)
    assert (response.status_code, response.data) == expected
    assert body.size < 1_000_000


def test_a_body_that_the_app_has_read_is_accepted(make_app: MakeApp) -> None:
    app = make_app()
    app.before_request(lambda: request.get_data() and None)
    assert log_out(app.test_client(), make_pair(app)).data == LOGGED_OUT


def test_the_openapi_document_says_whether_a_refresh_token_is_required(
    make_app: MakeApp, lenient: Flask
) -> None:
    def run(app: Flask) -> t.Any:
        return app.test_cli_runner().invoke(args=["logout", "openapi"])

    schemas = json.loads(run(lenient).output)["components"]["schemas"]
    assert "required" not in schemas["LogoutRequest"]
    result = run(make_app(LOGOUT_ENDPOINTS=set()))
    assert (result.exit_code, result.output) == (
        1,
        "Error: LOGOUT_ENDPOINTS is empty, so there is no endpoint.\n",
    )


def test_the_largest_valid_body_is_accepted(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_MAX_TOKEN_LENGTH=8192)
    pair = make_pair(app)
    response = app.test_client().post(
        "/auth/logout",
        headers=bearer(pair.access),
        json={"refresh_token": pair.refresh, "padding": "x" * 65_000},
    )
    assert response.data == LOGGED_OUT


def test_an_upstream_that_succeeded_before_the_store_failed_is_logged(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    ended: list[str] = []
    app.extensions["logout"].upstreams.append(lambda pair: ended.append("there"))
    pair = make_pair(app)
    with app.app_context():
        store = app.extensions["logout"].store
        real, store.engine.change = store.engine.change, _fail
    assert log_out(app.test_client(), pair).status_code == 503
    store.engine.change = real
    assert ended == ["there"]
    (line,) = [x for x in caplog.messages if "logout_incomplete" in x]
    assert '{"subject": "ada", "upstreams": 1}' in line
    assert pair.refresh not in caplog.text
    assert get_status(app.test_client(), pair) == (200, 200)


def _fail(*_: object) -> t.NoReturn:
    raise StoreUnavailableError("the disk is full")


def test_an_unacknowledged_write_is_reported_as_unknown(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    received: list[dict[str, t.Any]] = []
    pair = make_pair(app)
    with app.app_context():
        store = app.extensions["logout"].store
        real = store.engine.change

        def change_and_fail(*arguments: t.Any) -> t.NoReturn:
            real(*arguments)
            raise OutcomeUnknownError("the connection broke")

        store.engine.change = change_and_fail
    with revocation_unknown.connected_to(lambda _, **x: received.append(x)):
        response = log_out(app.test_client(), pair)
    store.engine.change = real
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    (values,) = received
    assert str(values["error"]) == "the connection broke"
    assert [x.kind for x in values["revocations"]] == ["token", "session"]
    (line,) = [x for x in caplog.messages if "revocation_unknown" in x]
    assert '"event": "authn_token_revoked+session_logout", "subject": "ada"' in line
    assert pair.refresh not in caplog.text
    assert log_out(app.test_client(), pair).data == INVALID_TOKEN


def test_a_failed_upstream_is_not_an_incomplete_logout(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()

    def fail(_: object) -> t.NoReturn:
        raise ExternalAPIError(details={"status": 502})

    app.extensions["logout"].upstreams.append(fail)
    assert log_out(app.test_client(), make_pair(app)).status_code == 400
    assert "logout_incomplete" not in caplog.text


def test_a_forged_token_is_rejected_before_loaders_are_called(
    make_app: MakeApp,
) -> None:
    app = make_app()
    seen: list[object] = []
    loader = app.extensions["flask-jwt-extended"]._token_in_blocklist_callback
    loader.previous = lambda header, claims: seen.append(claims)
    pair = make_pair(app)
    forged = Pair(pair.access[:-4] + "AAAA", pair.refresh)
    response = log_out(app.test_client(), forged)
    assert (response.status_code, response.data) == (401, INVALID_TOKEN)
    assert seen == []
