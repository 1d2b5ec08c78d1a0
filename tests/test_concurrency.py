"""Threads, forked processes, and simultaneous logouts with the same tokens."""

from __future__ import annotations

import os
import typing as t
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from flask import Flask

from flask_logout import LogoutExtension
from flask_logout import session_claims

from .conftest import MakeApp
from .tokens import claims_of
from .tokens import get_status
from .tokens import INVALID_TOKEN
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair

THREADS = 16


def at_once(function: t.Callable[[], t.Any]) -> list[t.Any]:
    """Call a function in 16 threads at the same moment, and return the results."""
    barrier = Barrier(THREADS)

    def call(_: int) -> t.Any:
        barrier.wait()
        return function()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(call, range(THREADS)))


@pytest.fixture
def host(make_app: MakeApp, database_url: str) -> Flask:
    """An app with a pool of 16 connections, on each kind of database."""
    options: dict[str, t.Any] = {"pool_size": THREADS}
    if database_url.startswith("sqlite"):
        options["connect_args"] = {"timeout": 30}
    return make_app(
        SQLALCHEMY_DATABASE_URI=database_url,
        SQLALCHEMY_ENGINE_OPTIONS=options,
        LOGOUT_TIMEOUT=60,
    )


def rows_of(app: Flask) -> int:
    """Count the revocations in the store of an app."""
    with app.app_context():
        return len(app.extensions["logout"].store.changes(None).keys)


@pytest.mark.parametrize("has_session", [True, False])
def test_many_simultaneous_logouts_with_the_same_pair(
    host: Flask, has_session: bool
) -> None:
    options = {"additional_claims": session_claims()} if has_session else {}
    pair = make_pair(host, **options)
    answers = at_once(lambda: log_out(host.test_client(), pair).data)
    assert set(answers) <= {LOGGED_OUT, INVALID_TOKEN}
    assert LOGGED_OUT in answers
    assert rows_of(host) == (1 if has_session else 2)
    assert get_status(host.test_client(), pair) == (401, 401)


def test_many_simultaneous_logouts_with_the_same_refresh_token(host: Flask) -> None:
    shared = make_pair(host).refresh
    pairs = iter([Pair(make_pair(host).access, shared) for _ in range(THREADS)])
    answers = at_once(lambda: log_out(host.test_client(), next(pairs)).data)
    assert set(answers) == {LOGGED_OUT}
    assert rows_of(host) == THREADS + 1


def test_many_simultaneous_revocations_of_the_same_users(host: Flask) -> None:
    logout = LogoutExtension()

    def revoke() -> None:
        with host.app_context():
            logout.revoke_user("ada")

    at_once(revoke)
    assert rows_of(host) == 1


def test_simultaneous_purges_delete_everything_once(host: Flask) -> None:
    logout = LogoutExtension()
    with host.app_context():
        for i in range(50):
            logout.revoke_token({"jti": str(i), "exp": 1})

    def purge() -> int:
        with host.app_context():
            return logout.purge()

    assert sum(at_once(purge)) >= 50
    assert rows_of(host) == 0


def test_a_forked_worker_opens_its_own_connections(host: Flask) -> None:
    pair = make_pair(host)
    assert get_status(host.test_client(), pair) == (200, 200)
    child = os.fork()
    if child == 0:  # pragma: no cover
        code = 1
        try:
            with host.app_context():
                LogoutExtension().revoke_token(claims_of(pair.access))
            code = 0 if get_status(host.test_client(), pair) == (401, 200) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert get_status(host.test_client(), pair) == (401, 200)
