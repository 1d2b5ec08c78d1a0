"""The page on background jobs, with the workers of Celery."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from celery.contrib.testing.worker import start_worker
from flask import Flask
from flask_jwt_extended import decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt import PyJWTError

from flask_logout import session_claims
from flask_logout import store_unavailable

from .conftest import add_routes
from .conftest import dispose
from .pages import blocks
from .pages import DOCS
from .pages import run
from .tokens import bearer
from .tokens import claims_of
from .tokens import expired
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import tampered

SKIPPED = "skipped: the user has logged out"
EXPORTED = "exported the data of ada"

QUICKLY = {"polling_interval": 0.02}


class Page(t.NamedTuple):
    """What the page defines."""

    app: Flask
    logout: t.Any
    export: t.Any
    lock_account: t.Any


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Page]:
    """The page, and a worker in a thread of this process."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("celery"))
    names = run("howto/celery.rst")
    os.chdir(before)
    add_routes(names["app"])
    queue = names["celery_app"]
    queue.conf.broker_transport_options = QUICKLY
    queue.conf.worker_hijack_root_logger = False
    queue.conf.worker_redirect_stdouts = False
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    with start_worker(queue, pool="solo", perform_ping_check=False):
        yield Page(*(names[name] for name in Page._fields))
    # The worker has set the level of all logs of this process.
    root.setLevel(level)
    root.handlers[:] = handlers
    dispose(names["app"])


def do(task: t.Any, *args: t.Any) -> t.Any:
    """Have the worker do a task, and give its result."""
    return task.delay(*args).get(timeout=9, interval=0.02)


def test_a_job_is_skipped_when_its_token_is_revoked(page: Page) -> None:
    pair, other = make_pair(page.app), make_pair(page.app)
    claims, others = claims_of(pair.access), claims_of(other.access)
    assert [do(page.export, x) for x in (claims, others)] == [EXPORTED] * 2
    assert log_out(page.app.test_client(), pair).data == LOGGED_OUT
    assert [do(page.export, x) for x in (claims, others)] == [SKIPPED, EXPORTED]


def test_a_job_is_skipped_when_its_login_has_ended(page: Page) -> None:
    with page.app.app_context():
        login = session_claims()
    first, refreshed = (make_pair(page.app, additional_claims=login) for _ in range(2))
    assert do(page.export, claims_of(refreshed.access)) == EXPORTED
    assert log_out(page.app.test_client(), first).data == LOGGED_OUT
    assert do(page.export, claims_of(refreshed.access)) == SKIPPED


def test_a_view_queues_verified_claims(page: Page) -> None:
    client, pair = page.app.test_client(), make_pair(page.app)
    forged = client.post("/export", headers=bearer(tampered(pair.access)))
    assert forged.status_code == 422
    response = client.post("/export", headers=bearer(pair.access))
    assert response.status_code == 202
    result = page.export.AsyncResult(response.get_json()["job"])
    assert result.get(timeout=9, interval=0.02) == EXPORTED


def test_expiry_is_not_checked_but_by_decoding(page: Page) -> None:
    old, forged = expired(page.app).access, tampered(make_pair(page.app).access)
    assert do(page.export, claims_of(old)) == EXPORTED
    with page.app.app_context():
        for token in (old, forged):
            with pytest.raises((PyJWTError, JWTExtendedException)):
                decode_token(token)


def test_a_job_waits_for_a_store_that_is_down(page: Page) -> None:
    db = page.app.extensions["sqlalchemy"]
    refused = []

    def repair(_: Flask, error: Exception) -> None:
        refused.append(error)
        db.create_all()

    with page.app.app_context():
        db.drop_all()
    with store_unavailable.connected_to(repair, page.app):
        assert do(page.export, claims_of(make_pair(page.app).access)) == EXPORTED
    assert len(refused) == 1


def test_a_job_logs_a_user_out(page: Page) -> None:
    client, pair = page.app.test_client(), make_pair(page.app, "bob")
    assert get_status(client, pair) == (200, 200)
    assert do(page.lock_account, "bob") is None
    assert get_status(client, pair) == (401, 401)
    assert get_status(client, make_pair(page.app, "ada")) == (200, 200)


SERVED = """
import os

with app.app_context():
    logout.is_revoked({"jti": "1"})  # So the parent has a connection when it forks.


@celery_app.task
def tell_process():
    return os.getpid(), os.getppid()


celery_app.conf.update(
    broker_url="filesystem://",
    result_backend="file://results",
    broker_transport_options={
        "data_folder_in": "queue",
        "data_folder_out": "queue",
        "control_folder": "queue",
        "polling_interval": 0.02,
    },
)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork()")
def test_forked_workers_check_revoke_and_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("queue", "results"):
        Path(folder).mkdir()
    source = "\n".join([*blocks("howto/celery.rst", "python"), SERVED])
    Path("tasks.py").write_text(source)
    names: dict[str, t.Any] = {"__name__": "tasks"}
    exec(source, names)
    app, export = names["app"], names["export"]
    options = "--pool prefork --concurrency 2 --loglevel INFO --without-mingle"
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "tasks:celery_app",
            "worker",
            *options.split(),
        ],
        env={**os.environ, "PYTHONPATH": str(DOCS.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        pair = make_pair(app)
        claims = claims_of(pair.access)
        waiting = [export.delay(claims) for _ in range(4)]
        assert [x.get(timeout=30, interval=0.02) for x in waiting] == [EXPORTED] * 4
        pid, parent = do(names["tell_process"])
        assert (pid != worker.pid, parent) == (True, worker.pid)
        assert do(names["lock_account"], "ada") is None
        assert log_out(app.test_client(), pair).status_code == 401
        waiting = [export.delay(claims) for _ in range(4)]
        assert [x.get(timeout=9, interval=0.02) for x in waiting] == [SKIPPED] * 4
    finally:
        # Stopping it with SIGTERM takes seconds.
        os.killpg(worker.pid, signal.SIGKILL)
        output, _ = worker.communicate(timeout=30)
        dispose(app)
    event = 'session_logout_all {"subject": "ada", "reason": "suspicious",'
    assert f'{event} "actor": "nightly job"}}' in output
