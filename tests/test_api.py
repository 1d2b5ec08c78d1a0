"""The Python API: revoking, signals, log lines, and the app's transactions."""

from __future__ import annotations

import json
import logging
import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask

from flask_logout import ConfigError
from flask_logout import ExternalAPIError
from flask_logout import logged_out
from flask_logout import LogoutExtension
from flask_logout import LogoutTokens
from flask_logout import Revocation
from flask_logout import revoked
from flask_logout import session_claims
from flask_logout import store_unavailable
from flask_logout import StoreUnavailableError

from .conftest import MakeApp
from .tokens import bearer
from .tokens import claims_of
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair

logout = LogoutExtension()


@pytest.fixture
def host(make_app: MakeApp, database_url: str) -> t.Iterator[Flask]:
    """An app on each kind of database, in an app context."""
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    with app.app_context():
        yield app


@pytest.fixture
def local(make_app: MakeApp) -> t.Iterator[Flask]:
    """An app on SQLite, in an app context."""
    app = make_app()
    with app.app_context():
        yield app


def status(app: Flask, pair: Pair) -> tuple[int, int]:
    """Return the status codes of the routes for access and for refresh tokens."""
    return get_status(app.test_client(), pair)


def login(app: Flask, identity: t.Any = "ada") -> Pair:
    """Issue the tokens of a new login."""
    return make_pair(app, identity, additional_claims=session_claims())


def sid_of(pair: Pair) -> str:
    """Return the sid of a pair."""
    return t.cast(str, claims_of(pair.access)["sid"])


def test_revoke_token_revokes_that_token(host: Flask) -> None:
    pair, other = make_pair(host), make_pair(host)
    logout.revoke_token(claims_of(pair.refresh))
    assert status(host, pair) == (200, 401)
    assert status(host, other) == (200, 200)
    assert logout.is_revoked(claims_of(pair.refresh))
    assert not logout.is_revoked(claims_of(pair.access))


def test_revoke_session_revokes_that_login(host: Flask) -> None:
    pair, other = login(host), login(host)
    refreshed = make_pair(
        host, additional_claims=session_claims(claims_of(pair.refresh))
    )
    assert sid_of(refreshed) == sid_of(pair)
    logout.revoke_session(sid_of(pair))
    assert status(host, pair) == status(host, refreshed) == (401, 401)
    assert status(host, other) == (200, 200)


def test_logout_with_a_session_revokes_all_its_tokens(host: Flask) -> None:
    pair, other = login(host), login(host)
    refreshed = make_pair(
        host, additional_claims=session_claims(claims_of(pair.refresh))
    )
    assert log_out(host.test_client(), pair).data == LOGGED_OUT
    assert status(host, pair) == status(host, refreshed) == (401, 401)
    assert status(host, other) == (200, 200)
    assert len(host.extensions["logout"].store.changes(None).keys) == 1


def test_revoke_user_logs_out_everywhere(host: Flask) -> None:
    pairs = [make_pair(host), login(host)]
    eve = make_pair(host, "eve")
    logout.revoke_user("ada")
    assert [status(host, pair) for pair in pairs] == [(401, 401), (401, 401)]
    assert status(host, eve) == (200, 200)


def test_a_login_right_after_revoke_user_works(host: Flask) -> None:
    logout.revoke_user("ada")
    assert status(host, login(host)) == (200, 200)


def test_a_login_with_an_integer_iat_works_a_second_later(host: Flask) -> None:
    with time_machine.travel(datetime.now(timezone.utc), tick=False) as clock:
        logout.revoke_user("ada")
        assert status(host, make_pair(host)) == (401, 401)
        clock.shift(1)
        assert status(host, make_pair(host)) == (200, 200)


def test_one_session_can_be_kept(host: Flask) -> None:
    kept, ended = login(host), login(host)
    logout.revoke_user("ada", keep_session=sid_of(kept))
    assert status(host, kept) == (200, 200)
    assert status(host, ended) == (401, 401)


def test_keep_session_does_not_restore_a_revoked_session(host: Flask) -> None:
    ended = login(host)
    logout.revoke_user("ada")
    logout.revoke_user("ada", keep_session=sid_of(ended))
    assert status(host, ended) == (401, 401)


def test_revoke_everyone_logs_out_all_users(host: Flask) -> None:
    pairs = [make_pair(host, "ada"), login(host, "eve")]
    logout.revoke_everyone()
    assert [status(host, pair) for pair in pairs] == [(401, 401), (401, 401)]
    assert status(host, login(host)) == (200, 200)


class User:
    """An object that an app uses as an identity."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_revoke_user_applies_the_user_identity_loader(local: Flask) -> None:
    jwt = local.extensions["flask-jwt-extended"]
    jwt.user_identity_loader(lambda user: f"user {user.number}")
    pair, other = make_pair(local, User(1)), make_pair(local, User(2))
    logout.revoke_user(User(1))
    assert status(local, pair) == (401, 401)
    assert status(local, other) == (200, 200)


def test_the_subject_is_read_from_the_identity_claim(make_app: MakeApp) -> None:
    app = make_app(JWT_IDENTITY_CLAIM="uid")
    with app.app_context():
        pair, other = make_pair(app, 7), make_pair(app, 8)
        logout.revoke_user("7")
        assert status(app, pair) == (401, 401)
        assert status(app, other) == (200, 200)


def test_revoke_user_covers_every_issuer(local: Flask) -> None:
    pairs = [make_pair(local, additional_claims={"iss": x}) for x in ("a", "b")]
    logout.revoke_user("ada")
    assert [status(local, pair) for pair in pairs] == [(401, 401), (401, 401)]


def test_revoke_user_adds_a_row_for_each_accepted_issuer(make_app: MakeApp) -> None:
    app = make_app(JWT_DECODE_ISSUER=["a", "b"])
    with app.app_context():
        pairs = [make_pair(app, additional_claims={"iss": x}) for x in ("a", "b")]
        logout.revoke_user("ada")
        assert [status(app, pair) for pair in pairs] == [(401, 401), (401, 401)]
        assert len(app.extensions["logout"].store.changes(None).keys) == 2


def test_an_identity_of_none_and_an_empty_sid_are_errors(local: Flask) -> None:
    with pytest.raises(ValueError) as caught:
        logout.revoke_user(None)
    assert str(caught.value) == (
        "The identity is None. Pass the identity of a user, or use revoke_everyone()."
    )
    with pytest.raises(ValueError) as caught:
        logout.revoke_session("")
    assert str(caught.value) == "The sid is empty. Expected the sid claim of a token."


def test_subjects_with_unusual_characters_are_revoked(host: Flask) -> None:
    for name in ("a\0b", "x" * 9000, "a\ud800", "ADA", "á", "a\u0301"):
        logout.revoke_user(name, reason=name, actor=name)
        assert logout.is_revoked({"sub": name, "iat": 1})
    assert not logout.is_revoked({"sub": "ada", "iat": 1})
    assert not logout.is_revoked({"sub": "a", "iat": 1})


@pytest.mark.parametrize(("days", "deleted"), [(0, 0), (1, 1), (31, 3)])
def test_purge_deletes_only_what_has_expired(
    host: Flask, days: int, deleted: int
) -> None:
    start = datetime.now(timezone.utc) - timedelta(days=days)
    with time_machine.travel(start, tick=False):
        pair = make_pair(host)
        log_out(host.test_client(), pair)
        logout.revoke_user("eve")
    assert logout.purge() == deleted
    assert status(host, pair)[1] == 401
    assert logout.purge() == 0


def test_revocations_of_tokens_without_expiry_are_never_purged(
    make_app: MakeApp,
) -> None:
    app = make_app(JWT_ACCESS_TOKEN_EXPIRES=False, JWT_REFRESH_TOKEN_EXPIRES=False)
    with app.app_context():
        pair = make_pair(app)
        log_out(app.test_client(), pair)
        logout.revoke_user("ada")
        later = datetime.now(timezone.utc) + timedelta(days=36500)
        with time_machine.travel(later, tick=False):
            assert logout.purge() == 0
            assert status(app, pair) == (401, 401)


def test_a_longer_max_token_lifetime_delays_the_purge(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_MAX_TOKEN_LIFETIME=timedelta(days=90))
    with app.app_context():
        logout.revoke_user("ada")
        later = datetime.now(timezone.utc) + timedelta(days=89)
        with time_machine.travel(later, tick=False):
            assert logout.purge() == 0
            assert logout.is_revoked({"sub": "ada", "iat": 1})


class Receiver:
    """A signal receiver that records its calls, and may raise an exception."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[Flask, dict[str, t.Any]]] = []
        self.error = error

    def __call__(self, sender: Flask, **values: t.Any) -> None:
        """Record a call."""
        self.calls.append((sender, values))
        if self.error is not None:
            raise self.error


def test_a_logout_sends_signals(local: Flask) -> None:
    pair, receiver, listener = make_pair(local), Receiver(), Receiver()
    with logged_out.connected_to(receiver), revoked.connected_to(listener):
        log_out(local.test_client(), pair)
    access, refresh = claims_of(pair.access), claims_of(pair.refresh)
    assert receiver.calls == [(local, {"access": access, "refresh": refresh})]
    ((sender, values),) = listener.calls
    assert sender is local
    assert (values["reason"], values["actor"]) == ("logout", "ada")
    assert [x.token_id for x in values["revocations"]] == [
        access["jti"],
        refresh["jti"],
    ]
    assert all(isinstance(x, Revocation) for x in values["revocations"])


def test_the_revoked_signal_has_reason_and_actor(local: Flask) -> None:
    listener = Receiver()
    with revoked.connected_to(listener):
        logout.revoke_user("ada", reason="password change", actor="ada")
        logout.revoke_token({"jti": "1"})
    assert [(x["reason"], x["actor"]) for _, x in listener.calls] == [
        ("password change", "ada"),
        (None, None),
    ]


def test_a_receiver_that_raises_does_not_undo_a_logout(
    local: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    pair, receiver = make_pair(local), Receiver()
    failing = Receiver(ValueError("receiver"))
    with logged_out.connected_to(failing), revoked.connected_to(failing):
        with logged_out.connected_to(receiver):
            response = log_out(local.test_client(), pair)
    assert response.data == LOGGED_OUT
    assert (len(failing.calls), len(receiver.calls)) == (2, 1)
    assert status(local, pair) == (401, 401)
    messages = [x.getMessage() for x in caplog.records if x.exc_info]
    assert messages == [
        "A receiver of the signal revoked failed.",
        "A receiver of the signal logged-out failed.",
    ]


def test_an_async_receiver_is_awaited(local: Flask) -> None:
    calls = []

    async def receive(sender: Flask, **values: t.Any) -> None:
        calls.append(sender)

    with revoked.connected_to(receive):
        logout.revoke_everyone()
    assert calls == [local]


def test_an_unavailable_store_is_signaled_and_logged(
    local: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    local.extensions["sqlalchemy"].drop_all()
    receiver, listener = Receiver(), Receiver()
    with store_unavailable.connected_to(receiver), revoked.connected_to(listener):
        for act in (
            lambda: logout.revoke_user("ada"),
            lambda: logout.is_revoked({"jti": "1"}),
            logout.purge,
        ):
            with pytest.raises(StoreUnavailableError):
                act()
    assert listener.calls == []
    errors = [values["error"] for _, values in receiver.calls]
    assert [type(error) for error in errors] == [StoreUnavailableError] * 3
    assert len(caplog.records) == 3
    for record in caplog.records:
        at, event, values = record.getMessage().split(" ", 2)
        assert (record.levelname, event) == ("ERROR", "store_unavailable")
        assert datetime.fromisoformat(at).tzinfo == timezone.utc
        assert "no such table" in json.loads(values)["error"]
        assert "flask logout init" in json.loads(values)["error"]


def test_each_revocation_logs_one_line(
    local: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flask_logout")
    pair, session = make_pair(local), login(local)
    log_out(local.test_client(), pair)
    log_out(local.test_client(), session)
    logout.revoke_token({"sub": "ada", "jti": "j"}, reason="stolen\nnew line")
    logout.revoke_session("s", actor="admin")
    logout.revoke_user("ada")
    logout.revoke_everyone(reason="breach", actor="root")
    lines = [x.getMessage().split(" ", 2) for x in caplog.records]
    assert {x.name for x in caplog.records} == {"flask_logout"}
    assert {x.levelname for x in caplog.records} == {"INFO"}
    ids = [claims_of(x)["jti"] for x in pair]
    assert [(event, json.loads(values)) for _, event, values in lines] == [
        (
            "authn_token_revoked+session_logout",
            {"subject": "ada", "ids": ids, "reason": "logout", "actor": "ada"},
        ),
        (
            "session_logout",
            {
                "subject": "ada",
                "ids": [sid_of(session)],
                "reason": "logout",
                "actor": "ada",
            },
        ),
        (
            "authn_token_revoked",
            {"subject": "ada", "ids": ["j"], "reason": "stolen\ufffdnew line"},
        ),
        ("session_logout", {"ids": ["s"], "actor": "admin"}),
        ("session_logout_all", {"subject": "ada"}),
        ("session_logout_everyone", {"reason": "breach", "actor": "root"}),
    ]
    assert all(datetime.fromisoformat(x[0]).tzinfo == timezone.utc for x in lines)


def test_no_token_is_logged(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    app = make_app()
    pair, client = make_pair(app), app.test_client()
    log_out(client, Pair(pair.access, pair.access))
    log_out(client, Pair(pair.access, pair.refresh[:-9]))
    log_out(client, pair)
    log_out(client, pair)
    client.get("/me", headers=bearer(pair.access))
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()
    log_out(client, pair)
    assert caplog.text
    for token in pair:
        assert token[:40] not in caplog.text
        assert token.split(".")[2] not in caplog.text


def notes_of(app: Flask) -> sa.Table:
    """Create a table of the app's own."""
    db = app.extensions["sqlalchemy"]
    notes: sa.Table = db.Table("note", sa.Column("id", sa.Integer, primary_key=True))
    db.create_all()
    return notes


def test_a_revocation_commits_with_the_apps_transaction(host: Flask) -> None:
    notes, db, listener = notes_of(host), host.extensions["sqlalchemy"], Receiver()
    pair = make_pair(host)
    with revoked.connected_to(listener):
        db.session.execute(sa.insert(notes).values(id=1))
        logout.revoke_user("ada", session=db.session)
        logout.revoke_user("eve", session=db.session)
        with db.session.begin_nested():
            pass
        assert listener.calls == []
        db.session.commit()
        subjects = [x["revocations"][0].subject for _, x in listener.calls]
        assert subjects == ["ada", "eve"]
        db.session.execute(sa.insert(notes).values(id=2))
        db.session.commit()
    assert len(listener.calls) == 2
    assert status(host, pair) == (401, 401)


REVOKING: dict[str, t.Callable[[Pair, t.Any], None]] = {
    "token": lambda pair, session: logout.revoke_token(
        claims_of(pair.access), session=session
    ),
    "session": lambda pair, session: logout.revoke_session(
        sid_of(pair), session=session
    ),
    "user": lambda _, session: logout.revoke_user("ada", session=session),
    "everyone": lambda _, session: logout.revoke_everyone(session=session),
}


@pytest.mark.parametrize("revoke", REVOKING.values(), ids=REVOKING.keys())
def test_every_revoke_method_joins_the_apps_transaction(
    host: Flask, revoke: t.Callable[[Pair, t.Any], None]
) -> None:
    session = host.extensions["sqlalchemy"].session
    pair = login(host)
    revoke(pair, session)
    session.rollback()
    assert status(host, pair) == (200, 200)
    revoke(pair, session)
    session.commit()
    assert status(host, pair)[0] == 401


@pytest.mark.parametrize("in_savepoint", [True, False])
def test_a_revocation_rolls_back_with_the_apps_transaction(
    host: Flask, in_savepoint: bool
) -> None:
    db, listener = host.extensions["sqlalchemy"], Receiver()
    pair = make_pair(host)
    with revoked.connected_to(listener):
        if in_savepoint:
            with db.session.begin_nested() as savepoint:
                logout.revoke_user("ada", session=db.session)
                savepoint.rollback()
            db.session.commit()
        else:
            logout.revoke_user("ada", session=db.session())
            db.session.rollback()
        db.session.commit()
    assert listener.calls == []
    assert status(host, pair) == (200, 200)


def test_rolling_back_a_later_savepoint_keeps_the_revocation(host: Flask) -> None:
    db, listener = host.extensions["sqlalchemy"], Receiver()
    pair = make_pair(host)
    with revoked.connected_to(listener):
        logout.revoke_user("ada", session=db.session)
        savepoint = db.session.begin_nested()
        savepoint.rollback()
        db.session.commit()
    assert len(listener.calls) == 1
    assert status(host, pair) == (401, 401)


def test_the_apps_pending_objects_are_not_flushed(host: Flask) -> None:
    notes, db = notes_of(host), host.extensions["sqlalchemy"]

    class Note(db.Model):  # type: ignore[name-defined,misc]
        """A model, so that the session has an object to flush."""

        __table__ = notes

    pending = Note(id=1)
    db.session.add(pending)
    pair = make_pair(host)
    assert status(host, pair) == (200, 200)
    assert log_out(host.test_client(), pair).data == LOGGED_OUT
    assert logout.is_revoked(claims_of(pair.access))
    logout.revoke_user("ada")
    logout.purge()
    assert pending in db.session.new
    db.session.rollback()
    assert db.session.scalars(sa.select(notes.c.id)).all() == []


def test_an_upstream_gets_verified_tokens_before_they_are_revoked(
    make_app: MakeApp,
) -> None:
    app = make_app()
    seen: list[LogoutTokens] = []
    extension = LogoutExtension()

    @extension.upstream
    def end_login(pair: LogoutTokens) -> None:
        assert not extension.is_revoked(pair.access)
        seen.append(pair)

    @extension.upstream
    async def end_login_async(pair: LogoutTokens) -> None:
        seen.append(pair)

    app.extensions["logout"].upstreams.extend(extension._upstreams)
    pair, client = make_pair(app), app.test_client()
    log_out(client, Pair(pair.access, pair.access))
    assert seen == []
    assert log_out(client, pair).data == LOGGED_OUT
    expected = LogoutTokens(
        claims_of(pair.access), claims_of(pair.refresh), pair.refresh
    )
    assert seen == [expected, expected]
    assert pair.refresh not in repr(seen)


def test_any_exception_in_an_upstream_is_an_external_api_error(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()

    def fail(_: LogoutTokens) -> None:
        raise OSError("provider gone")

    app.extensions["logout"].upstreams.append(fail)
    pair, client = make_pair(app), app.test_client()
    response = log_out(client, pair)
    assert (response.status_code, response.data) == (
        400,
        b'{"code":400,"message":"external api error","data":'
        b'{"type":"external_api_error","errors":[]}}',
    )
    assert get_status(client, pair) == (200, 200)
    assert "An upstream failed, so nothing was revoked." in caplog.text


@pytest.mark.parametrize("details", [object(), (1, 2), {1: "one"}, {"x": {2}}])
def test_details_must_be_json(details: t.Any) -> None:
    with pytest.raises(TypeError) as caught:
        ExternalAPIError(details=details)
    assert str(caught.value) == (
        "Invalid details. Expected JSON: None, a string, number or boolean, or a list or"
        " dict of these with string keys."
    )


def test_config_error_is_a_runtime_error() -> None:
    assert issubclass(ConfigError, RuntimeError)
