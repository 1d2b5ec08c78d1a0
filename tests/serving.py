"""Apps served over HTTP, in threads of this process."""

from __future__ import annotations

import typing as t
from contextlib import contextmanager
from threading import Thread

from flask import Flask
from werkzeug.serving import make_server

POLL_INTERVAL = 0.02
"""How often a server looks whether it has to stop, in seconds."""


@contextmanager
def serve(app: Flask) -> t.Iterator[int]:
    """Serve an app with a thread for each request, and yield the port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, args=(POLL_INTERVAL,))
    thread.start()
    try:
        yield server.server_port
    finally:
        # A skipped test raises too, and this thread would keep pytest from exiting.
        server.shutdown()
        thread.join()
        server.server_close()
