def test_start(logout_start_session):
    raise AssertionError("unreachable")


def test_list(logout_sessions):
    raise AssertionError("unreachable")


def test_stale(logout_make_stale):
    raise AssertionError("unreachable")


def test_store(logout_store_unavailable, logout_clean_up):
    with logout_store_unavailable():
        pass
    logout_clean_up()
