def test_pair(logout_make_pair):
    pass
