"""What ``flask logout`` does with sessions."""

from __future__ import annotations

import json
import os
import pty
import re
import typing as t
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask

from flask_logout import LogoutExtension
from flask_logout import Session
from flask_logout.cli.store_commands import delete_expired
from flask_logout.domain.revocation_keys import make_key
from flask_logout.stores.sessions import SessionStore

from .commands import drop_table
from .commands import find_problems
from .commands import make_silent_app
from .commands import Outcome
from .commands import run_command
from .conftest import dispose
from .conftest import MakeApp
from .tokens import claims_of
from .tokens import get_status
from .tokens import make_pair
from .tokens import Pair

PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)
DAY = timedelta(days=1)
ALL_DETAILS = ["ip_address", "label", "user_agent"]
# Everything in it has another effect on a terminal than to be shown.
ESCAPES = "\x1b]0;owned\x07\u202e\u200b\x9b31m"
SEEN = "�]0;owned����31m"


def start(app: Flask, identity: t.Any = "ada", label: str | None = None) -> str:
    """Start a session, and return its sid."""
    with app.app_context():
        pair = LogoutExtension().start_session(identity, label=label)
    return str(claims_of(pair.refresh_token)["sid"])


def start_in_a_browser(app: Flask, user_agent: str, label: str) -> str:
    """Start a session in a request from a browser, and return its sid."""
    with app.test_request_context(
        headers={"User-Agent": user_agent}, environ_base={"REMOTE_ADDR": "192.0.2.1"}
    ):
        return start(app, label=label)


def sessions_of(app: Flask) -> SessionStore:
    """Return the store of sessions of an app."""
    sessions: SessionStore = app.extensions["logout"].sessions.store
    return sessions


def add_sessions(
    app: Flask, count: int, *, expires_at: datetime, kept_until: datetime
) -> None:
    """Store sessions that expire at an instant, and are kept until another."""
    model = Session("5b2c", "ada", PAST, expires_at=expires_at, kept_until=kept_until)
    with app.app_context():
        for number in range(count):
            key = make_key("session", None, f"{expires_at} {number}")
            made = replace(model, key=key, any_issuer_key=key, subject_key=key)
            sessions_of(app).start(made)


def with_time(text: str) -> str:
    """Replace the times in an output."""
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)


# flask logout sessions


def test_sessions_lists_the_sessions_of_a_user(
    make_app: MakeApp, database_url: str
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_SESSIONS=True)
    first, second = start(app, label="laptop"), start(app, label="telephone")
    start(app, "bob")
    status, stdout, stderr = run_command(app, "sessions", "ada")
    assert (status, stderr) == (0, "")
    titles = f"{'session':36}  {'created':19}  {'last seen':19}  {'expires':19}  label"
    assert stdout.splitlines()[0] == titles
    assert [with_time(x) for x in stdout.splitlines()[1:]] == [
        f"{second}  TIME  TIME  TIME  telephone",
        f"{first}  TIME  TIME  TIME  laptop",
    ]


def test_sessions_shows_the_details_that_the_app_keeps(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_SESSIONS=True, LOGOUT_SESSION_DETAILS=ALL_DETAILS)
    bare = start(app)
    sid = start_in_a_browser(app, "Firefox/140", "laptop")
    lines = with_time(run_command(app, "sessions", "ada").stdout).splitlines()
    assert lines[0].endswith("  ip address  label   user agent")
    assert lines[1:] == [
        f"{sid}  TIME  TIME  TIME  192.0.2.1   laptop  Firefox/140",
        f"{bare}  TIME  TIME  TIME  -           -       -",
    ]


def test_sessions_prints_json(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_SESSIONS=True, LOGOUT_SESSION_DETAILS=ALL_DETAILS)
    with time_machine.travel(PAST + DAY, tick=False):
        sid = start_in_a_browser(app, "Firefox/140", "laptop")
        status, stdout, stderr = run_command(app, "sessions", "ada", "--json")
    assert (status, stderr) == (0, "")
    (found,) = json.loads(stdout)
    # The clock of the database has not been moved.
    seen = datetime.fromisoformat(found.pop("last_seen_at"))
    assert abs(seen - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert found == {
        "sid": sid,
        "created_at": "2020-01-02T00:00:00+00:00",
        "expires_at": "2020-02-01T00:00:00+00:00",
        "ip_address": "192.0.2.1",
        "label": "laptop",
        "user_agent": "Firefox/140",
    }


def test_a_session_that_never_expires_has_no_expiry(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_SESSIONS=True, JWT_REFRESH_TOKEN_EXPIRES=False)
    sid = start(app)
    stdout = with_time(run_command(app, "sessions", "ada").stdout)
    assert stdout.splitlines()[0].split() == ["session", "created", "last", "seen"]
    assert stdout.splitlines()[1] == f"{sid}  TIME  TIME"
    stdout = run_command(app, "sessions", "ada", "--json").stdout
    assert [x["expires_at"] for x in json.loads(stdout)] == [None]


def test_a_session_that_was_ended_is_not_listed(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_SESSIONS=True)
    ended, other = start(app), start(app)
    assert run_command(app, "session", ended).status == 0
    listed = run_command(app, "sessions", "ada", "--json").stdout
    assert [x["sid"] for x in json.loads(listed)] == [other]
    assert run_command(app, "user", "ada").status == 0
    words = "Subject ada has no active session.\n"
    assert run_command(app, "sessions", "ada") == Outcome(0, words, "")
    assert run_command(app, "sessions", "ada", "--json") == Outcome(0, "[]\n", "")


@pytest.mark.parametrize("issuer", [None, "us"])
def test_a_session_from_before_sessions_can_be_ended_by_its_id(
    make_app: MakeApp, issuer: str | None
) -> None:
    app = make_app(
        LOGOUT_SESSIONS=True, JWT_ENCODE_ISSUER=issuer, JWT_DECODE_ISSUER=issuer
    )
    old = make_pair(app).refresh
    with app.app_context():
        sessions = app.extensions["logout"].sessions
        new = sessions.refresh(claims_of(old), checked_at=None)
    (found,) = json.loads(run_command(app, "sessions", "ada", "--json").stdout)
    sid = found["sid"]
    assert sid.startswith("t:")
    assert run_command(app, "session", sid).status == 0
    client = app.test_client()
    assert get_status(client, Pair(new.access_token, old)) == (401, 401)
    assert get_status(client, Pair(new.access_token, new.refresh_token)) == (401, 401)
    words = "Subject ada has no active session.\n"
    assert run_command(app, "sessions", "ada") == Outcome(0, words, "")


def test_a_user_with_many_sessions_gets_all_of_them(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_SESSIONS=True)
    sids = [start(app) for _ in range(201)]
    listed = json.loads(run_command(app, "sessions", "ada", "--json").stdout)
    assert [x["sid"] for x in listed] == sids[::-1]


def test_control_characters_are_replaced(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_SESSIONS=True, LOGOUT_SESSION_DETAILS=ALL_DETAILS)
    sid = start_in_a_browser(app, "a\u202eb", ESCAPES)
    outcome = run_command(app, "sessions", "ada")
    line = with_time(outcome.stdout).splitlines()[1]
    assert line == f"{sid}  TIME  TIME  TIME  192.0.2.1   {SEEN}  a�b"
    outcome = run_command(app, "sessions", ESCAPES)
    words = f"Subject {SEEN} has no active session.\n"
    assert outcome == Outcome(0, words, "")
    outcome = run_command(app, "sessions", "ada", "--json")
    assert outcome.stdout.replace("\n", "").isprintable()


def test_sessions_calls_the_loader_of_the_app(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_SESSIONS=True)
    users = {"ada": "7"}
    app.extensions["flask-jwt-extended"].user_identity_loader(users.__getitem__)
    sid = start(app)
    for arguments in (["ada"], ["7", "--subject"]):
        found = json.loads(run_command(app, "sessions", "--json", *arguments).stdout)
        assert [x["sid"] for x in found] == [sid]
    error = (
        "Error: user_identity_loader failed for this IDENTITY (KeyError: '7'), so nothing"
        " was listed. Pass the sub claim of the user's tokens with --subject.\n"
    )
    assert run_command(app, "sessions", "7") == Outcome(1, "", error)


def test_sessions_accepts_an_object_as_json(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_SESSIONS=True, JWT_VERIFY_SUB=False)
    sid = start(app, {"id": 7, "a": [1]})
    outcome = run_command(app, "sessions", "--json", '{"id": 7, "a": [1]}')
    assert [x["sid"] for x in json.loads(outcome.stdout)] == [sid]


@pytest.mark.parametrize("is_bearer", [False, True])
def test_a_token_is_not_an_identity(make_app: MakeApp, is_bearer: bool) -> None:
    app = make_app(LOGOUT_SESSIONS=True)
    token = make_pair(app).access
    outcome = run_command(app, "sessions", f"{'Bearer ' if is_bearer else ''}{token}")
    error = (
        "Error: 'IDENTITY' is a token, so nothing was listed. Pass one of its claims, or"
        " revoke the token with flask logout token.\n"
    )
    assert outcome == Outcome(1, "", error)


def test_an_empty_shell_variable_lists_nothing(make_app: MakeApp) -> None:
    error = "Error: 'IDENTITY' is empty, so nothing was listed.\n"
    app = make_app(LOGOUT_SESSIONS=True)
    assert run_command(app, "sessions", " ") == Outcome(1, "", error)


def test_sessions_says_that_they_are_off(make_app: MakeApp) -> None:
    error = "Error: Sessions are off. Set LOGOUT_SESSIONS to True.\n"
    assert run_command(make_app(), "sessions", "ada") == Outcome(1, "", error)


@pytest.mark.parametrize(
    "arguments", [["sessions", "ada"], ["stats"], ["purge"], ["stats", "--json"]]
)
def test_a_missing_table_is_reported_with_its_name(
    make_app: MakeApp, arguments: list[str]
) -> None:
    app = make_app(LOGOUT_SESSIONS=True)
    drop_session_table(app)
    error = (
        "Error: Table logout_session does not exist. Run your migrations or"
        " `flask logout init`.\n"
    )
    assert run_command(app, *arguments) == Outcome(1, "", error)


def test_an_unreachable_database_is_reported() -> None:
    app = make_silent_app(LOGOUT_SESSIONS=True)
    status, stdout, stderr = run_command(app, "sessions", "ada")
    dispose(app)
    assert (status, stdout) == (1, "")
    assert stderr.startswith("Error: The store can't be reached (OperationalError: ")


# The other commands


def drop_session_table(app: Flask) -> None:
    """Drop the table of sessions, and leave that of revocations."""
    with app.app_context():
        db = app.extensions["sqlalchemy"]
        db.metadata.tables["logout_session"].drop(db.engine)


def test_init_creates_both_tables_once(make_app: MakeApp, database_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_SESSIONS=True)
    drop_table(app)
    created = "Created table logout_revocation.\nCreated table logout_session.\n"
    assert run_command(app, "init") == Outcome(0, created, "")
    assert find_problems(app) == {}
    start(app)
    drop_revocation_table(app)
    both = "Created table logout_revocation.\nTable logout_session already exists.\n"
    assert run_command(app, "init") == Outcome(0, both, "")
    stats = json.loads(run_command(app, "stats", "--json").stdout)
    assert stats["sessions"] == {"live": 1, "expired": 0}


def drop_revocation_table(app: Flask) -> None:
    """Drop the table of revocations, and leave that of sessions."""
    with app.app_context():
        db = app.extensions["sqlalchemy"]
        db.metadata.tables["logout_revocation"].drop(db.engine)


def test_init_creates_no_table_of_sessions_while_they_are_off(
    make_app: MakeApp,
) -> None:
    app = make_app()
    drop_table(app)
    created = "Created table logout_revocation.\n"
    assert run_command(app, "init") == Outcome(0, created, "")
    with app.app_context():
        tables = sa.inspect(app.extensions["sqlalchemy"].engine).get_table_names()
    assert tables == ["logout_revocation"]


def test_init_adds_missing_indexes(make_app: MakeApp, database_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_SESSIONS=True)
    change_table(app, lambda x: x.indexes.clear())
    exists = "Table logout_revocation already exists.\nTable logout_session already exists.\n"
    assert run_command(app, "init") == Outcome(0, exists, "")
    assert find_problems(app) == {}


def test_init_rejects_a_table_with_another_schema(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_SESSIONS=True)
    change_table(app, lambda x: x._columns.remove(x.c.label))
    faults = say_faults("column label (VARCHAR(255)) is missing")
    assert run_command(app, "init") == Outcome(1, "", f"Error: {faults['store']}\n")


def change_table(app: Flask, change: t.Callable[[sa.Table], object]) -> None:
    """Create the table of sessions again with a change."""
    drop_session_table(app)
    with app.app_context():
        db = app.extensions["sqlalchemy"]
        wrong = db.metadata.tables["logout_session"].to_metadata(sa.MetaData())
        change(wrong)
        wrong.create(db.engine)


def say_faults(faults: str) -> dict[str, str]:
    """Return the finding about a table of sessions with these faults."""
    return {
        "store": f"Table logout_session has the wrong schema: {faults}. Create a migration"
        " that corrects it, or drop the table after every token has expired and run"
        " `flask logout init`."
    }


def test_check_finds_no_problem_in_a_healthy_app(
    make_app: MakeApp, database_url: str
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_SESSIONS=True)
    assert find_problems(app) == {}


def test_check_reports_a_missing_table(make_app: MakeApp, database_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_SESSIONS=True)
    drop_session_table(app)
    words = "Table {} does not exist. Run your migrations or `flask logout init`."
    assert find_problems(app) == {"store": words.format("logout_session")}
    drop_table(app)
    both = [words.format(x) for x in ("logout_revocation", "logout_session")]
    assert find_problems(app) == {"store": " ".join(both)}


def test_check_reports_wrong_columns(make_app: MakeApp, database_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_SESSIONS=True)

    def change(table: sa.Table) -> None:
        table._columns.remove(table.c.rotated_at)
        table.c.sid.type = sa.String(36)

    change_table(app, change)
    kind = {
        "sqlite": "DATETIME",
        "mysql": "DATETIME(6)",
        "postgresql": "TIMESTAMP WITH TIME ZONE",
    }[sa.make_url(database_url).get_backend_name()]
    faults = (
        "column sid has VARCHAR(36) instead of VARCHAR(255), column rotated_at"
        f" ({kind}) is missing"
    )
    assert find_problems(app) == say_faults(faults)


def test_check_reports_missing_indexes(make_app: MakeApp, database_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_SESSIONS=True)
    change_table(app, lambda x: x.indexes.clear())
    faults = (
        "the index on column kept_until is missing, the index on column subject_key is"
        " missing"
    )
    assert find_problems(app) == say_faults(faults)


def test_stats_counts_sessions(make_app: MakeApp, database_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_SESSIONS=True)
    start(app)
    start(app, "bob")
    add_sessions(app, 1, expires_at=PAST, kept_until=PAST + 5000 * DAY)
    stats = json.loads(run_command(app, "stats", "--json").stdout)
    kinds = ["token", "session", "subject", "everyone", "sessions"]
    assert list(stats) == kinds
    assert stats["sessions"] == {"live": 2, "expired": 1}
    status, stdout, stderr = run_command(app, "stats")
    assert (status, stderr) == (0, "")
    assert stdout == (
        "kind          live   expired  oldest               newest\n"
        "token            0         0  -                    -\n"
        "session          0         0  -                    -\n"
        "subject          0         0  -                    -\n"
        "everyone         0         0  -                    -\n"
        "\n"
        "Sessions: 2 live, 1 expired.\n"
    )


def test_purge_deletes_expired_sessions(make_app: MakeApp, database_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_SESSIONS=True)
    start(app)
    add_sessions(app, 1, expires_at=PAST, kept_until=PAST + DAY)
    add_sessions(app, 1, expires_at=PAST + DAY, kept_until=PAST + 5000 * DAY)
    deleted = "Deleted 0 expired revocations and 1 expired session.\n"
    assert run_command(app, "purge") == Outcome(0, deleted, "")
    deleted = "Deleted 0 expired revocations and 0 expired sessions.\n"
    assert run_command(app, "purge") == Outcome(0, deleted, "")
    stats = json.loads(run_command(app, "stats", "--json").stdout)
    assert stats["sessions"] == {"live": 1, "expired": 1}


def test_a_long_purge_ends_at_100_percent_though_some_sessions_are_kept(
    make_app: MakeApp,
) -> None:
    app = make_app(LOGOUT_SESSIONS=True)
    add_sessions(app, 901, expires_at=PAST, kept_until=PAST + DAY)
    add_sessions(app, 100, expires_at=PAST + DAY, kept_until=PAST + 5000 * DAY)
    store = sessions_of(app)
    ours, theirs = pty.openpty()
    with app.app_context(), open(theirs, "w") as terminal:
        deleted = delete_expired(
            store, lambda: store.inspect().count(PAST + 2 * DAY).expired, terminal
        )
        terminal.write("done")
        terminal.flush()
        seen = ""
        while not seen.endswith("done"):
            seen += os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert deleted == 901
    assert "90%" in seen and "100%" in seen
