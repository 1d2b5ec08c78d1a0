"""The example app, started by hand and by gunicorn."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from urllib.error import HTTPError
from urllib.request import build_opener
from urllib.request import ProxyHandler
from urllib.request import Request

import pytest

from .conftest import SECRET

EXAMPLE = Path(__file__).parent.parent / "example_app.py"
ADA = {"username": "ada", "password": "analytical-engine"}
LOGGED_OUT = {"code": 200, "message": "logout successful", "data": {}}
INVALID = {"code": 401, "message": "invalid token", "data": {}}
REVOKED = {"msg": "Token has been revoked"}

BY_HAND = ["example_app.py", "--port", "0"]
BY_GUNICORN = [
    *("-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:0"),
    *("--access-logfile", "-", "--access-logformat", "served by %(p)s"),
    "example_app:app",
]

_open = build_opener(ProxyHandler({})).open


class Server(t.NamedTuple):
    """The example app as a running process."""

    url: str
    folder: Path

    def call(
        self, path: str, token: str | None = None, body: object = None
    ) -> tuple[int, t.Any]:
        """Send a GET to ``/me`` or a POST to another path; return status and JSON."""
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        method, data = ("GET", None) if path == "/me" else ("POST", b"")
        data = data if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, headers, method=method)
        try:
            with _open(request, timeout=60) as response:
                return response.status, json.load(response)
        except HTTPError as e:
            with e:
                return e.code, json.load(e)

    def login(self) -> tuple[str, str]:
        """Log ada in; return the access token and the refresh token."""
        status, body = self.call("/auth/login", body=ADA)
        assert status == 200
        assert body.keys() == {"access_token", "refresh_token"}
        return body["access_token"], body["refresh_token"]

    def logout(self, access: str, refresh: str) -> tuple[int, t.Any]:
        """Log out with both tokens."""
        return self.call("/auth/logout", access, {"refresh_token": refresh})

    @property
    def output(self) -> str:
        """Return what the process has printed so far."""
        return (self.folder / "output.txt").read_text()


def copy_example(folder: Path) -> None:
    """Copy the app to a folder, so that its database is not in the checkout."""
    shutil.copy(EXAMPLE, folder)


@contextmanager
def run_example(
    folder: Path, command: t.Sequence[str] = BY_HAND, secret: str | None = SECRET
) -> t.Iterator[Server]:
    """Run the copy in a folder until the block ends."""
    environment = {k: v for k, v in os.environ.items() if k != "JWT_SECRET_KEY"}
    if secret is not None:
        environment["JWT_SECRET_KEY"] = secret
    with open(folder / "output.txt", "w") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Server(_wait_for_address(process, folder), folder)
    finally:
        _stop(process)
    assert "Traceback" not in (folder / "output.txt").read_text()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def _wait_for_address(process: subprocess.Popen[bytes], folder: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        output = (folder / "output.txt").read_text()
        found = re.search(r"(?:Open|Listening at:) (http://127\.0\.0\.1:\d+)", output)
        if found:
            return found[1]
        time.sleep(0.05)
    raise AssertionError((folder / "output.txt").read_text())


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Server]:
    """The example app, started as its users start it."""
    folder = tmp_path_factory.mktemp("by_hand")
    copy_example(folder)
    with run_example(folder) as server:
        yield server


def rejected_by_both_workers(server: Server, path: str, token: str) -> bool:
    """Tell whether two workers reject a token, each time it is sent."""
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


def test_tokens_and_revocations_outlast_a_restart(tmp_path: Path) -> None:
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


def test_taken_port_is_explained(tmp_path: Path) -> None:
    copy_example(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "example_app.py", "--port", str(port)]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout == ""
    assert f"Port {port} is in use by another program." in result.stderr
    assert result.stderr.endswith(f"Try: python example_app.py --port {port + 1}\n")


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


def test_double_logouts_at_once_store_one_set_of_rows(tmp_path: Path) -> None:
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
