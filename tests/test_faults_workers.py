"""No logout is lost if many workers write, or if workers are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextlib import contextmanager
from contextlib import ExitStack
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection
from http.client import HTTPException
from pathlib import Path

import pytest
from flask import Flask

from .ci import examples
from .conftest import dispose
from .conftest import MakeApp
from .conftest import new_database
from .conftest import SECRET
from .ledger import Ledger
from .processes import in_processes
from .processes import may_fork
from .proxied_apps import config_for
from .proxied_apps import PATIENCE
from .proxy import free_port
from .proxy import wait_for_server
from .tokens import bearer
from .tokens import make_pair
from .tokens import Pair

pytestmark = pytest.mark.infrastructure

CHECKOUT = Path(__file__).parent.parent


@may_fork
def test_no_logout_is_lost_if_eight_processes_write(make_app: MakeApp) -> None:
    app = make_app()
    shares = [[make_pair(app) for _ in range(15)] for _ in range(8)]

    def work(share: list[Pair]) -> None:
        ledger, client = Ledger(app), app.test_client()
        for pair in share:
            # SQLite's locks are not fair, so a writer may wait until LOGOUT_TIMEOUT.
            while (status := ledger.log_out(client, pair)) != 200:
                assert status == 503
        assert len(ledger.acknowledged) == len(share)

    assert in_processes(work, shares) == [0] * 8
    ledger = Ledger(app)
    ledger.acknowledged = [pair for share in shares for pair in share]
    ledger.settle()


WSGI = f"""
import os
from flask import Flask
from flask_logout import LogoutExtension
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event

app = Flask(__name__)
app.config["JWT_SECRET_KEY"] = {SECRET!r}
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
app.config["LOGOUT_TIMEOUT"] = {PATIENCE}
db = SQLAlchemy(app)
LogoutExtension(app)

with app.app_context():
    @event.listens_for(db.engine, "connect")
    def hurry(connection, _):
        # What is written outlives a process that is killed, if not a power cut.
        if db.engine.dialect.name == "sqlite":
            connection.execute("PRAGMA synchronous = OFF")

@app.after_request
def name_worker(response):
    response.headers["X-Worker"] = str(os.getpid())
    return response
"""


@contextmanager
def gunicorn(folder: Path, url: str) -> t.Iterator[int]:
    """Serve an app with two workers, and return the port."""
    (folder / "wsgi.py").write_text(WSGI)
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "wsgi:app"]
    command += ["--bind", f"127.0.0.1:{port}", "--preload"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(CHECKOUT)},
            stdout=log,
            stderr=log,
        )
    try:
        wait_for_server(port, process, folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def post_logout(port: int, pair: Pair) -> tuple[int, int]:
    """Log a pair out over HTTP, and return the status and the worker's process id."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {**bearer(pair.access), "Content-Type": "application/json"}
    body = json.dumps({"refresh_token": pair.refresh})
    with closing(connection):
        connection.request("POST", "/auth/logout", body, headers)
        with connection.getresponse() as response:
            response.read()
            return response.status, int(response.headers["X-Worker"])


@pytest.mark.parametrize("driver", ["sqlite", "postgresql+psycopg", "mysql+pymysql"])
def test_no_logout_is_lost_if_workers_are_killed(
    driver: str, make_app: MakeApp, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        config = {}
        if driver != "sqlite":
            config = config_for(stack.enter_context(new_database(driver)))
        app = make_app(**config)
        stack.callback(dispose, app)
        kill_workers(app, tmp_path)


def kill_workers(app: Flask, folder: Path) -> None:
    """Kill workers while they serve many logouts, and check those logouts."""
    ledger, unknown, count = Ledger(app), [], examples(1000)

    def send(port: int, number: int, pair: Pair) -> None:
        try:
            status, worker = post_logout(port, pair)
        except (OSError, HTTPException):
            unknown.append(pair)
            return
        assert status == 200
        ledger.acknowledged.append(pair)
        if number % 50 == 0:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)

    pairs = [make_pair(app) for _ in range(count)]
    with gunicorn(folder, app.config["SQLALCHEMY_DATABASE_URI"]) as port:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(partial(send, port), range(count), pairs))
    assert len(ledger.acknowledged) + len(unknown) == count
    assert len(ledger.acknowledged) > count / 2
    ledger.settle()
