"""A worker whose clock is ahead, beside one whose clock is right."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import time_machine

from flask_logout import LogoutExtension
from flask_logout import session_claims

from .conftest import MakeApp
from .tokens import get_status
from .tokens import make_pair

DAY = timedelta(days=1)
MONTH: t.Any = {"JWT_ACCESS_TOKEN_EXPIRES": 30 * DAY}


# Why a cutoff is not limited by the store's clock: it would leave out these logins, whose
# beginning comes from the fast clock as well.
def test_a_cutoff_covers_the_logins_of_the_worker_that_is_ahead(
    make_app: MakeApp, database_url: str
) -> None:
    fast, right = (
        make_app(SQLALCHEMY_DATABASE_URI=database_url, **MONTH) for _ in "12"
    )
    now = datetime.now(timezone.utc)
    with time_machine.travel(now + DAY, tick=False):
        with fast.app_context():
            pair = make_pair(fast, additional_claims=session_claims())
        assert get_status(fast.test_client(), pair) == (200, 200)
    with time_machine.travel(now + DAY + timedelta(seconds=1), tick=False):
        with fast.app_context():
            LogoutExtension().revoke_user("ada")
        assert get_status(fast.test_client(), pair) == (401, 401)
    # The other worker rejects the tokens also when its clock has arrived there.
    with time_machine.travel(now + DAY + timedelta(minutes=1), tick=False):
        assert get_status(right.test_client(), pair) == (401, 401)


def test_a_later_logout_keeps_the_cutoff_of_the_worker_that_was_ahead(
    make_app: MakeApp, database_url: str
) -> None:
    fast, right = (
        make_app(SQLALCHEMY_DATABASE_URI=database_url, **MONTH) for _ in "12"
    )
    now, logout = datetime.now(timezone.utc), LogoutExtension()
    with time_machine.travel(now + DAY, tick=False), fast.app_context():
        logout.revoke_user("ada")
    with time_machine.travel(now, tick=False), right.app_context():
        logout.revoke_user("ada")
    with time_machine.travel(now + timedelta(hours=1), tick=False):
        with right.app_context():
            pair = make_pair(right, additional_claims=session_claims())
        assert get_status(right.test_client(), pair) == (401, 401)
    with time_machine.travel(now + DAY + timedelta(seconds=1), tick=False):
        with right.app_context():
            pair = make_pair(right, additional_claims=session_claims())
        assert get_status(right.test_client(), pair) == (200, 200)
