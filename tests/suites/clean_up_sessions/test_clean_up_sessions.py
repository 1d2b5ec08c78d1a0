import pytest


@pytest.fixture
def count(logout_sessions):
    return lambda: len(logout_sessions("ada"))


def test_without(logout_start_session, count):
    logout_start_session("ada")
    assert count() == 1


def test_after_without(logout_start_session, logout_clean_up, count):
    logout_start_session("ada")
    assert count() == 2


def test_after_with(logout_start_session, logout_clean_up, count):
    assert count() == 0
    logout_start_session("ada")
    logout_clean_up()
    assert count() == 0
