"""The app that gunicorn serves under load, and how gunicorn says that it does."""

from __future__ import annotations

import os
import typing as t

from flask import Flask

from .recipes import Kind
from .recipes import make_app

KIND = "BENCHMARK_KIND"
URL = "BENCHMARK_URL"
READY = "ready"
"""What each worker prints once it can be asked."""


def serve() -> Flask:
    """Make the app that the environment names; gunicorn calls this in each worker.

    :returns: the app.
    """
    return make_app(t.cast(Kind, os.environ[KIND]), os.environ[URL])


def post_worker_init(_worker: object) -> None:
    """Tell that a worker has loaded the app; gunicorn calls this.

    :param _worker: the worker.
    """
    # In one write, since several workers share the pipe.
    os.write(1, f"{READY}\n".encode())
