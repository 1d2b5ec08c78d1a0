"""The how-to guides about sessions, and the reference of their endpoints."""

from __future__ import annotations

import json
import logging
import re
import typing as t
from datetime import datetime
from pathlib import Path
from threading import Thread

import pytest
from flask import Flask

from flask_logout import LogoutExtension
from flask_logout.config import Settings

from .conftest import dispose
from .conftest import MakeApp
from .pages import blocks
from .pages import read
from .pages import run
from .session_apps import age
from .session_apps import log_in
from .session_apps import make_session_app
from .session_apps import pair_of
from .session_apps import renew
from .session_apps import renewed
from .session_apps import sid_of
from .session_apps import sids_of
from .tokens import bearer
from .tokens import claims_of
from .tokens import Pair

SID = "4f6986e5-ea08-4094-9bfe-f3a454166796"


@pytest.fixture
def page_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Flask]:
    """The app of the page about sessions."""

    class InFolder(Flask):
        def __init__(self, name: str) -> None:
            super().__init__(name, instance_path=str(tmp_path / "instance"))

    monkeypatch.setattr("flask.Flask", InFolder)
    names = run("howto/sessions.rst")
    limited = names["create_limited_app"]()
    settings: Settings = limited.extensions["logout"].settings
    assert (settings.max_sessions, settings.has_sessions) == (5, True)
    dispose(limited)
    yield names["app"]
    dispose(names["app"])


def test_three_lines_turn_an_app_into_one_with_sessions(page_app: Flask) -> None:
    client = page_app.test_client()
    assert client.post("/login", json={"username": "ada"}).status_code == 401
    body = {"username": "ada", "password": "secret", "device": "phone"}
    first = pair_of(client.post("/login", json=body))
    response = client.post("/refresh", headers=bearer(first.refresh))
    second = pair_of(response)
    assert claims_of(second.refresh)["generation"] == 1
    with page_app.app_context():
        (session,) = LogoutExtension().sessions_of("ada")
    assert (session.sid, session.label) == (sid_of(first), "phone")


def test_the_page_about_rotation(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_session_app(make_app)
    notices: list[str] = []
    names = run("howto/rotate.rst", app=app, notices=notices)
    client = app.test_client()
    pair = log_in(client)
    for _ in range(4):
        old, pair = pair, renewed(client, pair)
        age(app, pair, 60)
    assert renew(client, old).status_code == 401
    assert notices == ["Somebody else may have used the account of ada."]
    (documented,) = blocks("howto/rotate.rst", "none")
    (line,) = [x for x in caplog.records if x.levelno == logging.CRITICAL]
    logged = line.getMessage().replace(sid_of(pair), SID).split()
    assert logged[1:] == documented.split()[1:]
    assert datetime.fromisoformat(documented.split()[0]).tzinfo is not None
    assert names["warn_user"]


def test_a_list_of_devices(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_SESSIONS=True)
    run("howto/show-sessions.rst", app=app, logout=LogoutExtension())
    with app.app_context():
        logout = LogoutExtension()
        first = Pair(*logout.start_session("ada", label="phone"))
        second = Pair(*logout.start_session("ada"))
        other = Pair(*logout.start_session("bob"))
    client = app.test_client()
    listed = client.get("/devices", headers=bearer(second.access)).get_json()
    assert [(x["id"], x["name"], x["is_current"]) for x in listed] == [
        (sid_of(second), "unknown device", True),
        (sid_of(first), "phone", False),
    ]
    for pair, status in ((first, 204), (first, 404), (other, 404)):
        url = f"/devices/{sid_of(pair)}"
        response = client.delete(url, headers=bearer(second.access))
        assert response.status_code == status
    assert sids_of(app) == [sid_of(second)]
    assert sids_of(app, "bob") == [sid_of(other)]


def test_the_endpoints_of_the_page_about_devices_exist(make_app: MakeApp) -> None:
    page = read("howto/show-sessions.rst")
    (setting,) = re.findall(r'app.config\["LOGOUT_ENDPOINTS"\] = (\{.*\})', page)
    app = make_app(
        LOGOUT_ENDPOINTS=set(json.loads(setting.translate({123: 91, 125: 93})))
    )
    rules = {(x.rule, m) for x in app.url_map.iter_rules() for m in x.methods or ()}
    assert {
        ("/auth/sessions", "GET"),
        ("/auth/sessions/<sid>", "DELETE"),
        ("/auth/logout/all", "POST"),
    } <= rules


def test_two_processes_share_a_file(make_app: MakeApp, tmp_path: Path) -> None:
    refresh_once = run("howto/one-holder.rst")["refresh_once"]
    app = make_session_app(make_app, LOGOUT_ROTATION_GRACE=0)
    pair = log_in(app.test_client())
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps({"access_token": pair[0], "refresh_token": pair[1]}))

    def send(refresh_token: str) -> dict[str, str]:
        new = renewed(app.test_client(), Pair("", refresh_token))
        return {"access_token": new.access, "refresh_token": new.refresh}

    results: list[dict[str, str]] = []

    def work() -> None:
        results.append(refresh_once(path, pair.access, send))

    threads = [Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [json.loads(path.read_text())] * 5
    assert claims_of(results[0]["refresh_token"])["generation"] == 1


def test_the_documented_bodies_are_those_of_the_endpoints(make_app: MakeApp) -> None:
    refreshed, listed, invalid, ended, missing = (
        json.loads(x) for x in blocks("reference/session-responses.rst", "json")
    )
    app = make_session_app(make_app, LOGOUT_ENDPOINTS=["refresh", "sessions"])
    client = app.test_client()
    pair = log_in(client, label="my phone")
    access = bearer(pair.access)
    body = client.post("/auth/refresh", headers=bearer(pair.refresh)).get_json()
    assert {**body, "data": dict.fromkeys(body["data"])} == {
        **refreshed,
        "data": dict.fromkeys(refreshed["data"]),
    }
    body = client.get("/auth/sessions", headers=access).get_json()
    (shown,), (found,) = listed["data"]["sessions"], body["data"]["sessions"]
    for name in ("created_at", "last_seen_at"):
        assert found[name].endswith("Z") and shown[name].endswith("Z")
        found[name] = shown[name]
    found["id"] = shown["id"]
    assert body == listed
    response = client.get("/auth/sessions?limit=0", headers=access)
    assert (response.status_code, response.get_json()) == (400, invalid)
    response = client.delete("/auth/sessions/unknown", headers=access)
    assert (response.status_code, response.get_json()) == (404, missing)
    response = client.delete(f"/auth/sessions/{sid_of(pair)}", headers=access)
    assert (response.status_code, response.get_json()) == (200, ended)
