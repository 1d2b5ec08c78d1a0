"""The undocumented names that this package uses: which one has an upgrade broken?"""

from __future__ import annotations

from importlib import import_module

import pytest
import sqlalchemy as sa
from flask import Flask
from flask import g
from flask_jwt_extended import JWTManager
from flask_jwt_extended import verify_jwt_in_request

NAMES = [
    "flask_jwt_extended.config.config",
    "flask_jwt_extended.default_callbacks.default_blocklist_callback",
    "flask_jwt_extended.default_callbacks.default_decode_key_callback",
    "flask_jwt_extended.internal_utils.custom_verification_for_token",
    "flask_jwt_extended.internal_utils.get_jwt_manager",
    "flask_jwt_extended.internal_utils.has_user_lookup",
    "flask_jwt_extended.internal_utils.verify_token_not_blocklisted",
    "flask_jwt_extended.internal_utils.verify_token_type",
    "flask_jwt_extended.view_decorators._decode_jwt_from_cookies",
    "flask_jwt_extended.view_decorators._decode_jwt_from_headers",
    "flask_jwt_extended.view_decorators._decode_jwt_from_json",
    "flask_jwt_extended.view_decorators._decode_jwt_from_query_string",
    "flask_jwt_extended.view_decorators._load_user",
    "flask_jwt_extended.view_decorators._verify_token_is_fresh",
]


@pytest.mark.parametrize("name", NAMES)
def test_flask_jwt_extended_has_the_name(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(import_module(module), attribute), (
        f"{name} is gone: adapt flask_logout/jwt_extended.py"
    )


@pytest.mark.parametrize(
    "name",
    [
        "_decode_key_callback",
        "_token_in_blocklist_callback",
        "_user_identity_callback",
    ],
)
def test_the_jwt_manager_has_the_callback(name: str) -> None:
    assert hasattr(JWTManager(), name), (
        f"JWTManager.{name} is gone: adapt flask_logout/jwt_extended.py"
    )


def test_flask_jwt_extended_keeps_the_token_in_g() -> None:
    app = Flask("tests")
    app.config["JWT_SECRET_KEY"] = 32 * "x"
    JWTManager(app)
    with app.test_request_context():
        verify_jwt_in_request(optional=True)
        names = sorted(x for x in g if x.startswith("_jwt"))
    assert names == [
        "_jwt_extended_jwt",
        "_jwt_extended_jwt_header",
        "_jwt_extended_jwt_location",
        "_jwt_extended_jwt_user",
    ], "adapt clear_token() in flask_logout/jwt_extended.py"


def test_an_engine_has_what_the_connections_need() -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.QueuePool)
    assert hasattr(engine.pool, "_timeout"), (
        "QueuePool._timeout is gone: adapt flask_logout/stores/sqlalchemy/connections.py"
    )
    for name in ("do_rollback", "do_close", "do_terminate"):
        assert hasattr(engine.dialect, name), (
            f"Dialect.{name} is gone: adapt"
            " flask_logout/stores/sqlalchemy/connections.py"
        )


def test_an_engine_has_what_the_listeners_need() -> None:
    engine = sa.create_engine("sqlite://")
    where = "adapt flask_logout/stores/sqlalchemy/tracing.py"
    assert hasattr(engine, "logger"), f"Engine.logger is gone: {where}"
    for name in ("before_cursor_execute", "after_cursor_execute"):
        assert list(getattr(engine.dispatch, name)) == [], where
    assert list(engine.dialect.dispatch.handle_error) == [], where
