"""The page on logging, each configuration in a new process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from .pages import blocks
from .pages import DOCS

# The package comes first, since a configuration may disable loggers that exist.
IMPORTED = "import flask_logout\n"

APP = """
import logging
import os

from flask import Flask

app = Flask("app", instance_path=os.getcwd())
app.config["JWT_SECRET_KEY"] = 32 * "x"
logout = flask_logout.LogoutExtension(app)
"""
USED = """
run = app.test_cli_runner().invoke
run(args=["logout", "user", "ada", "--actor", "ops"])
print(run(args=["logout", "check"]).stdout.splitlines()[-1])
"""

SERVED = """
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token

with app.app_context():
    access = create_access_token("ada", additional_claims={"jti": "an-access-token"})
    refresh = create_refresh_token(
        "ada", additional_claims={"jti": "one", **flask_logout.session_claims(), "sid": "two"}
    )
client = app.test_client()
for _ in "12":
    client.post(
        "/auth/logout",
        headers={"Authorization": f"Bearer {access}"},
        json={"refresh_token": refresh},
    )


def fail(app, **values):
    raise OSError("no mail server")


with flask_logout.revoked.connected_to(fail), app.app_context():
    logout.revoke_everyone(reason="key leaked")
logging.getLogger("flask_logout").warning("it is %s", "late")
"""


def run_in(folder: Path, *code: str) -> tuple[str, str]:
    """Run code in a process of its own, and give what it printed and what it logged."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([IMPORTED, *code])],
        env={**os.environ, "PYTHONPATH": str(DOCS.parent)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


def without_time(line: str) -> str:
    """Cut the time off, with which a line starts."""
    return re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 ", "", line)


@pytest.fixture
def page() -> list[str]:
    """The configurations: to standard error, to a file, in JSON."""
    return blocks("howto/logging.rst", "python")


@pytest.fixture
def shown() -> str:
    """The line that the page shows, without its time."""
    (line,) = blocks("howto/logging.rst", "none")
    assert without_time(line) != line
    return without_time(line.strip() + "\n")


def test_the_configuration_makes_an_audit_log(
    tmp_path: Path, page: list[str], shown: str
) -> None:
    printed, logged = run_in(tmp_path, page[0], APP, USED)
    assert (printed, without_time(logged)) == ("ok: audit log\n", shown)


def test_there_is_no_audit_log_without_it(tmp_path: Path) -> None:
    printed, logged = run_in(tmp_path, APP, USED)
    assert (printed.startswith("note: "), logged) == (True, "")


def test_the_audit_log_is_written_to_a_file(
    tmp_path: Path, page: list[str], shown: str
) -> None:
    printed, logged = run_in(tmp_path, *page[:2], APP, USED)
    assert (printed, logged) == ("ok: audit log\n", "")
    assert without_time((tmp_path / "audit.log").read_text()) == shown


def test_the_audit_log_is_written_in_json(tmp_path: Path, page: list[str]) -> None:
    _, logged = run_in(tmp_path, page[0], page[2], APP, SERVED)
    entries: list[dict[str, t.Any]] = [json.loads(x) for x in logged.splitlines()]
    failed = entries[2]["message"].splitlines()
    assert failed[0] == "A receiver of the signal revoked failed."
    assert failed[-1] == "OSError: no mail server"
    for entry in entries:
        assert re.fullmatch(r"\S+T\S+\+00:00", entry.pop("time"))
    del entries[2]
    assert entries == [
        {
            "level": "INFO",
            "event": "authn_token_revoked+session_logout",
            "details": {
                "subject": "ada",
                "ids": ["an-access-token", "two"],
                "reason": "logout",
                "actor": "ada",
            },
        },
        {
            "level": "INFO",
            "event": "session_logout_everyone",
            "details": {"reason": "key leaked"},
        },
        {"level": "WARNING", "message": "it is late"},
    ]
