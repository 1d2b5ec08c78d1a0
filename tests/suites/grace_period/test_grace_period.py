def test_an_expired_pair_is_older_than_the_grace_period(
    logout_make_expired_pair, logout_log_out
):
    expected = {"code": 401, "message": "invalid token", "data": {}}
    expired = logout_make_expired_pair("ada")
    assert logout_log_out(expired).get_json() == expected
