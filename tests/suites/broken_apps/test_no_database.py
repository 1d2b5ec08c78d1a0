import pytest


@pytest.fixture
def app(database):
    pass


def test_pair(logout_make_pair):
    pass
