"""The page on async views, in WSGI, in ASGI and with gevent."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from asgiref.wsgi import WsgiToAsgi
from flask import Flask

from flask_logout import revoked

from .conftest import dispose
from .pages import DOCS
from .pages import run
from .tokens import bearer
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

REVOKED = b'{"msg":"Token has been revoked"}\n'


class Page(t.NamedTuple):
    """The app of the page, and what its coroutines were called with."""

    app: Flask
    ended: list[str]
    published: list[int]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Page]:
    monkeypatch.chdir(tmp_path)
    ended: list[str] = []
    published: list[int] = []

    async def end_provider_session(subject: str) -> None:
        await asyncio.sleep(0)
        if subject == "eve":
            raise OSError("the provider does not answer")
        ended.append(subject)

    async def publish(count: int) -> None:
        await asyncio.sleep(0)
        published.append(count)

    names = run(
        "howto/async.rst", end_provider_session=end_provider_session, publish=publish
    )
    yield Page(names["app"], ended, published)
    revoked.disconnect(names["notify_other_services"], names["app"])
    dispose(names["app"])


def test_async_views_reject_revoked_tokens(page: Page) -> None:
    client, pair = page.app.test_client(), make_pair(page.app)
    headers = bearer(pair.access)
    assert client.get("/me", headers=headers).get_json() == {"identity": "ada"}
    assert log_out(client, pair).data == LOGGED_OUT
    assert client.get("/me", headers=headers).data == REVOKED
    assert (page.ended, page.published) == (["ada"], [2])


def test_an_async_view_logs_out_everywhere(page: Page) -> None:
    client, pair = page.app.test_client(), make_pair(page.app)
    headers = bearer(pair.access)
    assert client.post("/logout-everywhere", headers=headers).get_json() == {}
    assert client.get("/me", headers=headers).data == REVOKED
    assert (page.ended, page.published) == ([], [1])


def test_an_async_upstream_that_raises_stops_the_logout(page: Page) -> None:
    client, pair = page.app.test_client(), make_pair(page.app, "eve")
    response = log_out(client, pair)
    assert (response.status_code, response.get_json()["message"]) == (
        400,
        "external api error",
    )
    assert client.get("/me", headers=bearer(pair.access)).status_code == 200
    assert page.published == []


def test_the_app_runs_in_asgi(page: Page) -> None:
    pair = make_pair(page.app)
    body = json.dumps({"refresh_token": pair.refresh}).encode()

    async def use() -> list[bytes]:
        return [
            await ask(page.app, "GET", "/me", pair.access),
            await ask(page.app, "POST", "/auth/logout", pair.access, body),
            await ask(page.app, "GET", "/me", pair.access),
        ]

    answers = asyncio.run(use())
    assert answers == [b'{"identity":"ada"}\n', LOGGED_OUT, REVOKED]


async def ask(
    app: Flask, method: str, path: str, token: str, body: bytes = b""
) -> bytes:
    """Send a request as an ASGI server does, and give the body of the answer."""
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    sent: list[bytes] = []

    async def receive() -> dict[str, t.Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, t.Any]) -> None:
        sent.append(message.get("body", b""))

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        "server": ("127.0.0.1", 80),
    }
    wrap: t.Any = WsgiToAsgi
    await wrap(app)(scope, receive, send)
    return b"".join(sent)


GREENLETS = """
from gevent import monkey; monkey.patch_all()

import asyncio
import os

import gevent
from flask import Flask
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token
from flask_jwt_extended import jwt_required

from flask_logout import LogoutExtension

app = Flask("app", instance_path=os.getcwd())
app.config["JWT_SECRET_KEY"] = 32 * "x"
app.config["LOGOUT_TIMEOUT"] = 30
LogoutExtension(app)


@app.get("/me")
@jwt_required()
def me():
    return {}


@app.get("/async")
async def view():
    await asyncio.sleep(0.05)
    return {}


def log_out(number):
    client = app.test_client()
    with app.app_context():
        access, refresh = create_access_token("ada"), create_refresh_token("ada")
    headers, body = {"Authorization": f"Bearer {access}"}, {"refresh_token": refresh}
    return (
        client.get("/me", headers=headers).status_code,
        client.post("/auth/logout", headers=headers, json=body).status_code,
        client.get("/me", headers=headers).status_code,
    )


def use_async(number):
    return app.test_client().get("/async").status_code


def at_once(function):
    greenlets = [gevent.spawn(function, number) for number in range(20)]
    return {greenlet.get() for greenlet in greenlets}


print(at_once(log_out), sorted(at_once(use_async)))
"""


def test_greenlets_log_out_but_run_no_async_views(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GREENLETS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(DOCS.parent)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "{(200, 200, 401)} [200, 500]\n"
