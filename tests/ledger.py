"""Record the responses of an app while its store fails, and check them in the end."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition
from threading import Event

from flask import Flask
from flask.testing import FlaskClient

from .proxied_apps import PATIENCE
from .tokens import bearer
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair
from .tokens import UNAVAILABLE


class Ledger:
    """Records the responses that clients got, to check them in the end."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.acknowledged: list[Pair] = []
        self.statuses: set[int] = set()
        self._noted = Condition()

    def log_out(self, client: FlaskClient, pair: Pair) -> int:
        """Log a pair out, and check that a 200 or 503 is as documented."""
        answer = log_out(client, pair)
        self._note(answer.status_code)
        if answer.status_code == 200:
            assert answer.data == LOGGED_OUT
            with self._noted:
                self.acknowledged.append(pair)
        elif answer.status_code == 503:
            assert_returned_503(answer)
        return answer.status_code

    def visit(self, client: FlaskClient, pair: Pair) -> int:
        """Call a protected route."""
        answer = client.get("/me", headers=bearer(pair.access))
        self._note(answer.status_code)
        if answer.status_code == 503:
            assert_returned_503(answer)
        return answer.status_code

    def settle(self) -> None:
        """Check that the tokens of every acknowledged logout are rejected."""
        client = self.app.test_client()
        assert self.acknowledged
        for pair in self.acknowledged:
            assert get_status(client, pair) == (401, 401)

    def wait_for(self, status: int) -> None:
        """Wait until the next response with a status."""
        with self._noted:
            self.statuses.discard(status)
            assert self._noted.wait_for(lambda: status in self.statuses, PATIENCE)

    def _note(self, status: int) -> None:
        with self._noted:
            self.statuses.add(status)
            self._noted.notify_all()


def assert_returned_503(answer: t.Any) -> None:
    """Check that a response is the documented 503."""
    assert (answer.status_code, answer.data) == (503, UNAVAILABLE)
    assert int(answer.headers["Retry-After"]) > 0


@contextmanager
def load_on(app: Flask) -> t.Iterator[Ledger]:
    """Log in, visit a route and log out in four threads during the block."""
    ledger, is_over = Ledger(app), Event()

    def work() -> None:
        client = app.test_client()
        while not is_over.is_set():
            pair = make_pair(app)
            assert ledger.visit(client, pair) in {200, 503}
            if ledger.log_out(client, pair) == 200:
                assert ledger.visit(client, pair) in {401, 503}

    with ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(work) for _ in range(4)]
        try:
            yield ledger
        finally:
            is_over.set()
        for task in tasks:
            task.result()
