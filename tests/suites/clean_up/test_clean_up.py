import pytest


@pytest.fixture(scope="session")
def pairs():
    return []


@pytest.fixture
def logged_out(pairs, logout_make_pair, logout_log_out, logout_assert_revoked):
    pairs.append(logout_make_pair("ada"))
    assert logout_log_out(pairs[-1]).status_code == 200
    logout_assert_revoked(*pairs[-1])


def test_without(logged_out):
    pass


def test_after_without(pairs, logout_assert_revoked):
    logout_assert_revoked(*pairs[-1])


def test_with(logout_clean_up, logged_out):
    pass


def test_after_with(pairs, logout_assert_not_revoked):
    for pair in pairs:
        logout_assert_not_revoked(*pair)


def test_with_failure(logout_clean_up, logged_out):
    raise RuntimeError


def test_after_with_failure(pairs, logout_assert_not_revoked):
    logout_assert_not_revoked(*pairs[-1])


def test_call(pairs, logged_out, logout_clean_up, logout_assert_not_revoked):
    logout_clean_up()
    logout_assert_not_revoked(*pairs[-1])
