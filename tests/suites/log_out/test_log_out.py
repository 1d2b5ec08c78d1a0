import pytest

SUCCESS = {"code": 200, "message": "logout successful", "data": {}}
INVALID = {"code": 401, "message": "invalid token", "data": {}}


@pytest.fixture
def pair(logout_make_pair):
    return logout_make_pair("ada")


def test_a_logout_revokes_both_tokens(pair, logout_log_out, logout_assert_revoked):
    response = logout_log_out(pair)
    assert (response.status_code, response.get_json()) == (200, SUCCESS)
    logout_assert_revoked(pair.access, pair.refresh)


def test_a_second_logout_is_rejected(pair, logout_log_out):
    assert logout_log_out(pair).status_code == 200
    assert logout_log_out(pair).get_json() == INVALID


def test_a_malformed_pair_is_rejected(logout_make_malformed_pair, logout_log_out):
    malformed = logout_make_malformed_pair("ada")
    assert logout_log_out(malformed).get_json() == INVALID
