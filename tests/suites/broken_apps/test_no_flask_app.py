import pytest


@pytest.fixture
def app():
    return object()


def test_pair(logout_make_pair):
    pass
