"""The example app, started by hand and by gunicorn."""

from __future__ import annotations

import re
import socket
import sqlite3
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

from .conftest import SECRET
from .example_server import copy_example
from .example_server import EXAMPLE
from .example_server import run_example
from .example_server import Server

LOGGED_OUT = {"code": 200, "message": "logout successful", "data": {}}
INVALID = {"code": 401, "message": "invalid token", "data": {}}
REVOKED = {"msg": "Token has been revoked"}

BY_GUNICORN = [
    *("-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:0"),
    *("--access-logfile", "-", "--access-logformat", "served by %(p)s"),
    "example_app:app",
]


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Server]:
    """The running example app, started with Python."""
    folder = tmp_path_factory.mktemp("by_hand")
    copy_example(folder)
    with run_example(folder) as server:
        yield server


def rejected_by_both_workers(server: Server, path: str, token: str) -> bool:
    """Return whether both workers reject a token in every request."""
    before = len(server.output)
    workers: set[str] = set()
    deadline = time.monotonic() + 60
    with ThreadPoolExecutor(8) as pool:
        while len(workers) < 2 and time.monotonic() < deadline:
            answers = list(pool.map(lambda _: server.call(path, token), range(16)))
            if answers != [(401, REVOKED)] * 16:
                return False
            workers.update(re.findall(r"served by <?(\d+)", server.output[before:]))
    return len(workers) == 2


def test_both_tokens_are_rejected_after_a_logout(by_hand: Server) -> None:
    access, refresh = by_hand.login()
    assert by_hand.call("/me", access) == (200, {"identity": "ada"})
    assert by_hand.logout(access, refresh) == (200, LOGGED_OUT)
    assert by_hand.call("/me", access) == (401, REVOKED)
    assert by_hand.call("/auth/refresh", refresh) == (401, REVOKED)
    assert by_hand.logout(access, refresh) == (401, INVALID)


def test_logout_revokes_tokens_of_refreshes(by_hand: Server) -> None:
    access, refresh = by_hand.login()
    status, refreshed = by_hand.call("/auth/refresh", refresh)
    assert status == 200
    assert by_hand.call("/me", refreshed["access_token"]) == (200, {"identity": "ada"})
    assert by_hand.logout(access, refresh) == (200, LOGGED_OUT)
    assert by_hand.call("/me", refreshed["access_token"]) == (401, REVOKED)


def test_logout_does_not_end_other_logins(by_hand: Server) -> None:
    other_access, other_refresh = by_hand.login()
    assert by_hand.logout(*by_hand.login()) == (200, LOGGED_OUT)
    assert by_hand.call("/me", other_access) == (200, {"identity": "ada"})
    assert by_hand.call("/auth/refresh", other_refresh)[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"username": "ada"},
        {"username": "ada", "password": "wrong"},
        {"username": "ada", "password": None},
        {"username": "ada", "password": "analytical-engine\n"},
        {"username": "ada", "password": "\ud800"},
        {"username": "eve", "password": "analytical-engine"},
        {"username": "ada\nanalytical-engine", "password": ""},
    ],
)
def test_login_rejects_anything_but_the_password(by_hand: Server, body: object) -> None:
    answer = by_hand.call("/auth/login", body=body)
    assert answer == (401, {"msg": "Wrong user name or password"})


def test_the_database_is_beside_the_file(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    copy_example(home)
    command = [str(home / "example_app.py"), "--port", "0"]
    with run_example(elsewhere, command) as server:
        assert server.logout(*server.login()) == (200, LOGGED_OUT)
    assert [x.name for x in (home / "instance").iterdir()] == ["example.db"]
    assert [x.name for x in elsewhere.iterdir()] == ["output.txt"]


def test_tokens_and_revocations_survive_a_restart(tmp_path: Path) -> None:
    copy_example(tmp_path)
    with run_example(tmp_path, secret=None) as server:
        access, refresh = server.login()
        other, _ = server.login()
        assert server.logout(access, refresh) == (200, LOGGED_OUT)
    with run_example(tmp_path, secret=None) as server:
        assert server.call("/me", access) == (401, REVOKED)
        assert server.call("/auth/refresh", refresh) == (401, REVOKED)
        assert server.call("/me", other) == (200, {"identity": "ada"})


def test_the_demo_secret_is_marked_and_can_be_replaced(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    assert "# DEMO ONLY." in text and "public demo secret" in text
    copy_example(tmp_path)
    with run_example(tmp_path, secret=None) as server:
        access, _ = server.login()
    with run_example(tmp_path, secret=SECRET) as server:
        rejected = (422, {"msg": "Signature verification failed"})
        assert server.call("/me", access) == rejected


def test_an_occupied_port_is_explained(tmp_path: Path) -> None:
    copy_example(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "example_app.py", "--port", str(port)]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout == ""
    assert f"Port {port} is in use by another program." in result.stderr
    assert result.stderr.endswith(f"Try: python example_app.py --port {port + 1}\n")


def test_an_invalid_port_is_explained(tmp_path: Path) -> None:
    copy_example(tmp_path)
    command = [sys.executable, "example_app.py", "--port", "99999"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.endswith("error: invalid port: 99999\n")


def test_every_worker_rejects_the_tokens_also_after_a_restart(tmp_path: Path) -> None:
    copy_example(tmp_path)
    with run_example(tmp_path, BY_GUNICORN) as server:
        access, refresh = server.login()
        assert server.call("/me", access) == (200, {"identity": "ada"})
        assert server.logout(access, refresh) == (200, LOGGED_OUT)
        assert rejected_by_both_workers(server, "/me", access)
        assert rejected_by_both_workers(server, "/auth/refresh", refresh)
    with run_example(tmp_path, BY_GUNICORN) as server:
        assert rejected_by_both_workers(server, "/me", access)
        assert rejected_by_both_workers(server, "/auth/refresh", refresh)
        again, _ = server.login()
        assert server.call("/me", again) == (200, {"identity": "ada"})


def test_simultaneous_logouts_store_one_set_of_rows(tmp_path: Path) -> None:
    copy_example(tmp_path)
    with run_example(tmp_path, BY_GUNICORN) as server:
        access, refresh = server.login()
        barrier = Barrier(16)

        def logout(_: int) -> tuple[int, t.Any]:
            barrier.wait(timeout=60)
            return server.logout(access, refresh)

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(logout, range(16)))
    assert (200, LOGGED_OUT) in answers
    assert all(x in [(200, LOGGED_OUT), (401, INVALID)] for x in answers)
    with closing(sqlite3.connect(tmp_path / "instance" / "example.db")) as database:
        rows = database.execute("SELECT kind, subject FROM logout_revocation")
        assert rows.fetchall() == [("session", "ada")]
