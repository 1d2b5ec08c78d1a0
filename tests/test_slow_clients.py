"""Clients that send their request slowly hold no connection to the database."""

from __future__ import annotations

import json
import socket
import typing as t

from .conftest import MakeApp
from .serving import serve
from .tokens import get_status
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair

CLIENTS = 8
ONE_CONNECTION: dict[str, t.Any] = {"pool_size": 1, "max_overflow": 0}


class SlowLogout:
    """A logout whose client has sent everything but the end of the body."""

    def __init__(self, port: int, pair: Pair) -> None:
        body = json.dumps({"refresh_token": pair.refresh}).encode()
        self._rest = body[-1:]
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.sendall(
            b"POST /auth/logout HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\n"
            + f"Authorization: Bearer {pair.access}\r\n".encode()
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body[:-1]
        )

    def finish(self) -> bytes:
        """Send the rest, and return the body of the response."""
        with self._socket, self._socket.makefile("rb") as answer:
            self._socket.sendall(self._rest)
            return answer.read().rpartition(b"\r\n\r\n")[2]


def test_slow_logouts_leave_the_pool_to_others(
    make_app: MakeApp, database_url: str
) -> None:
    app = make_app(
        SQLALCHEMY_DATABASE_URI=database_url,
        SQLALCHEMY_ENGINE_OPTIONS=ONE_CONNECTION,
    )
    pairs, other = [make_pair(app) for _ in range(CLIENTS)], make_pair(app)
    with serve(app) as port:
        slow = [SlowLogout(port, pair) for pair in pairs]
        for _ in range(20):
            assert get_status(app.test_client(), other) == (200, 200)
        assert [x.finish() for x in slow] == CLIENTS * [LOGGED_OUT]
    for pair in pairs:
        assert get_status(app.test_client(), pair) == (401, 401)
