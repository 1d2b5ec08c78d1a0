"""Random requests to an app: ended sessions stay ended, and honest clients stay logged in."""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant
from hypothesis.stateful import rule
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import run_state_machine_as_test

from flask_logout import LogoutExtension

from .ci import examples
from .conftest import dispose
from .session_apps import add_session_routes
from .session_apps import generation
from .session_apps import log_in
from .session_apps import sid_of
from .sessions import KINDS
from .sessions import make_session
from .sessions import Opened
from .sessions import opened_with_url
from .tokens import bearer
from .tokens import Pair

# Longer than a whole run, because the test moves the time itself.
GRACE = timedelta(seconds=1000)
USERS = st.sampled_from(["ada", "bob"])
NUMBERS = st.integers(0, 5)
# The view of the app, and the endpoint.
PATHS = st.sampled_from(["/renew", "/auth/refresh"])
# How many tokens of each device are tried after each step.
TRIED = 3


@dataclass
class Device:
    """A device with a session, and what the design says about it."""

    user: str
    pairs: list[Pair]
    generation: int = 0
    parent: int | None = None
    age: float = math.inf
    """Seconds since the current generation was made."""
    is_ended: bool = False
    is_robbed: bool = False
    """Whether a thief has presented one of its tokens."""

    @property
    def sid(self) -> str:
        """The id of the session."""
        return sid_of(self.pairs[0])

    def accepts(self, presented: int) -> bool:
        """Return whether a refresh token of a generation is accepted, and advance."""
        is_young = self.age < GRACE.total_seconds()
        if is_young and presented in {self.generation, self.parent}:
            return True
        if presented < self.generation:
            return False
        self.generation, self.parent, self.age = presented + 1, presented, 0
        return True


class Clients(RuleBasedStateMachine):
    """Honest clients and a thief, who share an app."""

    app: t.ClassVar[Flask]
    stores: t.ClassVar[Opened]

    def __init__(self) -> None:
        super().__init__()
        self.stores.clear()
        self.client: FlaskClient = self.app.test_client()
        self.devices: list[Device] = []

    def pick(self, number: int, *, is_live: bool) -> Device | None:
        """Choose a device, if there is one."""
        found = [x for x in self.devices if not (is_live and x.is_ended)]
        return found[number % len(found)] if found else None

    def ask(self, method: str, path: str, token: str, **options: t.Any) -> int:
        """Send a request with a token, and return the status."""
        headers = bearer(token)
        return self.client.open(
            path, method=method, headers=headers, **options
        ).status_code

    def present(self, device: Device, pair: Pair, path: str) -> Pair | None:
        """Refresh, and compare the response with the design."""
        response = self.client.post(path, headers=bearer(pair.refresh))
        if device.is_ended or not device.accepts(generation(pair)):
            device.is_ended = True
            assert response.status_code == 401
            return None
        assert response.status_code == 200, response.data
        body = response.get_json()
        made = Pair(
            **{x.partition("_")[0]: y for x, y in body.get("data", body).items()}
        )
        assert generation(made) == device.generation
        device.pairs.append(made)
        return made

    @rule(user=USERS)
    def start(self, user: str) -> None:
        """Log in."""
        if len(self.devices) < 6:
            self.devices.append(Device(user, [log_in(self.client, user)]))

    @rule(number=NUMBERS, is_lost=st.booleans(), path=PATHS)
    def refresh(self, number: int, is_lost: bool, path: str) -> None:
        """Refresh with the newest pair, once more if the response is lost."""
        device = self.pick(number, is_live=True)
        if device is None:
            return
        newest = device.pairs[-1]
        made = self.present(device, newest, path)
        if is_lost and made is not None:
            device.pairs.remove(made)
            made = self.present(device, newest, path)
        assert made is not None or device.is_robbed

    @rule(number=NUMBERS, which=st.integers(0, 20), path=PATHS)
    def steal(self, number: int, which: int, path: str) -> None:
        """Present any token of a device, as a thief does, and keep the result."""
        device = self.pick(number, is_live=False)
        if device is None:
            return
        device.is_robbed = True
        made = self.present(device, device.pairs[which % len(device.pairs)], path)
        if made is not None:
            # The thief has it. The device still has its own pair.
            device.pairs.insert(0, device.pairs.pop())

    @rule(number=NUMBERS)
    def log_out(self, number: int) -> None:
        """Log out with the newest pair."""
        device = self.pick(number, is_live=True)
        if device is not None:
            pair = device.pairs[-1]
            body = {"refresh_token": pair.refresh}
            assert self.ask("POST", "/auth/logout", pair.access, json=body) == 200
            device.is_ended = True

    @rule(number=NUMBERS, keep=st.booleans())
    def log_out_everywhere(self, number: int, keep: bool) -> None:
        """Log out everywhere, or everywhere else."""
        device = self.pick(number, is_live=True)
        if device is None:
            return
        token, body = device.pairs[-1].access, {"keep_current": keep}
        assert self.ask("POST", "/auth/logout/all", token, json=body) == 200
        for each in self.devices:
            if each.user == device.user and not (keep and each is device):
                each.is_ended = True

    @rule(number=NUMBERS, other=NUMBERS)
    def end(self, number: int, other: int) -> None:
        """End any session, which works for those of the same user only."""
        device, ended = self.pick(number, is_live=True), self.pick(other, is_live=False)
        if device is None or ended is None:
            return
        path = f"/auth/sessions/{ended.sid}"
        is_own = ended.user == device.user
        expected = 200 if is_own else 404
        assert self.ask("DELETE", path, device.pairs[-1].access) == expected
        ended.is_ended = ended.is_ended or is_own

    @rule(part=st.sampled_from([0.3, 0.6, 1.2]))
    def wait(self, part: float) -> None:
        """Let the time pass for all sessions."""
        for device in self.devices:
            if device.parent is not None:
                device.age += part * GRACE.total_seconds()
                self.stores.age(
                    make_session(device.sid, subject=device.user), part * GRACE
                )

    @rule()
    def purge(self) -> None:
        """Delete what has expired, which is nothing that is still needed."""
        with self.app.app_context():
            LogoutExtension().purge()

    @invariant()
    def ended_sessions_are_rejected(self) -> None:
        """Exactly the tokens of ended sessions are rejected."""
        for device in self.devices:
            expected = 401 if device.is_ended else 200
            for pair in device.pairs[-TRIED:]:
                assert self.ask("GET", "/me", pair.access) == expected
                if device.is_ended:
                    assert self.ask("POST", "/renew", pair.refresh) == 401

    @invariant()
    def the_list_has_the_live_sessions(self) -> None:
        """Each user sees the sessions that are not ended."""
        for user in ("ada", "bob"):
            live = [x for x in self.devices if x.user == user and not x.is_ended]
            if live:
                token = live[0].pairs[-1].access
                response = self.client.get("/auth/sessions", headers=bearer(token))
                listed = response.get_json()["data"]["sessions"]
                assert {x["id"] for x in listed} == {x.sid for x in live}


@pytest.mark.parametrize("kind", KINDS)
def test_ended_sessions_stay_ended_and_honest_clients_stay_logged_in(
    kind: str, tmp_path: Path
) -> None:
    with opened_with_url(kind, tmp_path) as (stores, url, name):
        app = Flask(__name__)
        app.config.update(
            JWT_SECRET_KEY=64 * "x",
            LOGOUT_STORE_URI=url,
            LOGOUT_TABLE_NAME=name,
            LOGOUT_ENDPOINTS={"logout", "logout_all", "refresh", "sessions"},
            LOGOUT_ROTATION_GRACE=GRACE,
        )
        JWTManager(app)
        LogoutExtension(app)
        add_session_routes(app)

        @app.get("/me")
        @jwt_required()
        def me() -> str:
            return "me"

        machine = type("Machine", (Clients,), {"app": app, "stores": stores})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples(30),
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        dispose(app)
