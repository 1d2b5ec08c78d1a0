"""``flask logout …``, run on an app as Flask runs it."""

from __future__ import annotations

import re
import typing as t

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_logout import LogoutExtension
from flask_logout.cli.checks import CHECKS

SILENT_URL = "mysql+pymysql://root@127.0.0.1:1/silent"

CHECK_NAMES = [name for name, _ in CHECKS]


class Outcome(t.NamedTuple):
    """The exit status and the output of a command."""

    status: int
    stdout: str
    stderr: str


def run_command(app: Flask, *arguments: str, stdin: str | bytes = "") -> Outcome:
    """Run one command of ``flask logout``."""
    runner = app.test_cli_runner()
    result = runner.invoke(args=["logout", *arguments], input=stdin)
    assert isinstance(result.exception, SystemExit | None), result.exc_info
    return Outcome(result.exit_code, result.stdout, result.stderr)


def find_problems(app: Flask) -> dict[str, str]:
    """Run ``flask logout check``, and return the problems by the name of the check."""
    status, stdout, stderr = run_command(app, "check")
    lines = stdout.splitlines()
    assert [re.split(": |$", line)[1] for line in lines] == CHECK_NAMES
    found = [line.split(": ", 2) for line in lines if line.startswith("problem: ")]
    problems = {name: problem for _, name, problem in found}
    plural = "" if len(problems) == 1 else "s"
    failed = (1, f"Error: Found {len(problems)} problem{plural}.\n")
    assert (status, stderr) == (failed if problems else (0, ""))
    return problems


def drop_table(app: Flask) -> None:
    """Drop the table of revocations."""
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()


def make_silent_app(**config: t.Any) -> Flask:
    """Make an app whose database can't be reached."""
    app = Flask("silent")
    app.config.update(SQLALCHEMY_DATABASE_URI=SILENT_URL, JWT_SECRET_KEY="x" * 32)
    app.config.update(config)
    SQLAlchemy(app)
    LogoutExtension(app)
    return app
