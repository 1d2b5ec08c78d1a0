"""An OpenID provider and an OAuth client that run on Node.js."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import typing as t
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from jwt.algorithms import RSAAlgorithm

from .ci import skip_or_fail
from .key_server import make_key

SOURCES = Path(__file__).parent / "node"
REDIRECTS = {301, 302, 303, 307}


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs and the packages that they need."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            skip_or_fail(f"{program} is not installed: apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("node") / "programs"
    shutil.copytree(SOURCES, folder)
    command = ["npm", "install", "--silent", "--no-fund", "--no-audit"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        skip_or_fail(f"npm install failed: {done.stderr[-300:]}")
    return folder


class OpenIDProvider:
    """The provider of ``provider.mjs``."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.browser = httpx.Client(follow_redirects=False, timeout=10)

    def log_in(self, app_url: str, user: str) -> dict[str, t.Any]:
        """Log a user in by the authorization code flow, and return the tokens."""
        callback = f"{app_url}/callback"
        query = {
            "client_id": "app",
            "response_type": "code",
            "scope": "openid offline_access",
            "redirect_uri": callback,
            "prompt": "consent",
        }
        response = self.browser.get(f"{self.issuer}/auth", params=query)
        while not response.headers.get("location", "").startswith(callback):
            response = self._go_on(response, user)
        (code,) = re.findall(r"[?&]code=([^&]+)", response.headers["location"])
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": callback,
        }
        return self.ask_for_tokens(form)

    def ask_for_tokens(self, form: dict[str, str]) -> dict[str, t.Any]:
        """Send a token request."""
        url = f"{self.issuer}/token"
        auth = ("app", "secret")
        return t.cast("dict[str, t.Any]", httpx.post(url, data=form, auth=auth).json())

    def can_refresh(self, refresh_token: str) -> bool:
        """Return whether a refresh token works."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return "access_token" in self.ask_for_tokens(form)

    def log_out(self, id_token: str) -> None:
        """Log the user out at the provider, as its own page does."""
        hint = {"id_token_hint": id_token}
        page = self.browser.get(f"{self.issuer}/session/end", params=hint)
        (secret,) = re.findall(r'name="xsrf" value="([^"]+)"', page.text)
        url = f"{self.issuer}/session/end/confirm"
        response = self.browser.post(url, data={"xsrf": secret, "logout": "yes"})
        assert response.status_code in REDIRECTS, response.text

    def _go_on(self, response: httpx.Response, user: str) -> httpx.Response:
        if response.status_code in REDIRECTS:
            return self.browser.get(response.next_request.url)  # type: ignore[union-attr]
        assert response.status_code == 200, response.text
        # The page for the login or the one for the consent.
        (prompt,) = re.findall(r'name="prompt" value="(\w+)"', response.text)
        form = {"prompt": prompt, "login": user, "password": "x"}
        return self.browser.post(response.url, data=form)


@contextmanager
def running_provider(folder: Path, app_url: str) -> t.Iterator[OpenIDProvider]:
    """Start the provider, which knows the app as a client."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    keys = json.dumps(
        {"keys": [json.loads(RSAAlgorithm.to_jwk(make_key(0).public_key()))]}
    )
    command = ["node", "provider.mjs", str(port), app_url, keys]
    log = folder / f"provider-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        for _ in range(600):
            if b"listening" in log.read_bytes():
                break
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        provider = OpenIDProvider(f"http://127.0.0.1:{port}")
        yield provider
        provider.browser.close()
    finally:
        process.terminate()
        process.wait()


def run_client(folder: Path, *arguments: str) -> t.Any:
    """Run ``client.mjs``, and return what it prints."""
    command = ["node", "client.mjs", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
