"""Run commands of Flask in forks of a process that has imported what they need.

A new interpreter would take a second for each command, most of it for imports.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import traceback
import typing as t
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path


class Done(t.NamedTuple):
    """The result of a command."""

    status: int
    output: str
    """What it printed, to its standard output and its standard error."""


def run_flask(*arguments: str, folder: Path, env: dict[str, str]) -> Done:
    """Run ``flask`` with arguments in a folder."""
    with tempfile.TemporaryDirectory() as work:
        output = Path(work) / "output"
        request = {"arguments": arguments, "folder": str(folder), "env": env}
        if not hasattr(os, "fork"):
            command = [sys.executable, "-m", "flask", *arguments]
            with output.open("wb") as file:
                status = subprocess.run(
                    command, cwd=folder, env=env, stdout=file, stderr=file
                ).returncode
            return Done(status, output.read_text())
        process = _start()
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps({**request, "output": str(output)}) + "\n")
        stdin.flush()
        return Done(int(stdout.readline()), output.read_text())


@cache
def _start() -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.flask_commands"],
        cwd=Path(__file__).parent.parent,
        stdin=pipe,
        stdout=pipe,
        text=True,
    )
    atexit.register(process.communicate)
    return process


def _serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            os._exit(_run(**request))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run(arguments: list[str], folder: str, env: dict[str, str], output: str) -> int:
    from flask.cli import main

    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.path.insert(0, folder)
    sys.argv = ["flask", *arguments]
    status: t.Any = 0
    try:
        main()
    except SystemExit as e:
        status = e.code
    except Exception:  # noqa: B902  what the interpreter would print
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return int(status or 0)


if __name__ == "__main__":
    import alembic.autogenerate
    import alembic.command
    import flask_sqlalchemy
    import sqlalchemy.dialects.mysql
    import sqlalchemy.dialects.postgresql

    import flask_logout.extension
    import flask_logout.stores.sqlalchemy

    # Only imported, so that the forks don't have to.
    _imported = [alembic, flask_sqlalchemy, sqlalchemy, flask_logout]
    _imported += [x.load() for x in entry_points(group="flask.commands")]
    _serve()
