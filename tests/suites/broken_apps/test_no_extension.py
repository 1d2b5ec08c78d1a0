import pytest
from flask import Flask


@pytest.fixture
def app():
    return Flask("myapp")


def test_pair(logout_make_pair):
    pass
