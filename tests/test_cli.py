"""The commands of ``flask logout``."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import typing as t
from base64 import urlsafe_b64encode
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from pathlib import Path

import jwt
import pytest
import sqlalchemy as sa
from flask import Flask

from flask_logout import openapi
from flask_logout import Revocation
from flask_logout import session_claims
from flask_logout.cli.commands import logout
from flask_logout.cli.store_commands import delete_expired
from flask_logout.domain.claims import token_key

from .commands import drop_table
from .commands import make_silent_app
from .commands import Outcome
from .commands import run_command
from .conftest import dispose
from .conftest import MakeApp
from .conftest import SECRET
from .tokens import claims_of
from .tokens import expired
from .tokens import get_status
from .tokens import make_pair
from .tokens import tampered

PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)
AGES = timedelta(days=1)
COMMANDS = {
    "check": "Report problems with the setup of the app and how to fix them.",
    "everyone": "Revoke all tokens of all users.",
    "init": "Create the table for revocations if it doesn't exist.",
    "openapi": "Print the OpenAPI document of the endpoints, as JSON.",
    "purge": "Delete expired revocations.",
    "session": "Revoke every token of one session.",
    "sessions": "List the active sessions of a user, newest first.",
    "stats": "Count the stored revocations of each kind.",
    "token": "Revoke one token.",
    "user": "Log a user out everywhere by revoking all of their tokens.",
}
NEED_THE_TABLE = [
    ["purge"],
    ["session", "5b2c"],
    ["user", "ada"],
    ["everyone", "--yes"],
    ["stats"],
]


def run_now(app: Flask, *arguments: str) -> Outcome:
    """Run a command, check the cutoff that it prints, and replace it with NOW."""
    before = datetime.now(timezone.utc)
    outcome = run_command(app, *arguments)
    instant = re.compile(r"[\d-]{10} [\d:.]+\+00:00")
    for found in instant.findall(outcome.stdout):
        cutoff = datetime.fromisoformat(found)
        assert before <= cutoff <= datetime.now(timezone.utc)
    return outcome._replace(stdout=instant.sub("NOW", outcome.stdout))


def jti_of(token: str) -> str:
    """Read the jti of a token."""
    return str(claims_of(token)["jti"])


def add(app: Flask, *revocations: Revocation) -> None:
    """Store revocations."""
    with app.app_context():
        app.extensions["logout"].store.add(revocations)


def record_of(app: Flask, token: str) -> tuple[str | None, str | None]:
    """Read the reason and the actor of the revocation of a token."""
    with app.app_context():
        store = app.extensions["logout"].store
        row = sa.select(store.table).where(
            store.table.c.key == token_key(claims_of(token))
        )
        ((found,), _) = store.engine.execute(row)
    return found.reason, found.actor


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text(make_app: MakeApp, command: str) -> None:
    status, stdout, _ = run_command(make_app(), command, "--help")
    assert status == 0
    assert stdout.split("\n\n")[1].strip() == COMMANDS[command]


def test_the_group_lists_every_command(make_app: MakeApp) -> None:
    _, stdout, _ = run_command(make_app(), "--help")
    lines = stdout.partition("Commands:\n")[2].splitlines()
    assert dict(re.split(r"\s+", x.strip(), maxsplit=1) for x in lines) == COMMANDS


@pytest.mark.parametrize("command", ["token", "session", "user", "everyone"])
def test_commands_that_revoke_accept_a_reason_and_an_actor(
    make_app: MakeApp, command: str
) -> None:
    _, stdout, _ = run_command(make_app(), command, "--help")
    assert "--reason TEXT" in stdout and "--actor TEXT" in stdout


def test_init_creates_the_table_once(make_app: MakeApp, database_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    drop_table(app)
    assert run_command(app, "stats").status == 1
    created = "Created table logout_revocation.\n"
    assert run_command(app, "init") == Outcome(0, created, "")
    assert run_command(app, "everyone", "--yes").status == 0
    exists = "Table logout_revocation already exists.\n"
    assert run_command(app, "init") == Outcome(0, exists, "")
    assert (
        json.loads(run_command(app, "stats", "--json").stdout)["everyone"]["live"] == 1
    )


def test_init_rejects_a_table_with_another_schema(make_app: MakeApp) -> None:
    app = make_app()
    drop_table(app)
    with app.app_context():
        db = app.extensions["sqlalchemy"]
        columns = "key, kind, subject, revoked_at, expires_at"
        db.session.execute(sa.text(f"CREATE TABLE logout_revocation ({columns})"))
        db.session.commit()
    status, stdout, stderr = run_command(app, "init")
    assert (status, stdout) == (1, "")
    assert stderr.startswith(
        "Error: Table logout_revocation has the wrong schema: column key has an unknown"
        " type instead of BLOB NOT NULL, "
    )


def test_purge_deletes_expired_revocations(
    make_app: MakeApp, database_url: str
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    add(app, Revocation(b"a" * 16, "token", PAST), Revocation(b"b" * 16, "token", None))
    assert run_command(app, "purge") == Outcome(
        0, "Deleted 1 expired revocation.\n", ""
    )
    assert run_command(app, "purge") == Outcome(
        0, "Deleted 0 expired revocations.\n", ""
    )


def purge_on_a_terminal(app: Flask, count: int) -> tuple[int, str]:
    """Purge a number of revocations on a terminal, and return what it shows."""
    keys = [number.to_bytes(16, "big") for number in range(count)]
    for start in range(0, count, 500):
        add(app, *(Revocation(x, "token", PAST) for x in keys[start : start + 500]))
    ours, theirs = pty.openpty()
    with app.app_context(), open(theirs, "w") as terminal:
        store = app.extensions["logout"].store
        deleted = delete_expired(
            store, lambda: store.inspect().count_expired(PAST + AGES), terminal
        )
        terminal.write("done")
        terminal.flush()
        seen = ""
        while not seen.endswith("done"):
            seen += os.read(ours, 1 << 16).decode()
    os.close(ours)
    return deleted, seen


def test_a_long_purge_shows_its_progress_on_a_terminal(make_app: MakeApp) -> None:
    deleted, seen = purge_on_a_terminal(make_app(), 1001)
    assert deleted == 1001
    assert "Deleting" in seen and "99%" in seen and "100%" in seen


def test_a_short_purge_shows_no_progress(make_app: MakeApp) -> None:
    assert purge_on_a_terminal(make_app(), 3) == (3, "done")


@pytest.mark.parametrize("name", ["access", "refresh"])
@pytest.mark.parametrize("by", ["stdin", "argument"])
def test_token_revokes_that_token(make_app: MakeApp, name: str, by: str) -> None:
    app = make_app()
    pair = make_pair(app)
    token = getattr(pair, name)
    if by == "stdin":
        outcome = run_command(app, "token", "-", stdin=f" {token}\n")
    else:
        outcome = run_command(app, "token", token)
    assert outcome == Outcome(0, f"Revoked token {jti_of(token)} of subject ada.\n", "")
    expected = (401, 200) if name == "access" else (200, 401)
    assert get_status(app.test_client(), pair) == expected


def test_token_revokes_the_session_with_the_option(make_app: MakeApp) -> None:
    app = make_app()
    pair = make_pair(app, additional_claims=session_claims())
    outcome = run_command(app, "token", "-", stdin=pair.access)
    words = f"Revoked token {jti_of(pair.access)} of subject ada.\n"
    assert outcome == Outcome(0, words, "")
    assert get_status(app.test_client(), pair) == (401, 200)
    outcome = run_command(app, "token", "-", "--session", stdin=pair.access)
    sid = claims_of(pair.access)["sid"]
    words = f"Revoked every token of session {sid} of subject ada.\n"
    assert outcome == Outcome(0, words, "")
    assert get_status(app.test_client(), pair) == (401, 401)


def test_token_revokes_only_a_token_without_a_session(make_app: MakeApp) -> None:
    app = make_app()
    pair = make_pair(app)
    outcome = run_command(app, "token", "-", "--session", stdin=pair.access)
    words = f"Revoked token {jti_of(pair.access)} of subject ada.\n"
    assert outcome == Outcome(0, words, "")
    assert get_status(app.test_client(), pair) == (401, 200)


def test_token_accepts_an_expired_token_and_stores_the_reason(
    make_app: MakeApp,
) -> None:
    app = make_app()
    token = expired(app).access
    record = ["--reason", "found in a log", "--actor", "ops"]
    outcome = run_command(app, "token", "-", *record, stdin=token)
    assert outcome == Outcome(0, f"Revoked token {jti_of(token)} of subject ada.\n", "")
    assert record_of(app, token) == ("found in a log", "ops")


def test_token_rejects_a_forged_token_without_showing_it(make_app: MakeApp) -> None:
    app = make_app()
    token = tampered(make_pair(app).access)
    error = "Error: Invalid token: Signature verification failed.\n"
    assert run_command(app, "token", "-", stdin=token) == Outcome(1, "", error)
    assert run_command(app, "token", token) == Outcome(1, "", error)


@pytest.mark.parametrize("garbage", ["a.b.c", "é", b"\xff\xfe\x00", "a b"])
def test_token_rejects_garbage(make_app: MakeApp, garbage: str | bytes) -> None:
    status, stdout, stderr = run_command(make_app(), "token", "-", stdin=garbage)
    assert (status, stdout) == (1, "")
    assert re.fullmatch(r"Error: Invalid token: [^\n]+\.\n", stderr)


ESCAPES = "\x1b]0;owned\x07\u202e\u200b\x9b31m"
SEEN = "�]0;owned����31m"


def encode(part: object) -> str:
    """Encode a part of a token."""
    return urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_control_characters_in_a_header_are_replaced(make_app: MakeApp) -> None:
    header = {"alg": "HS256", "crit": [ESCAPES + 1000 * "x"]}
    token = f"{encode(header)}.{encode({'sub': 'ada'})}.AAAA"
    status, stdout, stderr = run_command(make_app(), "token", "-", stdin=token)
    assert (status, stdout) == (1, "")
    assert stderr[:-1].isprintable()
    assert (
        SEEN in stderr or "owned" not in stderr
    )  # older versions of PyJWT don't show it
    assert len(stderr) < 600


def test_control_characters_in_claims_are_replaced(make_app: MakeApp) -> None:
    app = make_app()
    token = make_pair(app, f"ada{ESCAPES}", additional_claims={"jti": ESCAPES}).access
    outcome = run_command(app, "token", "-", stdin=token)
    assert outcome == Outcome(0, f"Revoked token {SEEN} of subject ada{SEEN}.\n", "")
    outcome = run_command(app, "session", f"5b2c{ESCAPES}")
    words = f"Revoked every token of session 5b2c{SEEN}.\n"
    assert outcome == Outcome(0, words, "")
    outcome = run_now(app, "user", "ada", "--keep-session", ESCAPES)
    words = (
        "Revoked every login of subject ada that began at or before NOW, except session"
    )
    assert outcome == Outcome(0, f"{words} {SEEN}.\n", "")


def test_token_accepts_a_token_without_a_jti(make_app: MakeApp) -> None:
    app = make_app()
    token = jwt.encode({"sub": "ada", "iat": 1}, SECRET)
    outcome = run_command(app, "token", "-", stdin=token)
    words = "Revoked a token of subject ada without jti.\n"
    assert outcome == Outcome(0, words, "")


def test_characters_that_the_terminal_cannot_encode_are_escaped(tmp_path: Path) -> None:
    done = run_flask(tmp_path, "session", "é→", env={"PYTHONIOENCODING": "latin1"})
    words = "Revoked every token of session é\\u2192.\n"
    assert (done.returncode, done.stdout.decode("latin1")) == (0, words)


def test_token_reports_a_missing_signing_key(make_app: MakeApp) -> None:
    app = make_app()
    token = make_pair(app).access
    app.config["JWT_SECRET_KEY"] = None
    error = (
        "Error: JWT_SECRET_KEY or flask SECRET_KEY must be set when using symmetric"
        ' algorithm "HS256".\n'
    )
    assert run_command(app, "token", "-", stdin=token) == Outcome(1, "", error)


def test_session_revokes_every_token_of_a_session(make_app: MakeApp) -> None:
    app = make_app()
    claims = session_claims()
    pair, other = make_pair(app, additional_claims=claims), make_pair(app)
    outcome = run_command(app, "session", claims["sid"])
    words = f"Revoked every token of session {claims['sid']}.\n"
    assert outcome == Outcome(0, words, "")
    assert get_status(app.test_client(), pair) == (401, 401)
    assert get_status(app.test_client(), other) == (200, 200)


def test_user_revokes_the_tokens_of_one_user(
    make_app: MakeApp, database_url: str
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    ada, bob = make_pair(app, "ada"), make_pair(app, "bob")
    words = "Revoked every login of subject ada that began at or before NOW.\n"
    assert run_now(app, "user", "ada") == Outcome(0, words, "")
    assert get_status(app.test_client(), ada) == (401, 401)
    assert get_status(app.test_client(), bob) == (200, 200)


def test_user_keeps_the_session_with_the_option(make_app: MakeApp) -> None:
    app = make_app()
    claims = session_claims()
    kept = make_pair(app, additional_claims=claims)
    ended = make_pair(app, additional_claims=session_claims())
    outcome = run_now(app, "user", "ada", "--keep-session", claims["sid"])
    words = (
        "Revoked every login of subject ada that began at or before NOW, except session"
    )
    assert outcome == Outcome(0, f"{words} {claims['sid']}.\n", "")
    assert get_status(app.test_client(), kept) == (200, 200)
    assert get_status(app.test_client(), ended) == (401, 401)


def set_identity_loader(app: Flask, loader: t.Callable[[t.Any], t.Any]) -> None:
    """Set the app's user_identity_loader."""
    app.extensions["flask-jwt-extended"].user_identity_loader(loader)


def test_user_prints_one_line_for_several_issuers(make_app: MakeApp) -> None:
    app = make_app(JWT_ENCODE_ISSUER="me", JWT_DECODE_ISSUER=["me", "you"])
    words = "Revoked every login of subject ada that began at or before NOW.\n"
    assert run_now(app, "user", "ada") == Outcome(0, words, "")


@pytest.mark.parametrize("options", [[], ["--subject"]])
def test_user_accepts_an_object_as_json(make_app: MakeApp, options: list[str]) -> None:
    app = make_app(JWT_VERIFY_SUB=False)
    pair, text = (
        make_pair(app, {"id": 7, "a": [1]}),
        make_pair(app, '{"id": 7, "a": [1]}'),
    )
    outcome = run_now(app, "user", '{"id": 7, "a": [1]}', *options)
    words = "Revoked every login of subject %s that began at or before NOW.\n"
    expected = words % '{"id": 7, "a": [1]}' + words % '{"a":[1],"id":7}'
    assert outcome == Outcome(0, expected, "")
    assert get_status(app.test_client(), pair) == (401, 401)
    assert get_status(app.test_client(), text) == (401, 401)


@pytest.mark.parametrize("identity", ["7", "[]", "null", "ada", "{", 9999 * "["])
def test_user_warns_if_the_identity_is_not_json(
    make_app: MakeApp, identity: str
) -> None:
    app = make_app(JWT_VERIFY_SUB=False)
    status, _, stderr = run_command(app, "user", identity)
    warning = (
        "Warning: JWT_VERIFY_SUB is False, so the subject of a token may be an object. No"
        " such token was revoked. If the identities of this app are objects, pass the"
        " whole object as JSON.\n"
    )
    assert (status, stderr) == (0, "" if identity in {"7", "[]", "null"} else warning)


@pytest.mark.skipif(
    jwt.__version__.startswith("2.9."), reason="PyJWT accepts any subject before 2.10"
)
def test_user_rejects_an_object_that_no_valid_token_has(make_app: MakeApp) -> None:
    app = make_app()
    set_identity_loader(app, lambda identity: {"id": identity})
    status, stdout, stderr = run_command(app, "user", "7")
    assert (status, stdout) == (1, "")
    assert stderr.startswith(
        "Error: user_identity_loader failed for this IDENTITY (Val"
    )


def test_user_calls_the_loader_of_the_app(make_app: MakeApp) -> None:
    app = make_app()
    set_identity_loader(app, {"ada": "7", "bob": "8"}.__getitem__)
    ada, bob = make_pair(app, "ada"), make_pair(app, "bob")
    assert run_command(app, "user", "ada").status == 0
    assert get_status(app.test_client(), ada) == (401, 401)
    assert get_status(app.test_client(), bob) == (200, 200)


def test_user_accepts_the_subject_if_the_loader_needs_an_object(
    make_app: MakeApp,
) -> None:
    app = make_app()
    set_identity_loader(app, lambda user: str(user.year))
    pair = make_pair(app, PAST)
    error = (
        "Error: user_identity_loader failed for this IDENTITY (AttributeError: 'str'"
        " object has no attribute 'year'), so nothing was revoked. Pass the sub claim of"
        " the user's tokens with --subject.\n"
    )
    assert run_command(app, "user", "2020") == Outcome(1, "", error)
    assert get_status(app.test_client(), pair) == (200, 200)
    assert run_command(app, "user", "2020", "--subject").status == 0
    assert get_status(app.test_client(), pair) == (401, 401)


def test_everyone_revokes_the_tokens_of_all_users(make_app: MakeApp) -> None:
    app = make_app()
    pair = make_pair(app)
    words = "Revoked every login of every user that began at or before NOW.\n"
    assert run_now(app, "everyone", "--yes") == Outcome(0, words, "")
    assert get_status(app.test_client(), pair) == (401, 401)


@pytest.mark.parametrize(
    ("answer", "status", "tokens"), [("y\n", 0, 401), ("n\n", 1, 200), ("", 1, 200)]
)
def test_everyone_asks_for_confirmation(
    make_app: MakeApp, answer: str, status: int, tokens: int
) -> None:
    app = make_app()
    pair = make_pair(app)
    outcome = run_command(app, "everyone", stdin=answer)
    assert outcome.stdout.startswith("Every user will have to log in again. ")
    assert outcome.status == status
    assert get_status(app.test_client(), pair) == (tokens, tokens)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["session", ""], "SID"),
        (["user", " "], "IDENTITY"),
        (["token", ""], "TOKEN"),
        (["user", "ada", "--keep-session", ""], "--keep-session"),
    ],
)
def test_an_empty_shell_variable_revokes_nothing(
    make_app: MakeApp, arguments: list[str], name: str
) -> None:
    app = make_app()
    error = f"Error: {name!r} is empty, so nothing was revoked.\n"
    assert run_command(app, *arguments) == Outcome(1, "", error)
    assert '"live": 1' not in run_command(app, "stats", "--json").stdout


def test_stats_prints_json(make_app: MakeApp, database_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    began = datetime.now(timezone.utc) - timedelta(seconds=1)
    add(app, Revocation(b"a" * 16, "token", PAST), Revocation(b"b" * 16, "token", None))
    add(app, Revocation(b"c" * 16, "subject", None, cutoff=PAST))
    status, stdout, stderr = run_command(app, "stats", "--json")
    assert (status, stderr) == (0, "")
    stats = json.loads(stdout)
    counts = {kind: (x["live"], x["expired"]) for kind, x in stats.items()}
    assert counts == {
        "token": (1, 1),
        "session": (0, 0),
        "subject": (1, 0),
        "everyone": (0, 0),
    }
    nothing = {"live": 0, "expired": 0, "oldest": None, "newest": None}
    assert stats["session"] == stats["everyone"] == nothing
    oldest, newest = stats["token"]["oldest"], stats["subject"]["newest"]
    ends = [datetime.fromisoformat(x) for x in (oldest, newest)]
    assert began <= ends[0] <= ends[1] <= datetime.now(timezone.utc)


def test_stats_prints_a_table(make_app: MakeApp) -> None:
    app = make_app()
    add(app, Revocation(b"a" * 16, "token", PAST), Revocation(b"b" * 16, "token", None))
    status, stdout, stderr = run_command(app, "stats")
    assert (status, stderr) == (0, "")
    at = "0000-00-00 00:00:00"
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", at, stdout) == (
        "kind          live   expired  oldest               newest\n"
        f"token            1         1  {at}  {at}\n"
        "session          0         0  -                    -\n"
        "subject          0         0  -                    -\n"
        "everyone         0         0  -                    -\n"
    )


@pytest.mark.parametrize("arguments", NEED_THE_TABLE)
def test_a_missing_table_is_reported_with_its_name(
    make_app: MakeApp, arguments: list[str]
) -> None:
    app = make_app()
    drop_table(app)
    error = (
        "Error: Table logout_revocation does not exist. Run your migrations or"
        " `flask logout init`.\n"
    )
    assert run_command(app, *arguments) == Outcome(1, "", error)


@pytest.mark.parametrize("arguments", [*NEED_THE_TABLE, ["init"]])
def test_an_unreachable_database_is_reported(arguments: list[str]) -> None:
    app = make_silent_app()
    status, stdout, stderr = run_command(app, *arguments)
    dispose(app)
    assert (status, stdout) == (1, "")
    assert re.fullmatch(
        r"Error: The store can't be reached \(OperationalError: .*Can't connect.*\)\."
        r" Start it, or correct SQLALCHEMY_DATABASE_URI or LOGOUT_STORE_URI\.\n",
        stderr,
    )


def test_a_read_only_database_is_reported(make_app: MakeApp, tmp_path: Path) -> None:
    make_app()
    url = f"sqlite:///file:{tmp_path / 'app.db'}?mode=ro&uri=true"
    app = make_app(SQLALCHEMY_DATABASE_URI=url)
    error = (
        "Error: SQLite can't write to the database (attempt to write a readonly"
        " database), so every logout returns 503. Make the file and its folder writable"
        " for the app.\n"
    )
    assert run_command(app, "everyone", "--yes") == Outcome(1, "", error)


def test_a_missing_extension_is_reported() -> None:
    app = Flask("bare")
    app.cli.add_command(logout)
    error = "Error: The current app has no LogoutExtension. Call init_app(app) first.\n"
    assert run_command(app, "stats") == Outcome(1, "", error)


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        ({}, {"url_prefix": "/auth", "max_token_length": 8192}),
        (
            {"LOGOUT_URL_PREFIX": "/api/auth", "LOGOUT_MAX_TOKEN_LENGTH": 999},
            {"url_prefix": "/api/auth", "max_token_length": 999},
        ),
    ],
)
def test_openapi_prints_the_document_of_the_app(
    make_app: MakeApp, config: dict[str, t.Any], arguments: dict[str, t.Any]
) -> None:
    status, stdout, stderr = run_command(make_app(**config), "openapi")
    assert (status, stderr) == (0, "")
    assert json.loads(stdout) == openapi(**arguments)


def run_flask(
    folder: Path, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run ``flask logout`` in a separate process on the app in ``app.py``."""
    paths = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
    if not (folder / "app.py").exists():
        (folder / "app.py").write_text(APP)
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "logout", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, **(env or {})},
        capture_output=True,
    )


APP = """
from flask import Flask
from flask_logout import LogoutExtension

app = Flask("app", instance_path=__import__("os").getcwd())
app.config["JWT_SECRET_KEY"] = 32 * "x"
LogoutExtension(app)
"""


def test_the_flask_command_fails_without_a_traceback_or_a_log_line(
    tmp_path: Path,
) -> None:
    code = "from tests.commands import make_silent_app\napp = make_silent_app()\n"
    (tmp_path / "app.py").write_text(code)
    done = run_flask(tmp_path, "everyone", "--yes")
    assert (done.returncode, done.stdout) == (1, b"")
    error = rb"Error: The store can't be reached [^\n]+\n"
    assert re.fullmatch(error, done.stderr)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("session", "TOKEN"), "'SID'"),
        (("user", "TOKEN"), "'IDENTITY'"),
        (("user", "ada", "--keep-session", "TOKEN"), "'--keep-session'"),
        (("user", "Bearer TOKEN"), "'IDENTITY'"),
    ],
)
def test_a_token_in_place_of_a_claim_is_rejected_and_not_printed(
    make_app: MakeApp, arguments: tuple[str, ...], name: str
) -> None:
    app = make_app()
    token = make_pair(app).access
    given = [x.replace("TOKEN", token) for x in arguments]
    error = (
        f"Error: {name} is a token, so nothing was revoked. Pass one of its claims, or"
        " revoke the token with flask logout token.\n"
    )
    assert run_command(app, *given) == Outcome(1, "", error)
    assert get_status(app.test_client(), make_pair(app)) == (200, 200)


def test_a_token_may_come_with_its_header_type(make_app: MakeApp) -> None:
    app = make_app()
    pair = make_pair(app)
    assert run_command(app, "token", f"Bearer {pair.access}").status == 0
    assert get_status(app.test_client(), pair) == (401, 200)


def test_an_empty_standard_input_is_an_error(make_app: MakeApp) -> None:
    error = "Error: Standard input is empty, so nothing was revoked.\n"
    assert run_command(make_app(), "token", "-", stdin=" \n") == Outcome(1, "", error)
