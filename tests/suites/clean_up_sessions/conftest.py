import pytest

from myapp import create_app
from myapp import db


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """One app, and so one database, for all tests."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('db') / 'test.db'}"
    app = create_app(SQLALCHEMY_DATABASE_URI=uri, LOGOUT_SESSIONS=True)
    with app.app_context():
        db.create_all()
    yield app
    with app.app_context():
        db.engine.dispose()
