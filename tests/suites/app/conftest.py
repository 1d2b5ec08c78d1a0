import pytest

from config import CONFIG
from myapp import create_app
from myapp import db


@pytest.fixture
def app(tmp_path):
    uri = f"sqlite:///{tmp_path / 'test.db'}"
    app = create_app(**{"SQLALCHEMY_DATABASE_URI": uri, **CONFIG})
    with app.app_context():
        db.create_all()
    yield app
    with app.app_context():
        db.engine.dispose()
