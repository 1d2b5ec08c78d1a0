"""The how-to about logging users out everywhere."""

from __future__ import annotations

import shlex
import typing as t

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_logout import ConfigError
from flask_logout import LogoutExtension

from .conftest import dispose
from .conftest import MakeApp
from .pages import blocks
from .pages import run
from .tokens import bearer
from .tokens import get_status
from .tokens import make_pair
from .tokens import Pair
from .tokens import UNAVAILABLE


class Host(t.NamedTuple):
    """An app with the code of the page."""

    app: Flask
    names: dict[str, t.Any]

    def status(self, pair: Pair) -> tuple[int, int]:
        """Tell how it responds to both tokens."""
        return get_status(self.app.test_client(), pair)

    def log_in(self, user_id: str = "ada") -> Pair:
        """Log in beside other logins."""
        with self.app.app_context():
            claims = self.names["session_claims"]()
        return make_pair(self.app, user_id, additional_claims=claims)

    def password(self, user_id: str = "ada") -> str | None:
        """Read what is stored."""
        with self.app.app_context():
            user = self.names["db"].session.get(self.names["User"], user_id)
            return user and str(user.password)

    def post(self, url: str, pair: Pair, **options: t.Any) -> t.Any:
        """Send a request with an access token."""
        options = {"method": "POST", "headers": bearer(pair.access), **options}
        return self.app.test_client().open(url, **options)


@pytest.fixture
def host(make_app: MakeApp) -> Host:
    """An app with two users."""
    app = make_app()
    app.testing = False
    db = app.extensions["sqlalchemy"]

    class User(db.Model):  # type: ignore[misc, name-defined]  # db is not typed
        id = sa.Column(sa.String(20), primary_key=True)
        password = sa.Column(sa.String(20))

        def set_password(self, password: str) -> None:
            self.password = password  # type: ignore[assignment]  # a row's attribute

    names = run(
        "howto/everywhere.rst",
        app=app,
        db=db,
        logout=LogoutExtension(),
        User=User,
    )
    with app.app_context():
        db.create_all()
        db.session.add_all([User(id=x, password="old") for x in ("ada", "bob")])
        db.session.commit()
    return Host(app, names)


def make_admin(host: Host) -> Pair:
    """Log an administrator in."""
    return make_pair(host.app, "root", additional_claims={"is_admin": True})


def test_an_admin_logs_a_user_out(host: Host) -> None:
    admin, ada, bob = make_admin(host), host.log_in(), host.log_in("bob")
    assert host.post("/users/ada/logout", bob).status_code == 403
    assert host.status(ada) == (200, 200)
    assert host.post("/users/ada/logout", admin).status_code == 200
    assert (host.status(ada), host.status(bob)) == ((401, 401), (200, 200))
    assert host.status(host.log_in()) == (200, 200)
    with host.app.app_context():
        query = sa.text("SELECT reason, actor FROM logout_revocation")
        (row,) = host.names["db"].session.execute(query)
    assert tuple(row) == ("support", "root")


def test_a_new_password_ends_the_other_logins(host: Host) -> None:
    here, there = host.log_in(), host.log_in()
    response = host.post("/password", here, json={"password": "new"})
    assert response.status_code == 200
    assert host.password() == "new"
    assert (host.status(here), host.status(there)) == ((200, 200), (401, 401))


def test_a_new_password_ends_a_login_without_session_claims(host: Host) -> None:
    pair = make_pair(host.app)
    assert host.post("/password", pair, json={"password": "new"}).status_code == 200
    assert host.status(pair) == (401, 401)


def test_a_password_stays_if_the_commit_fails(host: Host) -> None:
    pair = host.log_in()
    with host.app.app_context():
        engine = host.names["db"].engine
        with engine.begin() as connection:
            # Checks find nothing, and the revocation can't be stored.
            connection.execute(
                sa.text(
                    "CREATE TRIGGER full BEFORE INSERT ON logout_revocation"
                    " BEGIN SELECT RAISE(ABORT, 'disk full'); END"
                )
            )
    response = host.post("/password", pair, json={"password": "new"})
    assert (response.status_code, response.data) == (503, UNAVAILABLE)
    assert host.password() == "old"
    assert host.status(pair) == (200, 200)


def test_a_deleted_user_is_logged_out(host: Host) -> None:
    admin, ada = make_admin(host), host.log_in()
    assert host.post("/users/ada", ada, method="DELETE").status_code == 403
    assert host.post("/users/nobody", admin, method="DELETE").status_code == 404
    assert host.post("/users/ada", admin, method="DELETE").status_code == 200
    assert host.password() is None
    assert host.status(ada) == (401, 401)
    # The login view has to reject the user from now on.
    assert host.status(host.log_in()) == (200, 200)


def test_only_the_last_login_stays(host: Host) -> None:
    host.app.post("/login")(lambda: host.names["start_only_login"]("ada"))
    client = host.app.test_client()
    first, second = (Pair(*client.post("/login").get_json().values()) for _ in "12")
    assert (host.status(first), host.status(second)) == ((401, 401), (200, 200))


def test_the_commands_log_out(host: Host) -> None:
    (script,) = blocks("howto/everywhere.rst", "bash")
    of_user, of_everyone = map(shlex.split, script.strip().splitlines())
    runner = host.app.test_cli_runner()
    ada, bob = host.log_in(), host.log_in("bob")
    assert runner.invoke(args=of_user[1:]).exit_code == 0
    assert (host.status(ada), host.status(bob)) == ((401, 401), (200, 200))
    assert runner.invoke(args=of_everyone[1:]).exit_code == 0
    assert host.status(bob) == (401, 401)


def test_a_loader_that_needs_a_user_is_left_out(host: Host) -> None:
    host.app.extensions["flask-jwt-extended"].user_identity_loader(lambda x: x.id)
    ada = make_pair(host.app, host.names["User"](id="ada"))
    runner = host.app.test_cli_runner()
    result = runner.invoke(args=["logout", "user", "ada"])
    assert (result.exit_code, "--subject" in result.output) == (1, True)
    assert runner.invoke(args="logout user --subject ada".split()).exit_code == 0
    assert host.status(ada) == (401, 401)


def test_another_store_needs_no_session(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_STORE_URI="sqlite:///revocations.db")
    app.test_cli_runner().invoke(args=["logout", "init"])
    session, pair = app.extensions["sqlalchemy"].session, make_pair(app)
    with app.app_context():
        with pytest.raises(ConfigError):
            LogoutExtension().revoke_user("ada", session=session)
        LogoutExtension().revoke_user("ada")
        app.extensions["logout"].store.engine.dispose()
    assert get_status(app.test_client(), pair) == (401, 401)
    app.extensions["logout"].store.engine.dispose()
    dispose(app)
