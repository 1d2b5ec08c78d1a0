"""Apps that are served over HTTP by gunicorn, and a client that costs next to nothing."""

from __future__ import annotations

import socket
import time
import typing as t
from contextlib import contextmanager
from multiprocessing import get_context

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from .databases import free_port
from .recipes import bearer
from .recipes import make_pair


class _Server(BaseApplication):  # type: ignore[misc]
    """One worker with one thread, which keeps connections open."""

    def __init__(self, app: Flask, port: int) -> None:
        self._app, self._port = app, port
        super().__init__()

    def load_config(self) -> None:
        settings = {
            "bind": f"127.0.0.1:{self._port}",
            "worker_class": "gthread",
            "keepalive": 60,
            "loglevel": "error",
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._app


def _run(app: Flask, port: int) -> None:
    _Server(app, port).run()


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def served(app: Flask) -> t.Iterator[t.Callable[[], None]]:
    """Serve an app as it is, in a fork, and lend a protected request that must succeed."""
    port = free_port()
    process = get_context("fork").Process(target=_run, args=(app, port))
    process.start()
    try:
        _wait_for_port(port)
        ((name, value),) = bearer(make_pair(app).access).items()
        head = f"GET /protected HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n\r\n"
        request = head.encode()
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def call() -> None:
                connection.sendall(request)
                answer = b""
                # The body is an empty object.
                while not answer.endswith(b"{}\n"):
                    answer += connection.recv(4096)
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"the request was answered {answer[:40]!r}")

            yield call
    finally:
        process.terminate()
        process.join()
