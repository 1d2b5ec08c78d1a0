import pytest
from flask_jwt_extended import decode_token

from flask_logout import session_claims


@pytest.fixture
def pair(logout_make_session_pair):
    return logout_make_session_pair("ada", team=2)


@pytest.fixture
def claims(app, pair):
    with app.app_context():
        return [decode_token(token) for token in pair]


def test_both_tokens_have_the_same_session(claims):
    access, refresh = claims
    assert access["sid"] == refresh["sid"]
    assert access["team"] == refresh["team"] == 2


def test_a_logout_revokes_refreshed_tokens_but_no_other_session(
    pair,
    claims,
    logout_make_pair,
    logout_make_session_pair,
    logout_log_out,
    logout_assert_revoked,
    logout_assert_not_revoked,
):
    other = logout_make_session_pair("ada")
    refreshed = logout_make_pair("ada", **session_claims(claims[0]))
    assert logout_log_out(pair).status_code == 200
    logout_assert_revoked(*pair, *refreshed)
    logout_assert_not_revoked(*other)
