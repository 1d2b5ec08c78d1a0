"""Apps that are served over HTTP by gunicorn, and a client that costs next to nothing."""

from __future__ import annotations

import socket
import typing as t
from contextlib import contextmanager
from contextlib import ExitStack
from multiprocessing import get_context

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from .databases import free_port
from .databases import wait_for_port
from .recipes import bearer
from .recipes import make_pair

Callers = dict[str, t.Callable[[], None]]
"""Requests that can be made again and again, by name."""


class _Server(BaseApplication):  # type: ignore[misc]
    """One worker with one thread, which keeps connections open."""

    def __init__(self, apps: t.Mapping[str, Flask], port: int) -> None:
        self._apps, self._port = apps, port
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

    def load(self) -> DispatcherMiddleware:
        mounts: dict[str, t.Any] = {
            f"/{number}": app for number, app in enumerate(self._apps.values())
        }
        return DispatcherMiddleware(NotFound(), mounts)


def _run(apps: t.Mapping[str, Flask], port: int) -> None:
    _Server(apps, port).run()


@contextmanager
def served(apps: t.Mapping[str, Flask]) -> t.Iterator[Callers]:
    """Serve apps as they are, in a fork, and lend a protected request of each.

    One process serves all apps, because no two processes are equally fast. The number of
    an app is the first part of its path, because a name may contain spaces.
    """
    port = free_port()
    process = get_context("fork").Process(target=_run, args=(apps, port))
    process.start()
    try:
        wait_for_port(port, process.is_alive)
        with ExitStack() as stack:
            yield {
                name: _make_caller(stack, port, f"/{number}/protected", app)
                for number, (name, app) in enumerate(apps.items())
            }
    finally:
        process.terminate()
        process.join()


def _make_caller(
    stack: ExitStack, port: int, path: str, app: Flask
) -> t.Callable[[], None]:
    ((name, value),) = bearer(make_pair(app).access).items()
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n\r\n"
    request = head.encode()
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call() -> None:
        connection.sendall(request)
        answer = b""
        # The body is an empty object.
        while not answer.endswith(b"{}\n"):
            received = connection.recv(4096)
            if not received:
                raise RuntimeError(f"the connection was closed after {answer[:40]!r}")
            answer += received
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the request was answered {answer[:40]!r}")

    return call
