import pytest
from flask_jwt_extended import decode_token

from myapp import jwt

USERS = {"7": {"id": "7", "name": "ada"}}


@jwt.user_identity_loader
def load_identity(user):
    return user["id"]


@jwt.user_lookup_loader
def load_user(header, claims):
    return USERS.get(claims["sub"])


@jwt.additional_claims_loader
def load_claims(user):
    return {"name": user["name"]}


def test_the_loaders_of_the_app_get_a_user(
    app, logout_start_session, logout_make_stale, logout_sessions
):
    new = logout_make_stale(logout_start_session(USERS["7"]))
    (session,) = logout_sessions(USERS["7"])
    assert session.subject == "7"
    with app.app_context():
        claims = [decode_token(token) for token in new]
    assert [(x["sub"], x["name"]) for x in claims] == 2 * [("7", "ada")]


def test_a_user_that_is_not_found_is_an_error(logout_start_session, logout_make_stale):
    pair = logout_start_session({"id": "8", "name": "bob"})
    with pytest.raises(Exception, match="user_lookup returned None for 8"):
        logout_make_stale(pair)
