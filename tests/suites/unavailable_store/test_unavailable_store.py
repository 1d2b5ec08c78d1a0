import pytest

from flask_logout import LogoutExtension
from flask_logout import StoreUnavailableError

UNAVAILABLE = {"code": 503, "message": "service unavailable", "data": {}}


@pytest.fixture
def pair(logout_make_pair):
    return logout_make_pair("ada")


@pytest.fixture
def get_me(app, pair, logout_headers):
    return lambda: app.test_client().get("/me", headers=logout_headers(pair))


def test_requests_get_503(pair, get_me, logout_log_out, logout_store_unavailable):
    with logout_store_unavailable():
        for response in (get_me(), logout_log_out(pair)):
            assert (response.status_code, response.get_json()) == (503, UNAVAILABLE)


def test_methods_of_the_extension_raise(app, logout_store_unavailable):
    with logout_store_unavailable(), app.app_context():
        for method in (LogoutExtension().purge, LogoutExtension().revoke_everyone):
            with pytest.raises(StoreUnavailableError):
                method()


def test_nothing_is_revoked_meanwhile(
    pair, get_me, logout_log_out, logout_assert_not_revoked, logout_store_unavailable
):
    with logout_store_unavailable():
        logout_log_out(pair)
    logout_assert_not_revoked(*pair)
    assert get_me().get_json() == {"identity": "ada"}


def test_the_store_is_unavailable_until_the_outer_block_ends(
    get_me, logout_store_unavailable
):
    with logout_store_unavailable():
        with logout_store_unavailable():
            assert get_me().status_code == 503
        assert get_me().status_code == 503
    assert get_me().status_code == 200


def test_the_store_works_again_after_an_exception(get_me, logout_store_unavailable):
    with pytest.raises(ZeroDivisionError), logout_store_unavailable():
        raise ZeroDivisionError
    assert get_me().get_json() == {"identity": "ada"}
