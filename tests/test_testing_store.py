"""The fixtures of the pytest plugin for the store: without it, and with an empty one."""

from __future__ import annotations

from flask import Flask
from flask_jwt_extended import create_access_token
from flask_jwt_extended import decode_token

from flask_logout import LogoutExtension

from .conftest import MakeApp
from .plugin_suites import RunSuite


def test_an_unavailable_store_raises_in_every_operation(run_suite: RunSuite) -> None:
    run_suite("unavailable_store").assert_outcomes(passed=5)


def test_revocations_are_deleted_at_the_end_of_a_test(run_suite: RunSuite) -> None:
    run_suite("clean_up").assert_outcomes(passed=6, failed=1)


def test_every_revocation_is_deleted(make_app: MakeApp, database_url: str) -> None:
    check_deletion(make_app(SQLALCHEMY_DATABASE_URI=database_url))


def test_every_revocation_in_memory_is_deleted(make_app: MakeApp) -> None:
    check_deletion(make_app(SQLALCHEMY_DATABASE_URI="sqlite://"))


def check_deletion(app: Flask) -> None:
    """Check that a token and a cutoff are no longer revoked after ``clear()``."""
    logout = LogoutExtension()
    with app.app_context():
        never_expires = create_access_token("ada", expires_delta=False)
        claims = decode_token(never_expires)
        logout.revoke_token(claims)
        logout.revoke_everyone()
        assert logout.is_revoked(claims)
        app.extensions["logout"].store.inspect().clear()
        assert not logout.is_revoked(claims)
