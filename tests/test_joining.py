"""Revocations in a transaction of the app: ``session=``."""

from __future__ import annotations

import typing as t

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_logout import LogoutExtension
from flask_logout import session_claims

from .conftest import MakeApp
from .tokens import get_status
from .tokens import make_pair
from .tokens import Pair

logout = LogoutExtension()


@pytest.fixture
def host(make_app: MakeApp, database_url: str) -> t.Iterator[Flask]:
    """An app on each kind of database, in its context."""
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    with app.app_context():
        yield app


def session_of(app: Flask) -> t.Any:
    """Find the session of an app."""
    return app.extensions["sqlalchemy"].session


def engine_of(app: Flask) -> sa.Engine:
    """Find the engine of an app."""
    return t.cast(sa.Engine, app.extensions["sqlalchemy"].engine)


def login(app: Flask, identity: str = "ada") -> Pair:
    """Issue a pair that is tied together as one session."""
    return make_pair(app, identity, additional_claims=session_claims())


def status(app: Flask, pair: Pair) -> tuple[int, int]:
    """Tell how the routes for access and for refresh tokens answer."""
    return get_status(app.test_client(), pair)


def test_a_login_between_the_call_and_the_commit_is_covered(host: Flask) -> None:
    session = session_of(host)
    logout.revoke_user("ada", session=session)
    between = login(host)
    session.commit()
    assert status(host, between) == (401, 401)
    assert status(host, login(host)) == (200, 200)


def test_a_login_during_the_commit_is_covered(host: Flask) -> None:
    during: list[Pair] = []
    sa.event.listen(engine_of(host), "commit", lambda _: during.append(login(host)))
    session = session_of(host)
    logout.revoke_everyone(session=session)
    session.commit()
    assert [status(host, pair) for pair in during] == [(401, 401)]
