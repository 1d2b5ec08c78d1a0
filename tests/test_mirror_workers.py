"""The workers of a real server observe the bound of the in-memory mirror."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path

import pytest
import time_machine
from flask import current_app
from flask import Flask
from flask import Response
from flask_sqlalchemy import SQLAlchemy

from flask_logout import LogoutExtension
from flask_logout import Revocation
from flask_logout.domain.revocation_keys import make_key
from flask_logout.stores import mirror as mirror_module
from flask_logout.stores.sqlalchemy import pages

from .conftest import add_routes
from .conftest import MakeApp
from .conftest import open_server
from .conftest import SECRET
from .mirrors import mirror_of
from .redis_servers import Server
from .tokens import bearer
from .tokens import make_pair
from .tokens import Pair

STORES = ["sqlite", "postgresql+psycopg", "mysql+pymysql", "redis"]
WORKERS, THREADS = 3, 4
BOUND = 0.5
# How long a busy machine may take, in seconds.
PATIENCE = 60
SKEW = timedelta(minutes=3)
ROOT = Path(__file__).parent.parent


class Answer(t.NamedTuple):
    """A worker's response."""

    status: int
    worker: str
    """The process id of the worker."""

    copy: str
    """The id of its copy, and whether that copy is complete."""


def create_app() -> Flask:
    """Create the app of a worker from the environment. Gunicorn calls this."""
    app = Flask("worker")
    app.config.update(json.loads(os.environ["WORKER_CONFIG"]))
    SQLAlchemy(app)
    LogoutExtension(app)
    add_routes(app)
    app.after_request(_sign)
    if os.environ["WORKER_MODE"] == "preloaded":
        with app.app_context():
            while mirror_of(app)._copy.is_behind:
                mirror_of(app).find([b"0" * 16])
    else:
        # The clocks of the workers differ.
        offset = (os.getpid() % WORKERS - 1) * SKEW
        now = time.time() + offset.total_seconds()
        time_machine.travel(now, tick=True).start()
        mirror_module.REBUILD_EVERY = timedelta(seconds=0.2)
        mirror_module.PAUSE = timedelta(seconds=0.01)
        pages.PAGE_SIZE = 50
    return app


def _sign(response: Response) -> Response:
    copy = mirror_of(current_app)._copy
    response.headers["X-Worker"] = str(os.getpid())
    response.headers["X-Copy"] = "" if copy.is_behind else str(copy.born_at)
    return response


class Site:
    """A server with several workers."""

    def __init__(self, port: int) -> None:
        self._port = port

    def request(
        self, token: str, method: str = "GET", url: str = "/me", body: t.Any = None
    ) -> Answer:
        """Send a request on a new connection, so that any worker may accept it."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            headers = {**bearer(token), "Content-Type": "application/json"}
            connection.request(method, url, json.dumps(body), headers)
            response = connection.getresponse()
            response.read()
            names = ("X-Worker", "X-Copy")
            worker, copy = (response.headers[name] or "" for name in names)
            return Answer(response.status, worker, copy)
        finally:
            connection.close()

    def log_out(self, pair: Pair) -> Answer:
        """Log out."""
        body = {"refresh_token": pair.refresh}
        return self.request(pair.access, "POST", "/auth/logout", body)

    def ask_all(self, token: str) -> list[Answer]:
        """Send requests until every worker has responded."""
        # Several at once, because an idle machine may give all of them to one worker.
        answers: list[Answer] = []
        deadline = time.monotonic() + PATIENCE
        with ThreadPoolExecutor(2 * WORKERS) as pool:
            while len({x.worker for x in answers}) < WORKERS:
                assert time.monotonic() < deadline, "not every worker responds"
                answers += pool.map(self.request, 2 * WORKERS * [token])
        return answers

    def ask_all_for_status(self, token: str) -> set[int]:
        """Send requests until every worker has responded, and return all statuses."""
        return {x.status for x in self.ask_all(token)}


@contextmanager
def serve(mode: str, config: dict[str, t.Any], tmp_path: Path) -> t.Iterator[Site]:
    """Run gunicorn with several workers, each with several threads."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    options = [f"--workers={WORKERS}", f"--threads={THREADS}", "--timeout=0"]
    options += ["--preload"] if mode == "preloaded" else []
    options += ["--keep-alive=0", f"--bind=fd://{listener.fileno()}"]
    app = f"{__name__}:create_app()"
    with (tmp_path / "gunicorn.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, app],
            cwd=ROOT,
            env={
                **os.environ,
                "WORKER_CONFIG": json.dumps(config),
                "WORKER_MODE": mode,
            },
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
        try:
            yield Site(listener.getsockname()[1])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
            listener.close()


@pytest.fixture(params=STORES)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> t.Iterator[t.Any]:
    """The settings of an app for an empty store of each kind."""
    common = {
        "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'site.db'}",
        "JWT_SECRET_KEY": SECRET,
        # The clocks of the workers differ, and Flask-JWT-Extended reads them.
        "JWT_DECODE_LEEWAY": 3 * SKEW.total_seconds(),
        "LOGOUT_MAX_STALENESS": BOUND,
        "LOGOUT_PURGE_EVERY": 0,
    }
    if request.param == "redis":
        with Server(tmp_path / "redis") as server:
            yield {**common, "LOGOUT_STORE_URI": server.url}
        return
    for url in open_server(request.param):
        if url is not None:
            uri = url.render_as_string(hide_password=False)
            common["SQLALCHEMY_DATABASE_URI"] = uri
        yield common


@pytest.mark.parametrize("mode", ["skewed", "preloaded"])
def test_every_worker_rejects_a_revoked_token_within_the_bound(
    mode: str, config: dict[str, t.Any], make_app: MakeApp, tmp_path: Path
) -> None:
    host = make_app(**config)
    with host.app_context():
        # Store several pages, so that a rebuild is always in progress.
        keys = [make_key("session", None, str(i)) for i in range(300)]
        host.extensions["logout"].store.add(
            [Revocation(key, "session", None) for key in keys]
        )
    alive = make_pair(host, "grace").access
    with serve(mode, config, tmp_path) as site:
        copies = fill_all(site, alive)
        for i in range(3):
            pair = make_pair(host, f"user {i}")
            assert site.ask_all_for_status(pair.access) == {200}
            done = site.log_out(pair)
            acknowledged_at = time.monotonic()
            assert done.status == 200
            # A worker rejects tokens that it revoked itself immediately.
            own = [x for x in site.ask_all(pair.access) if x.worker == done.worker]
            assert {x.status for x in own} == {401}
            time.sleep(max(0, acknowledged_at + BOUND - time.monotonic()))
            assert site.ask_all_for_status(pair.access) == {401}
            assert site.ask_all_for_status(alive) == {200}
        if mode == "skewed":
            # All of this happened during rebuilds, so every worker has replaced its first copy.
            wait_for_rebuilds(site, alive, copies)
        else:
            assert fill_all(site, alive) == copies


def wait_for_rebuilds(site: Site, token: str, old: dict[str, str]) -> None:
    """Send requests until every worker has replaced its copy."""
    deadline = time.monotonic() + 20
    while any(copy == old[x] for x, copy in fill_all(site, token).items()):
        assert time.monotonic() < deadline, "some worker never rebuilds its copy"


def fill_all(site: Site, token: str) -> dict[str, str]:
    """Send requests until every worker's copy is complete, and return the copies."""
    for _ in range(100):
        copies = {x.worker: x.copy for x in site.ask_all(token)}
        if all(copies.values()):
            return copies
    raise AssertionError("some worker never fills its copy")
