import pytest
from flask import abort
from flask import request


@pytest.fixture
def logout_app(app):
    @app.before_request
    def check_key():
        if request.headers.get("X-Key") != "key":
            abort(403)

    return app


@pytest.fixture
def keyed_client(logout_client):
    logout_client.environ_base["HTTP_X_KEY"] = "key"


def test_the_overridden_app_rejects_a_request_without_key(
    logout_log_out, logout_make_pair
):
    assert logout_log_out(logout_make_pair("ada")).status_code == 403


def test_the_changed_client_sends_the_key(
    keyed_client, logout_log_out, logout_make_pair
):
    assert logout_log_out(logout_make_pair("ada")).status_code == 200
