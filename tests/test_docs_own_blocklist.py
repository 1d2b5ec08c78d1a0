"""The switch from a blocklist of the app's own, as its page says."""

from __future__ import annotations

import typing as t
import uuid
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_jwt_extended import create_access_token
from flask_jwt_extended import get_jwt
from flask_jwt_extended import jwt_required

from .conftest import add_routes
from .conftest import dispose
from .conftest import SECRET
from .pages import blocks
from .redis_servers import Server
from .tokens import bearer
from .tokens import claims_of
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair

PAGE = blocks("howto/own-blocklist.rst", "python")
SWITCH, IMPORT, IMPORT_KEYS, ALLOW_LIST = PAGE

# The loader, without the extension after it.
OLD_RELEASE = SWITCH.replace("logout = LogoutExtension(app)\n", "")


class Release(t.NamedTuple):
    """A release of the app, as it is deployed on the one database."""

    app: Flask
    names: dict[str, t.Any]

    def status(self, pair: Pair) -> tuple[int, int]:
        """Tell how it responds to both tokens."""
        return get_status(self.app.test_client(), pair)

    def run(self, *arguments: str) -> None:
        """Run a command."""
        result = self.app.test_cli_runner().invoke(args=arguments)
        assert (result.exit_code, result.exception) == (0, None)

    def rows(self, table: str) -> list[t.Any]:
        """Read a table."""
        with self.app.app_context():
            query = sa.text(f"SELECT * FROM {table}")
            return list(self.names["db"].session.execute(query))

    def log_out_the_old_way(self, pair: Pair) -> None:
        """Call the old route, once for each token."""
        for token in pair:
            response = self.app.test_client().delete("/logout", headers=bearer(token))
            assert response.status_code == 200


class Deploy(t.Protocol):
    """Deploy a release: the page's code, and whatever follows it."""

    def __call__(self, *code: str, **config: t.Any) -> Release: ...


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Deploy]:
    """Each release uses the same SQLite file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLASK_JWT_SECRET_KEY", SECRET)
    monkeypatch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", f"sqlite:///{tmp_path}/app.db")
    releases = []

    def deploy(*code: str, **config: t.Any) -> Release:
        for key, value in config.items():
            monkeypatch.setenv(f"FLASK_{key}", value)
        names: dict[str, t.Any] = {"__name__": "release"}
        for block in code:
            exec(compile(block, "own-blocklist.rst", "exec"), names)
        release = Release(names["app"], names)
        add_routes(release.app)
        releases.append(release)
        return release

    yield deploy
    for release in releases:
        dispose(release.app)


NEW_RELEASE = """
from flask import Flask
from flask_jwt_extended import JWTManager
from flask_logout import LogoutExtension
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__)
app.config.from_prefixed_env()
db = SQLAlchemy(app)
JWTManager(app)
logout = LogoutExtension(app)
"""


def deploy_old(deploy: Deploy, **config: t.Any) -> Release:
    """Deploy the app before the switch, with the route that most recipes have."""
    release = deploy(OLD_RELEASE, **config)
    app, db = release.app, release.names["db"]

    @app.delete("/logout")
    @jwt_required(verify_type=False)
    def leave() -> dict[str, t.Any]:
        row = release.names["TokenBlocklist"](
            jti=get_jwt()["jti"], user_id=7, created_at=datetime.now(timezone.utc)
        )
        db.session.add(row)
        db.session.commit()
        return {}

    with app.app_context():
        db.create_all()
    return release


def test_the_switch(deploy: Deploy) -> None:
    old = deploy_old(deploy)
    gone, here = make_pair(old.app), make_pair(old.app)
    old.log_out_the_old_way(gone)
    assert (old.status(gone), old.status(here)) == ((401, 401), (200, 200))

    both = deploy(SWITCH, IMPORT)
    assert both.status(here) == (503, 503)
    both.run("logout", "init")
    assert (both.status(gone), both.status(here)) == ((401, 401), (200, 200))
    later = make_pair(both.app)
    assert log_out(both.app.test_client(), later).data == LOGGED_OUT
    assert (both.status(later), both.status(here)) == ((401, 401), (200, 200))

    without_import = deploy(NEW_RELEASE)
    assert without_import.status(gone) == (200, 200)

    both.run("import-blocklist")
    both.run("import-blocklist")
    assert len(both.rows("logout_revocation")) == 4

    new = deploy(NEW_RELEASE)
    with new.app.app_context():
        new.names["db"].session.execute(sa.text("DROP TABLE token_blocklist"))
        new.names["db"].session.commit()
    assert (new.status(gone), new.status(later)) == ((401, 401), (401, 401))
    assert new.status(here) == (200, 200)
    assert log_out(new.app.test_client(), here).data == LOGGED_OUT
    assert new.status(here) == (401, 401)


def test_an_imported_row_outlives_its_token(deploy: Deploy) -> None:
    old = deploy_old(deploy)
    pair = make_pair(old.app)
    old.log_out_the_old_way(pair)
    both = deploy(SWITCH, IMPORT)
    both.run("logout", "init")
    both.run("import-blocklist")
    rows = both.rows("logout_revocation")
    assert {(x.subject, x.reason) for x in rows} == {("7", "imported")}
    exp = datetime.fromtimestamp(claims_of(pair.refresh)["exp"], timezone.utc)
    exp = exp.replace(tzinfo=None)
    for row in rows:
        kept_until = datetime.fromisoformat(row.expires_at)
        assert exp <= kept_until <= exp + timedelta(hours=1, minutes=5)
    both.run("logout", "purge")
    assert len(both.rows("logout_revocation")) == 2


def test_an_import_needs_the_issuer_of_the_tokens(deploy: Deploy) -> None:
    old = deploy_old(deploy, JWT_ENCODE_ISSUER="us")
    pair = make_pair(old.app)
    old.log_out_the_old_way(pair)
    both = deploy(SWITCH, IMPORT)
    both.run("logout", "init")
    both.run("import-blocklist")
    assert deploy(NEW_RELEASE).status(pair) == (200, 200)
    issuer = '"iss": app.config["JWT_ENCODE_ISSUER"]'
    named = IMPORT.replace('"jti":', f'{issuer}, "jti":')
    deploy(SWITCH, named).run("import-blocklist")
    assert deploy(NEW_RELEASE).status(pair) == (401, 401)


def test_an_import_needs_a_string_and_a_number(deploy: Deploy) -> None:
    new = deploy(NEW_RELEASE)
    new.run("logout", "init")
    with new.app.app_context():
        jti = uuid.uuid4()
        token = create_access_token("ada", additional_claims={"jti": str(jti)})
        now = datetime.now(timezone.utc)
        new.names["logout"].revoke_token({"jti": jti, "exp": now})
        assert not new.names["logout"].is_revoked(claims_of(token))
        new.names["logout"].revoke_token({"jti": str(jti), "exp": now})
        assert new.names["logout"].is_revoked(claims_of(token))
    assert {x.expires_at for x in new.rows("logout_revocation")} == {None}


def test_the_old_release_knows_no_new_logout(deploy: Deploy) -> None:
    old = deploy_old(deploy)
    both = deploy(SWITCH)
    both.run("logout", "init")
    pair = make_pair(old.app)
    assert log_out(both.app.test_client(), pair).data == LOGGED_OUT
    assert old.status(pair) == (200, 200)


def test_the_first_of_two_deployments_checks_both_tables(deploy: Deploy) -> None:
    old = deploy_old(deploy)
    endpoints = 'app.config["LOGOUT_ENDPOINTS"] = set()\nlogout = LogoutExtension'
    first = deploy(SWITCH.replace("logout = LogoutExtension", endpoints))
    first.run("logout", "init")
    here, there = make_pair(old.app), make_pair(old.app)
    assert log_out(first.app.test_client(), here).status_code == 404
    old.log_out_the_old_way(here)
    assert first.status(here) == (401, 401)
    assert log_out(deploy(SWITCH).app.test_client(), there).data == LOGGED_OUT
    assert first.status(there) == (401, 401)


def test_a_table_that_is_dropped_too_early_is_a_500(deploy: Deploy) -> None:
    deploy_old(deploy)
    both = deploy(SWITCH)
    both.run("logout", "init")
    pair = make_pair(both.app)
    assert both.status(pair) == (200, 200)
    with both.app.app_context():
        both.names["TokenBlocklist"].__table__.drop(both.names["db"].engine)
    assert both.status(pair) == (500, 500)


def test_names_of_the_extension_are_taken(deploy: Deploy) -> None:
    blueprint = "from flask import Blueprint\n"
    blueprint += 'app.register_blueprint(Blueprint("logout", __name__))\n'
    code = NEW_RELEASE.replace("logout =", f"{blueprint}logout =")
    with pytest.raises(RuntimeError, match="Rename your blueprint"):
        deploy(code)


def test_the_keys_of_redis_are_imported(deploy: Deploy, tmp_path: Path) -> None:
    new = deploy(NEW_RELEASE, IMPORT_KEYS)
    new.run("logout", "init")
    pair = make_pair(new.app)
    with Server(tmp_path / "redis", "--save", "") as server, server.client() as redis:
        for token in pair:
            redis.set(claims_of(token)["jti"], "", ex=3600)
        redis.set("no expiry", "")
        with new.app.app_context():
            new.names["import_keys"](redis)
    assert new.status(pair) == (401, 401)
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    rows = {x.token_id: x for x in new.rows("logout_revocation")}
    assert rows.pop("no expiry").expires_at is None
    assert len(rows) == 2
    for row in rows.values():
        kept_for = datetime.fromisoformat(row.expires_at) - now
        assert timedelta(hours=1, minutes=55) < kept_for <= timedelta(hours=2)


def test_an_allow_list(deploy: Deploy) -> None:
    before = "logout = LogoutExtension(app)\n"
    manager = NEW_RELEASE.replace("JWTManager(app)", "jwt = JWTManager(app)")
    release = deploy(manager.replace(before, ALLOW_LIST + before))
    db, allowed = release.names["db"], release.names["AllowedToken"]
    with release.app.app_context():
        db.create_all()
    here, gone = make_pair(release.app), make_pair(release.app)
    assert release.status(here) == (401, 401)
    with release.app.app_context():
        for token in (*here, *gone):
            db.session.add(allowed(jti=claims_of(token)["jti"]))
        db.session.commit()
        for token in gone:  # the old logout
            db.session.delete(db.session.get(allowed, claims_of(token)["jti"]))
        db.session.commit()
    assert (release.status(here), release.status(gone)) == ((200, 200), (401, 401))
    assert log_out(release.app.test_client(), here).data == LOGGED_OUT
    assert release.status(here) == (401, 401)
    assert len(release.rows("allowed_token")) == 2

    # Nothing could be imported, so whoever can't wait logs everybody out.
    new = deploy(NEW_RELEASE)
    assert (new.status(here), new.status(gone)) == ((401, 401), (200, 200))
    new.run("logout", "everyone", "--yes")
    assert new.status(gone) == (401, 401)
