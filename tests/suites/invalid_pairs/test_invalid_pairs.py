import pytest

from flask_logout.testing import TokenPair

PROTECTED_ROUTE = {
    "expired": (401, "Token has expired"),
    "foreign": (422, "Signature verification failed"),
    "malformed": (422, "Not enough segments"),
    "swapped": (422, "Only non-refresh tokens are allowed"),
}
REFRESH_TOKEN_ERRORS = {
    "expired": [],
    "foreign": ["invalid"],
    "malformed": ["invalid"],
    "swapped": ["wrong_token_type"],
}


@pytest.fixture(params=PROTECTED_ROUTE)
def kind(request):
    return request.param


@pytest.fixture
def invalid_pair(request, kind):
    return request.getfixturevalue(f"logout_make_{kind}_pair")("ada", team=2)


def test_a_protected_route_rejects_the_access_token(
    app, kind, invalid_pair, logout_headers
):
    response = app.test_client().get("/me", headers=logout_headers(invalid_pair))
    status, message = PROTECTED_ROUTE[kind]
    assert (response.status_code, response.get_json()) == (status, {"msg": message})


def test_the_logout_rejects_the_access_token(
    invalid_pair, logout_make_pair, logout_log_out
):
    pair = TokenPair(invalid_pair.access, logout_make_pair("ada").refresh)
    expected = {"code": 401, "message": "invalid token", "data": {}}
    assert logout_log_out(pair).get_json() == expected


def test_the_logout_says_what_is_wrong_with_the_refresh_token(
    kind, invalid_pair, logout_make_pair, logout_log_out
):
    pair = TokenPair(logout_make_pair("ada").access, invalid_pair.refresh)
    data = logout_log_out(pair).get_json()["data"]
    errors = [error["message"] for error in data.get("errors", [])]
    assert errors == REFRESH_TOKEN_ERRORS[kind]
