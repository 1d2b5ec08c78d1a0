def test_nothing(app):
    pass
