"""No logout is lost if connections are cut, or if servers are slow or silent."""

from __future__ import annotations

import math
import os

import pytest
from flask import Flask

from flask_logout import LogoutExtension
from flask_logout import StoreUnavailableError

from .ledger import Ledger
from .ledger import load_on
from .proxied_apps import at_most
from .proxied_apps import connect
from .proxied_apps import LIBPQ_TIMEOUT
from .proxied_apps import Reached
from .proxied_apps import TIMEOUT
from .proxy import alarm
from .proxy import interrupted
from .tokens import claims_of
from .tokens import get_status
from .tokens import make_pair

pytestmark = pytest.mark.infrastructure

CUTS = ["requests", "replies"]

# psycopg2 ignores signals while it waits.
with_signals = pytest.mark.parametrize(
    "served", ["postgresql+psycopg", "mysql+pymysql"], indirect=True
)
# PyMySQL limits each single read, but not the total time.
with_a_total = pytest.mark.parametrize(
    "served", ["postgresql+psycopg", "postgresql+psycopg2"], indirect=True
)
with_psycopg = pytest.mark.parametrize("served", ["postgresql+psycopg"], indirect=True)


# Connections that are cut


@pytest.mark.parametrize("what", CUTS)
def test_a_check_is_retried_if_its_connection_is_cut_once(
    reached: Reached, what: str
) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), app.test_client()
    valid, revoked = make_pair(app), make_pair(app)
    assert ledger.log_out(client, revoked) == 200
    for pair, status in [(revoked, 401), (valid, 200)]:
        getattr(proxy, f"cut_{what}")()
        assert ledger.visit(client, pair) == status
    ledger.settle()


@pytest.mark.parametrize("what", CUTS)
def test_a_check_returns_503_if_its_connection_is_always_cut(
    reached: Reached, what: str
) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), app.test_client()
    valid, revoked = make_pair(app), make_pair(app)
    assert ledger.log_out(client, revoked) == 200
    getattr(proxy, f"cut_{what}")(math.inf)
    for pair in (revoked, valid):
        assert ledger.visit(client, pair) == 503
    proxy.heal()
    assert get_status(client, valid) == (200, 200)
    ledger.settle()


@pytest.mark.parametrize("what", CUTS)
def test_a_logout_is_retried_if_its_connection_is_cut_once(
    reached: Reached, what: str
) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), app.test_client()
    pair = make_pair(app)
    assert get_status(client, pair) == (200, 200)
    getattr(proxy, f"cut_{what}")(1)
    assert ledger.log_out(client, pair) == 200
    ledger.settle()


@pytest.mark.parametrize("what", CUTS)
def test_a_logout_is_retried_if_its_statement_is_cut(
    reached: Reached, what: str
) -> None:
    app, proxy = reached
    logout, pair = LogoutExtension(), make_pair(app)
    assert get_status(app.test_client(), pair) == (200, 200)
    with app.app_context():
        # No check runs before this, so the write itself is cut.
        getattr(proxy, f"cut_{what}")()
        logout.revoke_token(claims_of(pair.access))
    assert get_status(app.test_client(), pair) == (401, 200)


@pytest.mark.parametrize("what", CUTS)
def test_a_logout_returns_503_if_its_connection_is_always_cut(
    reached: Reached, what: str
) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), app.test_client()
    pair = make_pair(app)
    assert get_status(client, pair) == (200, 200)
    getattr(proxy, f"cut_{what}")(math.inf)
    assert ledger.log_out(client, pair) == 503
    with app.app_context(), pytest.raises(StoreUnavailableError):
        LogoutExtension().revoke_token(claims_of(pair.access))
    proxy.heal()
    assert ledger.log_out(client, pair) in {200, 401}
    assert get_status(client, make_pair(app)) == (200, 200)


@pytest.mark.parametrize("times", [1, math.inf])
@pytest.mark.parametrize("what", CUTS)
def test_a_purge_whose_connection_is_cut_loses_nothing(
    reached: Reached, what: str, times: float
) -> None:
    app, proxy = reached
    ledger, client, logout = Ledger(app), app.test_client(), LogoutExtension()
    assert ledger.log_out(client, make_pair(app)) == 200
    with app.app_context():
        for i in range(20):
            logout.revoke_token({"jti": f"{what}{times}{i}", "exp": 1})
        getattr(proxy, f"cut_{what}")(times)
        if times == 1:
            logout.purge()
        else:
            with pytest.raises(StoreUnavailableError):
                logout.purge()
        proxy.heal()
        logout.purge()
        assert logout.purge() == 0
    ledger.settle()


@with_signals
def test_no_caller_receives_the_reply_to_an_interrupted_command(
    reached: Reached,
) -> None:
    app, proxy = reached
    ledger, client, logout = Ledger(app), app.test_client(), LogoutExtension()
    valid, revoked, ended = (make_pair(app) for _ in range(3))
    assert ledger.log_out(client, revoked) == 200
    for work in (
        lambda: ledger.visit(client, revoked),
        lambda: logout.revoke_token(claims_of(ended.access)),
        logout.purge,
    ):
        with app.app_context():
            proxy.slow(delay=0.1)
            with interrupted(after=0.1):
                work()
            proxy.heal()
            work()
        assert ledger.visit(client, valid) == 200
        assert ledger.visit(client, revoked) == 401
    ledger.settle()


@with_psycopg
def test_a_revocation_is_retried_if_psycopg_finds_a_broken_socket(
    reached: Reached,
) -> None:
    app, proxy = reached
    pair, store = make_pair(app), app.extensions["logout"].store
    assert get_status(app.test_client(), pair) == (200, 200)
    with store.engine.connect() as connection:
        number = connection.connection.dbapi_connection.fileno()
    reader, writer = os.pipe()
    os.close(reader)

    def break_socket(*_: object) -> None:
        # The pipe has no reader, so waiting for it ends with an error.
        os.dup2(writer, number)
        proxy.heal()

    proxy.stall()
    with app.app_context(), alarm(break_socket, after=0.05):
        LogoutExtension().revoke_token(claims_of(pair.access))
    os.close(writer)
    assert get_status(app.test_client(), pair) == (401, 200)


def test_no_logout_is_lost_if_a_server_comes_and_goes_under_load(
    reached: Reached,
) -> None:
    app, proxy = reached
    with load_on(app) as ledger:
        for _ in range(3):
            proxy.cut()
            ledger.wait_for(401)
            proxy.refuse()
            ledger.wait_for(503)
            proxy.heal()
            ledger.wait_for(200)
    assert ledger.statuses <= {200, 401, 503}
    ledger.settle()
    assert get_status(app.test_client(), make_pair(app)) == (200, 200)


# Servers that are slow or silent


def test_logouts_work_with_a_distant_server(reached: Reached) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), app.test_client()
    proxy.slow(delay=0.02)
    assert ledger.log_out(client, make_pair(app)) == 200
    ledger.settle()


def test_replies_that_arrive_byte_by_byte_are_read(reached: Reached) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), app.test_client()
    valid, revoked = make_pair(app), make_pair(app)
    assert ledger.log_out(client, revoked) == 200
    proxy.slow(trickle=0.0002)
    assert ledger.visit(client, revoked) == 401
    assert ledger.visit(client, valid) == 200
    assert ledger.log_out(client, valid) == 200
    proxy.heal()
    ledger.settle()


def test_a_silent_server_leads_to_a_503_within_the_timeout(
    reached: Reached, hasty: Flask
) -> None:
    app, proxy = reached
    ledger, client = Ledger(app), hasty.test_client()
    valid, revoked = make_pair(app), make_pair(app)
    assert ledger.log_out(app.test_client(), revoked) == 200
    connect(hasty)
    proxy.stall()
    with at_most(TIMEOUT, proxy):
        assert ledger.visit(client, valid) == 503
    # The pool is empty now, so the server doesn't answer a new connection.
    with at_most(LIBPQ_TIMEOUT, proxy):
        assert ledger.visit(client, revoked) == 503
    proxy.heal()
    assert get_status(app.test_client(), valid) == (200, 200)
    ledger.settle()


def test_a_logout_returns_503_if_the_server_falls_silent_during_it(
    reached: Reached, hasty: Flask
) -> None:
    app, proxy = reached
    pair = make_pair(app)
    assert get_status(app.test_client(), pair) == (200, 200)
    connect(hasty)
    proxy.stall()
    with hasty.app_context(), at_most(TIMEOUT, proxy):
        with pytest.raises(StoreUnavailableError):
            LogoutExtension().revoke_token(claims_of(pair.access))
    proxy.heal()
    assert Ledger(app).log_out(app.test_client(), pair) in {200, 401}


@with_a_total
def test_an_endless_reply_leads_to_a_503_within_the_timeout(
    reached: Reached, hasty: Flask
) -> None:
    app, proxy = reached
    ledger = Ledger(app)
    assert ledger.log_out(app.test_client(), make_pair(app)) == 200
    connect(hasty)
    proxy.slow(trickle=0.5)
    with at_most(TIMEOUT, proxy):
        assert ledger.visit(hasty.test_client(), ledger.acknowledged[0]) == 503
    proxy.heal()
    ledger.settle()
