"""The how-to about application factories."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_logout import ConfigError

from .conftest import dispose
from .conftest import SECRET
from .pages import run
from .tokens import bearer
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair


class Create(t.Protocol):
    """Call the factory of the page; the name is that of the database."""

    def __call__(self, name: str, **config: t.Any) -> Flask: ...


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """What the page defines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLASK_JWT_SECRET_KEY", SECRET)
    return run("howto/factory.rst")


@pytest.fixture
def create(names: dict[str, t.Any], tmp_path: Path) -> t.Iterator[Create]:
    """The factory of the page, with databases in files."""
    made = []

    def create(name: str, **config: t.Any) -> Flask:
        url = f"sqlite:///{tmp_path / name}.db"
        app: Flask = names["create_app"](SQLALCHEMY_DATABASE_URI=url, **config)
        with app.app_context():
            names["db"].create_all()
        made.append(app)
        return app

    yield create
    for app in made:
        dispose(app)


def log_out_everywhere(app: Flask, access: str) -> int:
    """Call the route of the blueprint."""
    client = app.test_client()
    return client.post("/api/logout-everywhere", headers=bearer(access)).status_code


def test_the_factory_makes_an_app_that_logs_out(create: Create) -> None:
    app = create("app")
    pair, other = make_pair(app), make_pair(app)
    assert log_out(app.test_client(), pair).status_code == 404
    assert log_out(app.test_client(), pair, "/api/auth/logout").data == LOGGED_OUT
    assert log_out_everywhere(app, pair.access) == 401
    assert log_out_everywhere(app, other.access) == 200
    assert log_out_everywhere(app, other.access) == 401


def test_apps_of_one_factory_keep_their_revocations_apart(create: Create) -> None:
    first, second = create("first"), create("second", LOGOUT_URL_PREFIX="/session")
    pair = make_pair(first)
    assert log_out(first.test_client(), pair, "/api/auth/logout").data == LOGGED_OUT
    assert log_out(second.test_client(), pair, "/api/auth/logout").status_code == 404
    assert log_out(second.test_client(), pair, "/session/logout").data == LOGGED_OUT


def test_apps_that_share_a_database_share_their_revocations(create: Create) -> None:
    first, second = create("app"), create("app")
    pair = make_pair(first)
    assert log_out(first.test_client(), pair, "/api/auth/logout").data == LOGGED_OUT
    assert log_out_everywhere(second, pair.access) == 401


def test_every_app_of_the_object_calls_its_upstreams(
    names: dict[str, t.Any], create: Create
) -> None:
    first, told = create("first"), list[str]()
    names["logout"].upstream(lambda tokens: told.append(tokens.access["sub"]))
    for app, user in ((first, "ada"), (create("second"), "bob")):
        pair = make_pair(app, user)
        assert log_out(app.test_client(), pair, "/api/auth/logout").data == LOGGED_OUT
    assert told == ["ada", "bob"]


def test_a_later_setting_has_no_effect(create: Create) -> None:
    app = create("app")
    app.config["LOGOUT_URL_PREFIX"] = "/later"
    pair = make_pair(app)
    assert log_out(app.test_client(), pair, "/later/logout").status_code == 404
    assert log_out(app.test_client(), pair, "/api/auth/logout").data == LOGGED_OUT


def test_a_later_loader_fails_the_first_request(
    names: dict[str, t.Any], create: Create
) -> None:
    app = create("app")
    app.testing = True
    names["jwt"].token_in_blocklist_loader(lambda header, claims: False)
    with pytest.raises(ConfigError, match="Revocation is disabled"):
        app.test_client().get("/")


def test_the_other_loaders_may_come_later(
    names: dict[str, t.Any], create: Create
) -> None:
    app = create("app")
    names["jwt"].revoked_token_loader(lambda header, claims: ("revoked", 418))
    pair = make_pair(app)
    assert log_out(app.test_client(), pair, "/api/auth/logout").data == LOGGED_OUT
    assert log_out_everywhere(app, pair.access) == 418
