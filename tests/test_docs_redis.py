"""The how-to about Redis."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from flask_logout import ConfigError
from flask_logout import LogoutExtension

from .conftest import MakeApp
from .pages import blocks
from .redis_servers import is_synced
from .redis_servers import Server
from .redis_servers import wait_until
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import UNAVAILABLE

SETTINGS, REPORT = blocks("howto/redis.rst", "none")
INSTALL, WAIT = blocks("howto/redis.rst", "bash")

GOOD = [x for line in SETTINGS.split("\n") if line for x in f"--{line}".split()]


def check(make_app: MakeApp, server: Server, **config: object) -> str:
    """Run the check, and give its line about the store."""
    app = make_app(LOGOUT_STORE_URI=server.url, **config)
    result = app.test_cli_runner().invoke(args=["logout", "check"])
    (line,) = [x for x in result.output.splitlines() if ": store" in x]
    return line


def test_the_check_reports_the_default_settings(
    make_app: MakeApp, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(tmp_path / "redis") as server:
        line = check(make_app, server)
        shown = line.replace(server.url, "redis://localhost:6379/0")
        assert shown == " ".join(REPORT.split())
        app = make_app(LOGOUT_STORE_URI=server.url)
        caplog.set_level(logging.WARNING, "flask_logout")
        assert get_status(app.test_client(), make_pair(app)) == (200, 200)
        assert caplog.messages == [line.removeprefix("problem: store: ")]


def test_the_check_accepts_the_settings_of_the_page(
    make_app: MakeApp, tmp_path: Path
) -> None:
    with Server(tmp_path / "redis", *GOOD) as server:
        assert check(make_app, server) == "ok: store"
        app = make_app(LOGOUT_STORE_URI=server.url)
        pair = make_pair(app)
        assert log_out(app.test_client(), pair).data == LOGGED_OUT
        server.stop()
        server.start()
        assert get_status(app.test_client(), pair) == (401, 401)


def test_a_full_memory_is_a_503_for_logouts_alone(
    make_app: MakeApp, tmp_path: Path
) -> None:
    with Server(tmp_path / "redis", *GOOD) as server:
        app = make_app(LOGOUT_STORE_URI=server.url)
        gone, pair = make_pair(app), make_pair(app)
        assert log_out(app.test_client(), gone).data == LOGGED_OUT
        with server.client() as redis:
            redis.config_set("maxmemory", "1")
        response = log_out(app.test_client(), pair)
        assert (response.status_code, response.data) == (503, UNAVAILABLE)
        assert get_status(app.test_client(), pair) == (200, 200)
        assert get_status(app.test_client(), gone) == (401, 401)


def test_the_check_asks_for_replicas_that_acknowledge(
    make_app: MakeApp, tmp_path: Path
) -> None:
    key, value = WAIT.split()[1].removeprefix("FLASK_").split("=")
    with Server(tmp_path / "primary", *GOOD) as primary:
        follow = ("--replicaof", "127.0.0.1", str(primary.port))
        with Server(tmp_path / "replica", *GOOD, *follow) as replica:
            wait_until(lambda: is_synced(replica))
            assert "Set LOGOUT_REDIS_WAIT to 1 or more." in check(make_app, primary)
            assert "the server is a read-only replica" in check(make_app, replica)
            assert check(make_app, primary, **{key: int(value)}) == "ok: store"
            app = make_app(LOGOUT_STORE_URI=primary.url, **{key: int(value)})
            pair = make_pair(app)
            assert log_out(app.test_client(), pair).data == LOGGED_OUT


def test_a_new_store_is_empty(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()
    pair = make_pair(app)
    assert log_out(app.test_client(), pair).data == LOGGED_OUT
    with Server(tmp_path / "redis", *GOOD) as server:
        moved = make_app(LOGOUT_STORE_URI=server.url)
        assert get_status(moved.test_client(), pair) == (200, 200)
        runner = moved.test_cli_runner()
        assert runner.invoke(args="logout everyone --yes".split()).exit_code == 0
        assert get_status(moved.test_client(), pair) == (401, 401)


def test_redis_takes_no_part_in_a_transaction(
    make_app: MakeApp, tmp_path: Path
) -> None:
    with Server(tmp_path / "redis", *GOOD) as server:
        app = make_app(LOGOUT_STORE_URI=server.url)
        session = app.extensions["sqlalchemy"].session
        with app.app_context(), pytest.raises(ConfigError):
            LogoutExtension().revoke_user("ada", session=session)


def test_apps_share_a_server_by_names(make_app: MakeApp, tmp_path: Path) -> None:
    with Server(tmp_path / "redis", *GOOD) as server:
        first = make_app(LOGOUT_STORE_URI=server.url)
        other = make_app(LOGOUT_STORE_URI=server.url, LOGOUT_TABLE_NAME="other")
        again = make_app(LOGOUT_STORE_URI=server.url)
        pair = make_pair(first)
        assert log_out(first.test_client(), pair).data == LOGGED_OUT
        assert get_status(other.test_client(), pair) == (200, 200)
        assert get_status(again.test_client(), pair) == (401, 401)


def test_the_environment_names_the_store() -> None:
    assert INSTALL.splitlines()[1].startswith("export FLASK_LOGOUT_STORE_URI=redis://")
