"""A password change revokes every login with the old password."""

from __future__ import annotations

import itertools
import random
import threading
import time
import typing as t
from contextlib import nullcontext

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token

from flask_logout import LogoutExtension
from flask_logout import session_claims

from .conftest import MakeApp
from .tokens import get_status
from .tokens import make_pair
from .tokens import Pair

logout = LogoutExtension()

STEPS = ["call", "called", "commit", "committed", "returned"]
"""The steps of a password change, between which a login may run."""

READS_NEW = STEPS.index("committed")
"""From this step on, a login reads the new password."""


@pytest.fixture
def host(make_app: MakeApp, database_url: str) -> t.Iterator[Flask]:
    """An app on each kind of database, in an app context."""
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    with app.app_context():
        yield app


def change_password(
    app: Flask, *, everybody: bool, in_savepoint: bool
) -> dict[str, float]:
    """Revoke in the app's transaction, and return the time of each step."""
    db = app.extensions["sqlalchemy"]
    session, reached_at = db.session(), dict[str, float]()

    def reach(step: str) -> None:
        reached_at[step] = time.time()
        # No two steps, and no step and cutoff, may have the same time.
        time.sleep(0.001)

    reach("call")
    with session.begin_nested() if in_savepoint else nullcontext():
        if everybody:
            logout.revoke_everyone(session=session)
        else:
            logout.revoke_user("ada", session=session)
    reach("called")
    sa.event.listen(db.engine, "commit", lambda _: reach("commit"), once=True)
    sa.event.listen(session, "after_commit", lambda _: reach("committed"), once=True)
    session.commit()
    reach("returned")
    return reached_at


@pytest.mark.parametrize("everybody", [False, True])
@pytest.mark.parametrize("in_savepoint", [False, True])
def test_every_interleaving_of_a_login_and_a_password_change(
    host: Flask, everybody: bool, in_savepoint: bool
) -> None:
    at = change_password(host, everybody=everybody, in_savepoint=in_savepoint)
    assert sorted(at, key=lambda step: at[step]) == STEPS
    plans = [
        (began, read, made)
        for began, read, made in itertools.product(range(len(STEPS)), repeat=3)
        if began <= read <= made
    ]
    assert len(plans) == 35
    for began, read, made in plans:
        claims = {
            "sid": f"{began} {read} {made}",
            "login_at": at[STEPS[began]],
            "iat": at[STEPS[made]],
        }
        pair = make_pair(host, additional_claims=claims)
        is_revoked = get_status(host.test_client(), pair) == (401, 401)
        if read < READS_NEW:
            assert is_revoked, claims
        elif STEPS[began] == "returned":
            assert not is_revoked, claims


def add_password_routes(app: Flask) -> None:
    """Add a slow login, and a password change that returns new tokens."""
    db = app.extensions["sqlalchemy"]
    user = db.Table("user", sa.Column("password", sa.Integer, primary_key=True))
    with app.app_context():
        db.create_all()
        db.session.execute(sa.insert(user).values(password=1))
        db.session.commit()

    def issue(password: int, claims: dict[str, t.Any]) -> dict[str, t.Any]:
        claims = {**claims, "password": password}
        return {
            "password": password,
            "access": create_access_token("ada", additional_claims=claims),
            "refresh": create_refresh_token("ada", additional_claims=claims),
        }

    @app.post("/login")
    def login() -> dict[str, t.Any]:
        password = db.session.scalar(sa.select(user.c.password))
        time.sleep(random.uniform(0, 0.03))
        return issue(password, session_claims())

    @app.post("/password")
    def change() -> dict[str, t.Any]:
        claims = session_claims()
        logout.revoke_user("ada", keep_session=claims["sid"], session=db.session)
        time.sleep(random.uniform(0, 0.03))
        db.session.execute(sa.update(user).values(password=user.c.password + 1))
        db.session.commit()
        return issue(db.session.scalar(sa.select(user.c.password)), claims)


def test_logins_during_password_changes(make_app: MakeApp, database_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    add_password_routes(app)
    issued: list[dict[str, t.Any]] = []
    is_over = threading.Event()

    def log_in() -> None:
        client = app.test_client()
        while not is_over.is_set():
            response = client.post("/login")
            assert response.status_code == 200
            issued.append(response.get_json())

    threads = [threading.Thread(target=log_in) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            changed = app.test_client().post("/password").get_json()
            time.sleep(random.uniform(0, 0.03))
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    last = app.test_client().post("/login").get_json()
    assert last["password"] == changed["password"] == 11
    assert is_accepted(app, changed) == is_accepted(app, last) == (True, True)
    stale = [x for x in issued if x["password"] < 11]
    assert stale
    assert {is_accepted(app, x) for x in stale} == {(False, False)}


def is_accepted(app: Flask, issued: dict[str, t.Any]) -> tuple[bool, bool]:
    """Check whether the tokens of a login are accepted."""
    status = get_status(app.test_client(), Pair(issued["access"], issued["refresh"]))
    assert set(status) <= {200, 401}
    return status[0] == 200, status[1] == 200
