import pytest

from flask_logout import LogoutExtension
from flask_logout import StoreUnavailableError

UNAVAILABLE = {"code": 503, "message": "service unavailable", "data": {}}


def test_no_session_is_read_or_written(
    app,
    logout_start_session,
    logout_sessions,
    logout_make_stale,
    logout_headers,
    logout_store_unavailable,
):
    pair = logout_start_session("ada")
    headers = logout_headers(pair.refresh)
    with logout_store_unavailable():
        response = app.test_client().post("/refresh", headers=headers)
        assert (response.status_code, response.get_json()) == (503, UNAVAILABLE)
        for function, argument in (
            (logout_start_session, "ada"),
            (logout_sessions, "ada"),
            (logout_make_stale, pair),
        ):
            with pytest.raises(StoreUnavailableError):
                function(argument)
    assert len(logout_sessions("ada")) == 1
    assert app.test_client().post("/refresh", headers=headers).status_code == 200


def test_the_store_of_sessions_is_stopped_as_well(app, logout_store_unavailable):
    with logout_store_unavailable(), app.app_context():
        store = app.extensions["logout"].sessions.store
        for name in ("start", "rotate", "find", "list_active", "end", "revoke_once"):
            with pytest.raises(StoreUnavailableError):
                getattr(store, name)(None)
        for name in ("purge", "inspect"):
            with pytest.raises(StoreUnavailableError):
                getattr(store, name)()
        with pytest.raises(StoreUnavailableError):
            LogoutExtension().sessions_of("ada")
