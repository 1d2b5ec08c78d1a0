from datetime import timedelta

import pytest
from flask_jwt_extended import decode_token
from flask_jwt_extended import verify_jwt_in_request

from flask_logout import LogoutExtension
from flask_logout.testing import TokenPair

# The tests may share a database.
pytestmark = pytest.mark.usefixtures("logout_clean_up")

REVOKED = {"msg": "Token has been revoked"}


@pytest.fixture
def pair(logout_start_session):
    return logout_start_session("ada", label="laptop", team=2)


@pytest.fixture
def claims_of(app):
    def decode(token):
        with app.app_context():
            return decode_token(token)

    return decode


@pytest.fixture
def verify(app, logout_headers):
    """Check a refresh token as a protected route does, without exchanging it."""

    def verify(token):
        headers = logout_headers(token)
        with app.test_request_context(method="POST", headers=headers):
            verify_jwt_in_request(refresh=True, locations=["headers"])

    return verify


@pytest.fixture
def refresh(app, logout_headers):
    """Send a request as a client does that keeps its tokens itself."""

    def refresh(token):
        headers = logout_headers(token)
        return app.test_client().post("/refresh", headers=headers)

    return refresh


def test_a_session_is_listed(pair, claims_of, logout_sessions, logout_start_session):
    logout_start_session("bob")
    (session,) = logout_sessions("ada")
    access, refresh = map(claims_of, pair)
    assert session.sid == access["sid"] == refresh["sid"]
    assert (session.subject, session.label) == ("ada", "laptop")
    assert (access["fresh"], access["team"], refresh["team"]) == (True, 2, 2)
    later = logout_start_session("ada", fresh=False)
    assert claims_of(later.access)["fresh"] is False
    sids = [claims_of(x.access)["sid"] for x in (later, pair)]
    assert [x.sid for x in logout_sessions("ada")] == sids


def test_a_fresh_token_may_be_fresh_for_a_time(logout_start_session, claims_of):
    pair = logout_start_session("ada", fresh=timedelta(minutes=5))
    claims = claims_of(pair.access)
    assert claims["fresh"] == pytest.approx(claims["iat"] + 300, abs=2)


def test_the_pair_hides_its_tokens(pair):
    assert isinstance(pair, TokenPair)
    assert repr(pair) == "TokenPair(access=…, refresh=…)"


def test_claims_of_the_extension_are_rejected(logout_start_session):
    with pytest.raises(ValueError, match="Invalid additional_claims: sid"):
        logout_start_session("ada", sid="5b2c")


def test_a_logout_ends_the_session(pair, logout_log_out, logout_sessions):
    assert logout_log_out(pair).status_code == 200
    assert logout_sessions("ada") == []


def test_a_stale_token_ends_its_session(
    pair,
    refresh,
    logout_make_stale,
    logout_sessions,
    logout_assert_revoked,
    logout_assert_not_revoked,
):
    new = logout_make_stale(pair)
    logout_assert_not_revoked(*new, pair.access)
    assert len(logout_sessions("ada")) == 1

    response = refresh(pair.refresh)
    assert (response.status_code, response.get_json()) == (401, REVOKED)
    assert logout_sessions("ada") == []
    logout_assert_revoked(*pair, *new)


def test_the_new_pair_can_be_refreshed(
    app, pair, refresh, claims_of, logout_make_stale, logout_assert_not_revoked
):
    service = app.extensions["logout"]
    new = logout_make_stale(pair)
    assert app.extensions["logout"] is service
    response = refresh(new.refresh)
    assert response.status_code == 200
    newest = response.get_json()
    logout_assert_not_revoked(newest["access_token"], newest["refresh_token"])
    sids = {claims_of(x)["sid"] for x in (*pair, *new, newest["refresh_token"])}
    assert len(sids) == 1
    assert claims_of(new.access)["fresh"] is False


def test_a_token_can_be_stale_twice(pair, verify, refresh, logout_make_stale):
    newest = logout_make_stale(logout_make_stale(pair))
    verify(newest.refresh)
    assert refresh(pair.refresh).status_code == 401


def test_a_pair_without_a_session_is_made_stale(
    logout_make_pair, logout_make_stale, refresh, logout_sessions
):
    pair = logout_make_pair("ada")
    logout_make_stale(pair)
    assert len(logout_sessions("ada")) == 1
    assert refresh(pair.refresh).status_code == 401
    assert logout_sessions("ada") == []


def test_the_service_comes_back_after_a_failure(app, pair, logout_make_stale):
    service = app.extensions["logout"]
    with app.app_context():
        LogoutExtension().revoke_user("ada")
    with pytest.raises(Exception, match="Token has been revoked"):
        logout_make_stale(pair)
    assert app.extensions["logout"] is service


def test_sessions_work_in_an_open_context(
    app, logout_start_session, logout_sessions, logout_make_stale
):
    with app.app_context():
        pair = logout_start_session("ada")
        logout_make_stale(pair)
        assert len(logout_sessions("ada")) == 1
