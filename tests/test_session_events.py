"""What is logged and signalled about sessions."""

from __future__ import annotations

import json
import logging
import re
import typing as t
from contextlib import contextmanager
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
from blinker import NamedSignal
from flask import Flask
from flask_jwt_extended import jwt_required

from flask_logout import LogoutExtension
from flask_logout import RefreshRejectedError
from flask_logout import reuse_detected
from flask_logout import revoked
from flask_logout import session_claims
from flask_logout import session_refreshed
from flask_logout import session_started
from flask_logout import StoreUnavailableError
from flask_logout import TokenPair
from flask_logout.sessions import SessionService

from .commands import drop_table
from .conftest import MakeApp
from .tokens import bearer
from .tokens import claims_of
from .tokens import make_pair

ON = {"LOGOUT_SESSIONS": True}
# No token can be repeated.
STRICT = {**ON, "LOGOUT_ROTATION_GRACE": 0}

Line = tuple[str, str]
"""The level of a log record, and its message without the time."""


class Log:
    """The lines that the extension logs, which must not contain a token.

    :param caplog: pytest's log.
    """

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "flask_logout")
        self._caplog = caplog
        self._began_at = datetime.now(timezone.utc) - timedelta(milliseconds=1)

    def take(self) -> list[Line]:
        """Return the lines since the last call."""
        lines = [self._read(x) for x in self._caplog.records]
        self._caplog.clear()
        return lines

    def _read(self, record: logging.LogRecord) -> Line:
        assert record.name == "flask_logout"
        at, _, line = record.getMessage().partition(" ")
        assert re.fullmatch(r"\S{10}T\S{8}\.\d{3}\+00:00", at)
        now = datetime.now(timezone.utc)
        assert self._began_at <= datetime.fromisoformat(at) <= now
        # Every token starts like this.
        assert "eyJ" not in line and "Bearer" not in line
        return record.levelname, line


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    """The lines that the extension logs during the test."""
    return Log(caplog)


@contextmanager
def received(app: Flask) -> t.Iterator[list[tuple[str, dict[str, t.Any]]]]:
    """Collect the names and the arguments of the signals about sessions."""
    found: list[tuple[str, dict[str, t.Any]]] = []

    def receive_by(signal: NamedSignal) -> t.Callable[..., None]:
        return lambda sender, **values: found.append((signal.name, values))

    signals = (session_started, session_refreshed, reuse_detected, revoked)
    receivers = [(x, receive_by(x)) for x in signals]
    for signal, receiver in receivers:
        signal.connect(receiver, app, weak=False)
    yield found
    for signal, receiver in receivers:
        signal.disconnect(receiver, app)


def start(app: Flask, identity: str = "ada", **options: t.Any) -> TokenPair:
    """Log a user in."""
    with app.app_context():
        return LogoutExtension().start_session(identity, **options)


def sessions_of(app: Flask) -> SessionService:
    """Return the sessions of an app."""
    sessions: SessionService = app.extensions["logout"].sessions
    return sessions


def refresh(app: Flask, token: str) -> TokenPair:
    """Exchange a refresh token as the endpoint does, which leaves the check to the swap."""
    with app.app_context():
        return sessions_of(app).refresh(claims_of(token), checked_at=None)


def sid_of(pair: TokenPair) -> str:
    """Read the sid of a session."""
    return str(claims_of(pair.refresh_token)["sid"])


def line(level: str, event: str, **details: t.Any) -> Line:
    """Return a line of the log."""
    return level, f"{event} {json.dumps(details)}"


# Logins


def test_a_login_is_reported(make_app: MakeApp, log: Log) -> None:
    app = make_app(**ON)
    with received(app) as signals:
        pair = start(app, label="laptop")
    sid = sid_of(pair)
    assert log.take() == [
        ("INFO", f'session_created {{"sid": "{sid}", "subject": "ada"}}')
    ]
    ((name, values),) = signals
    session = values.pop("session")
    assert (name, values) == ("session-started", {})
    assert (session.sid, session.subject, session.label) == (sid, "ada", "laptop")
    assert (session.generation, session.parent) == (0, None)


def test_a_login_is_not_reported_while_sessions_are_off(
    make_app: MakeApp, log: Log
) -> None:
    app = make_app()
    with received(app) as signals:
        start(app)
    assert (log.take(), signals) == ([], [])


def test_a_login_that_fails_is_not_reported(make_app: MakeApp, log: Log) -> None:
    app = make_app(**ON)
    drop_table(app)
    with received(app) as signals, pytest.raises(StoreUnavailableError):
        start(app)
    ((level, message),) = log.take()
    assert (level, message.split()[0]) == ("ERROR", "store_unavailable")
    assert signals == []


def test_a_subject_can_not_forge_a_second_line(make_app: MakeApp, log: Log) -> None:
    app = make_app(**ON)
    pair = start(app, "ada\nINFO session_created")
    assert log.take() == [
        line(
            "INFO",
            "session_created",
            sid=sid_of(pair),
            subject="ada�INFO session_created",
        )
    ]


def test_a_receiver_that_raises_does_not_undo_the_login(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(**ON)

    def fail(sender: Flask, **_: t.Any) -> None:
        raise OSError("no mail server")

    with session_started.connected_to(fail, app):
        start(app)
    (message,) = caplog.messages
    assert message == "A receiver of the signal session-started failed."
    with app.app_context():
        assert len(LogoutExtension().sessions_of("ada")) == 1


def test_a_login_beyond_the_limit_reports_what_it_ends(
    make_app: MakeApp, log: Log
) -> None:
    app = make_app(**ON, LOGOUT_MAX_SESSIONS=1)
    first = start(app)
    log.take()
    with received(app) as signals:
        second = start(app)
    assert log.take() == [
        line("INFO", "session_created", sid=sid_of(second), subject="ada"),
        line(
            "INFO",
            "session_logout",
            subject="ada",
            ids=[sid_of(first)],
            reason="max_sessions",
        ),
    ]
    assert [name for name, _ in signals] == ["session-started", "revoked"]


# Refreshes


def check_refresh(
    app: Flask, log: Log, token: str, level: str, event: str, outcome: str
) -> TokenPair:
    """Exchange a token, and check the line and the signal."""
    log.take()
    with received(app) as signals:
        pair = refresh(app, token)
    sid = sid_of(pair)
    details = {"sid": sid, "subject": "ada", "outcome": outcome}
    assert log.take() == [
        (
            level,
            f'{event} {{"sid": "{sid}", "subject": "ada", "outcome": "{outcome}"}}',
        )
    ]
    assert signals == [("session-refreshed", details)]
    return pair


def test_a_rotation_is_logged_for_debugging(make_app: MakeApp, log: Log) -> None:
    app = make_app(**STRICT)
    token = start(app).refresh_token
    for _ in range(2):
        pair = check_refresh(app, log, token, "DEBUG", "session_renewed", "rotated")
        token = pair.refresh_token


def test_a_repetition_is_logged(make_app: MakeApp, log: Log) -> None:
    app = make_app(**ON)
    first = start(app)
    second = refresh(app, first.refresh_token)
    for pair in (first, second):
        again = check_refresh(
            app, log, pair.refresh_token, "INFO", "session_renewed", "repeated"
        )
        assert claims_of(again.refresh_token)["generation"] == 1


def test_a_replacement_is_logged(make_app: MakeApp, log: Log) -> None:
    app = make_app(**STRICT, LOGOUT_ROTATION_LATE_RETRY=True)
    token = start(app).refresh_token
    refresh(app, token)
    check_refresh(app, log, token, "INFO", "session_renewed", "replaced")


@pytest.mark.parametrize("has_session", [False, True])
def test_a_token_from_before_sessions_is_logged_for_debugging(
    make_app: MakeApp, log: Log, has_session: bool
) -> None:
    app = make_app(**ON)
    claims = session_claims() if has_session else {}
    token = make_pair(app, additional_claims=claims).refresh
    check_refresh(app, log, token, "DEBUG", "session_renewed", "adopted")


def test_a_session_that_the_store_has_lost_is_a_warning(
    make_app: MakeApp, log: Log
) -> None:
    app = make_app(**STRICT)
    token = refresh(app, start(app).refresh_token).refresh_token
    with app.app_context():
        sessions_of(app).store.inspect().clear()
    check_refresh(app, log, token, "WARNING", "session_row_missing", "adopted")


def test_a_session_of_another_user_is_a_warning(make_app: MakeApp, log: Log) -> None:
    app = make_app(**ON)
    ada = start(app)
    claims = {**session_claims(), "sid": sid_of(ada)}
    token = make_pair(app, "bob", additional_claims=claims).refresh
    log.take()
    with received(app) as signals:
        with pytest.raises(RefreshRejectedError) as caught:
            refresh(app, token)
    assert str(caught.value) == "Refresh token belongs to another session"
    details = {"sid": sid_of(ada), "subject": "bob", "outcome": "refused"}
    assert log.take() == [line("WARNING", "session_refused", **details)]
    assert signals == []


# Reuse


def reuse_lines(sid: str, generation: int) -> list[Line]:
    """Return the lines about a token that was used again."""
    return [
        (
            "CRITICAL",
            f'authn_token_reuse {{"sid": "{sid}", "subject": "ada",'
            f' "generation": {generation}}}',
        ),
        (
            "INFO",
            f'session_logout {{"subject": "ada", "ids": ["{sid}"],'
            ' "reason": "token_reuse"}',
        ),
    ]


def check_reuse_signals(
    signals: list[tuple[str, dict[str, t.Any]]], sid: str, token: str
) -> None:
    """Check the signals about a token that was used again."""
    (detected, values), (name, why) = signals
    claims = claims_of(token)
    expected = {"sid": sid, "subject": "ada", "claims": claims}
    assert (detected, {**values, "claims": dict(values["claims"])}) == (
        "reuse-detected",
        expected,
    )
    assert (name, why["reason"], why["actor"]) == ("revoked", "token_reuse", None)
    assert [(x.kind, x.token_id) for x in why["revocations"]] == [("session", sid)]


def test_reuse_is_reported_once(make_app: MakeApp, log: Log) -> None:
    app = make_app(**STRICT)
    pair = start(app)
    first = refresh(app, pair.refresh_token)
    refresh(app, first.refresh_token)
    log.take()
    with received(app) as signals:
        with pytest.raises(RefreshRejectedError, match="has been used"):
            refresh(app, first.refresh_token)
        for token in (first.refresh_token, first.refresh_token, pair.refresh_token):
            with pytest.raises(RefreshRejectedError, match="has been revoked"):
                refresh(app, token)
    assert log.take() == reuse_lines(sid_of(pair), 1)
    check_reuse_signals(signals, sid_of(pair), first.refresh_token)


def add_refresh_route(app: Flask) -> None:
    """Add a route that exchanges refresh tokens."""

    @app.post("/rotate")
    @jwt_required(refresh=True)
    def rotate() -> dict[str, t.Any]:
        return LogoutExtension().refresh_session()._asdict()


def test_reuse_is_reported_by_every_route(make_app: MakeApp, log: Log) -> None:
    app = make_app(**STRICT)
    add_refresh_route(app)
    client, pair = app.test_client(), start(app)
    headers = bearer(pair.refresh_token)
    rotated = client.post("/rotate", headers=headers)
    assert rotated.status_code == 200
    log.take()
    with received(app) as signals:
        # The second route doesn't exchange the token.
        for path in ("/refresh", "/rotate", "/refresh"):
            response = client.post(path, headers=headers)
            assert (response.status_code, response.json) == (
                401,
                {"msg": "Token has been revoked"},
            )
    assert log.take() == reuse_lines(sid_of(pair), 0)
    check_reuse_signals(signals, sid_of(pair), pair.refresh_token)
    access = bearer(rotated.get_json()["access_token"])
    assert client.get("/me", headers=access).status_code == 401


def test_a_check_in_python_reports_reuse(make_app: MakeApp, log: Log) -> None:
    app, logout = make_app(**STRICT), LogoutExtension()
    pair = start(app)
    stale, current = (
        claims_of(x.refresh_token) for x in (pair, refresh(app, pair.refresh_token))
    )
    log.take()
    with app.app_context():
        assert not logout.is_revoked(current)
        assert log.take() == []
        assert logout.is_revoked(stale)
        assert log.take() == reuse_lines(sid_of(pair), 0)
        assert logout.is_revoked(current)
    assert log.take() == []


def test_a_token_of_a_session_that_has_ended_is_not_reported(
    make_app: MakeApp, log: Log
) -> None:
    app = make_app(**STRICT)
    add_refresh_route(app)
    pair = start(app)
    refresh(app, pair.refresh_token)
    with app.app_context():
        LogoutExtension().revoke_session(sid_of(pair))
    log.take()
    with received(app) as signals:
        for path in ("/refresh", "/rotate"):
            headers = bearer(pair.refresh_token)
            assert app.test_client().post(path, headers=headers).status_code == 401
    assert (log.take(), signals) == ([], [])
