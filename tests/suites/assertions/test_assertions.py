import pytest


@pytest.fixture
def pair(logout_make_pair):
    return logout_make_pair("ada")


@pytest.fixture
def expired(logout_make_expired_pair):
    return logout_make_expired_pair("ada")


def test_before_a_logout(
    pair, expired, logout_assert_revoked, logout_assert_not_revoked
):
    logout_assert_not_revoked(*pair, *expired)
    for token in (*pair, *expired):
        with pytest.raises(AssertionError):
            logout_assert_revoked(token)


def test_after_a_logout(
    pair, expired, logout_log_out, logout_assert_revoked, logout_assert_not_revoked
):
    assert logout_log_out(pair).status_code == 200
    logout_assert_revoked(*pair)
    logout_assert_not_revoked(*expired)
    for tokens in (pair, (*expired, pair.access), (*expired, pair.refresh)):
        with pytest.raises(AssertionError):
            logout_assert_not_revoked(*tokens)
