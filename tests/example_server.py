"""Run the example app."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import typing as t
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import build_opener
from urllib.request import ProxyHandler
from urllib.request import Request

from .conftest import SECRET

EXAMPLE = Path(__file__).parent.parent / "example_app.py"
ADA = {"username": "ada", "password": "analytical-engine"}
BY_HAND = ["example_app.py", "--port", "0"]

_open = build_opener(ProxyHandler({})).open


class Server(t.NamedTuple):
    """The example app in a process of its own."""

    url: str
    folder: Path

    def call(
        self, path: str, token: str | None = None, body: object = None
    ) -> tuple[int, t.Any]:
        """Send a GET to ``/me`` or a POST to another path. Return the status and JSON."""
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
        """Log ada in, and return the access token and the refresh token."""
        status, body = self.call("/auth/login", body=ADA)
        assert status == 200
        assert body.keys() == {"access_token", "refresh_token"}
        return body["access_token"], body["refresh_token"]

    def logout(self, access: str, refresh: str) -> tuple[int, t.Any]:
        """Log out with both tokens."""
        return self.call("/auth/logout", access, {"refresh_token": refresh})

    @property
    def output(self) -> str:
        """The output of the process until now."""
        return (self.folder / "output.txt").read_text()


def copy_example(folder: Path) -> None:
    """Copy the app to a folder, because it creates its database beside itself."""
    shutil.copy(EXAMPLE, folder)


@contextmanager
def run_example(
    folder: Path, command: t.Sequence[str] = BY_HAND, secret: str | None = SECRET
) -> t.Iterator[Server]:
    """Run the copy in a folder during the block."""
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
