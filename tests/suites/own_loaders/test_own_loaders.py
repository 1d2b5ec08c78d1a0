import pytest
from flask_jwt_extended import decode_token

from myapp import jwt


@jwt.user_identity_loader
def load_identity(user):
    return user["name"]


@jwt.additional_claims_loader
def load_claims(user):
    return {"role": "admin", "team": 1}


@pytest.fixture
def pair(logout_make_pair):
    return logout_make_pair({"name": "ada"}, team=2)


def test_both_tokens_have_the_claims_of_the_app_and_of_the_test(app, pair):
    names = ("iss", "role", "sid", "sub", "team", "type")
    expected = {"iss": "us", "role": "admin", "sid": None, "sub": "ada", "team": 2}
    with app.app_context():
        access, refresh = map(decode_token, pair)
    assert {name: access.get(name) for name in names} == {**expected, "type": "access"}
    assert {name: refresh.get(name) for name in names} == {
        **expected,
        "type": "refresh",
    }


def test_the_app_accepts_the_access_token(app, pair, logout_headers):
    response = app.test_client().get("/me", headers=logout_headers(pair))
    assert response.get_json() == {"identity": "ada"}
