"""Identities of every type, which are compared in the form that tokens carry."""

from __future__ import annotations

import typing as t
from datetime import date
from datetime import datetime
from datetime import timezone
from decimal import Decimal
from enum import Enum
from enum import IntEnum
from uuid import UUID

import jwt
import pytest
from flask import Flask
from flask.json.provider import DefaultJSONProvider
from flask_jwt_extended import create_access_token

from flask_logout import LogoutExtension
from flask_logout import session_claims

from .conftest import MakeApp
from .redis_servers import cluster
from .redis_servers import cluster_url
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

logout = LogoutExtension()
CHECKS_SUBJECTS = hasattr(jwt.exceptions, "InvalidSubjectError")


class Color(str, Enum):
    """An identity that is a string, but whose ``str()`` differs."""

    RED = "red"


class Number(IntEnum):
    """An identity that is a number, but whose ``str()`` may differ."""

    ONE = 1


class Thing:
    """An identity that only the app's own JSON provider can encode."""

    def __init__(self, number: int) -> None:
        self.number = number


class Provider(DefaultJSONProvider):
    """A JSON provider that can encode a Thing."""

    @staticmethod
    def default(o: t.Any) -> t.Any:
        """Encode a value of a type that JSON doesn't have."""
        if isinstance(o, Thing):
            return f"thing {o.number}"
        return DefaultJSONProvider.default(o)


IDENTITIES = [
    datetime(2030, 1, 1, 12, tzinfo=timezone.utc),
    date(2030, 1, 1),
    UUID(int=7),
    Decimal("1.50"),
    Color.RED,
    Number.ONE,
    Thing(7),
    7,
    1.5,
    True,
    "ada",
    "\U0001f600",
    "\ud83d\ude00",
    "\ud800",
    {"id": 7, "roles": ("a", "b"), 1: None},
    ("a", 1),
]


@pytest.fixture
def any_subject(make_app: MakeApp) -> Flask:
    """An app whose tokens may carry a subject of any type."""
    app = make_app(JWT_VERIFY_SUB=False)
    app.json_provider_class = Provider
    return app


@pytest.mark.parametrize("identity", IDENTITIES, ids=repr)
def test_an_identity_of_any_type_is_logged_out(
    any_subject: Flask, identity: t.Any
) -> None:
    app = any_subject
    pair, other = make_pair(app, identity), make_pair(app, "another")
    assert get_status(app.test_client(), pair) == (200, 200)
    with app.app_context():
        logout.revoke_user(identity)
    assert get_status(app.test_client(), pair) == (401, 401)
    assert get_status(app.test_client(), other) == (200, 200)
    fresh = make_pair(app, identity, additional_claims=session_claims())
    assert log_out(app.test_client(), fresh).data == LOGGED_OUT


def test_an_identity_of_any_type_is_logged_out_on_a_cluster(
    make_app: MakeApp, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        app = make_app(LOGOUT_STORE_URI=cluster_url(nodes[0]), JWT_VERIFY_SUB=False)
        app.json_provider_class = Provider
        with app.app_context():
            for identity in IDENTITIES:
                pair = make_pair(app, identity)
                logout.revoke_user(identity)
                assert get_status(app.test_client(), pair) == (401, 401)
            app.extensions["logout"].store.client.close()


@pytest.mark.parametrize("identity", [object(), {1, 2}, b"ada", {("a",): 1}], ids=repr)
def test_an_identity_that_is_not_json_is_an_error(
    make_app: MakeApp, identity: t.Any
) -> None:
    app = make_app()
    with app.app_context():
        with pytest.raises(TypeError):
            create_access_token(identity)
        with pytest.raises(TypeError) as caught:
            logout.revoke_user(identity)
    assert str(caught.value) == (
        f"Invalid identity of type {type(identity).__name__}. Expected a string, a number,"
        " or a type that the app's JSON provider can encode. Register a"
        " user_identity_loader that returns one, or pass the value of the sub claim."
    )


@pytest.mark.skipif(not CHECKS_SUBJECTS, reason="this PyJWT accepts any subject")
@pytest.mark.parametrize(
    ("identity", "kind"), [({"id": 7}, "dict"), (["ada"], "list"), (("a",), "list")]
)
def test_a_dict_identity_is_an_error_if_pyjwt_rejects_it(
    make_app: MakeApp, identity: t.Any, kind: str
) -> None:
    """A call with a part of the dict would revoke nothing."""
    with make_app().app_context(), pytest.raises(ValueError) as caught:
        logout.revoke_user(identity)
    assert str(caught.value) == (
        f"Invalid identity: a {kind}. Expected a string, because PyJWT rejects every"
        " token whose sub claim is not a string. Pass the string that"
        " create_access_token takes."
    )


@pytest.mark.parametrize(
    "config", [{"JWT_VERIFY_SUB": False}, {"JWT_IDENTITY_CLAIM": "identity"}]
)
def test_a_dict_identity_is_a_warning_if_pyjwt_accepts_it(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, config: dict[str, t.Any]
) -> None:
    app = make_app(**config)
    pair = make_pair(app, {"id": 7, "role": "admin"})
    with app.app_context():
        logout.revoke_user({"id": 7})
        assert get_status(app.test_client(), pair) == (200, 200)
        assert caplog.messages == [
            "The identity is a dict, so this revokes only the tokens that carry exactly"
            " this value. Use a string as the identity, and put the rest into"
            " additional_claims."
        ]
        logout.revoke_user({"role": "admin", "id": 7})
        assert get_status(app.test_client(), pair) == (401, 401)


@pytest.mark.parametrize(
    ("verb", "values", "name"),
    [
        ("revoke_session", {"sid": 5}, "sid"),
        ("revoke_session", {"sid": b"5"}, "sid"),
        ("revoke_user", {"identity": "ada", "keep_session": 5}, "keep_session"),
        ("revoke_user", {"identity": "ada", "reason": 5}, "reason"),
        ("revoke_everyone", {"actor": 5}, "actor"),
        ("revoke_token", {"claims": {"jti": "j"}, "reason": 5}, "reason"),
    ],
)
def test_an_argument_that_is_not_a_string_is_an_error(
    make_app: MakeApp, verb: str, values: dict[str, t.Any], name: str
) -> None:
    app = make_app()
    kind = type(values[name]).__name__
    with app.app_context():
        with pytest.raises(TypeError) as caught:
            getattr(logout, verb)(**values)
        assert app.extensions["logout"].store.changes(None).keys == []
    assert str(caught.value) == (f"Invalid {name} of type {kind}. Expected a string.")
