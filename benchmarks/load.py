"""Requests per second and waiting times under load: gunicorn, wrk, a slower network.

A protected route of each app, served by four workers, is asked by wrk over eight
connections. The database is PostgreSQL, or Redis for its recipe; a proxy puts a delay
before it. On a machine with few cores wrk, gunicorn and the database share them. All apps
are asked in turns, for several rounds; what stands in a line are medians, and "ratio" is
the requests per second over those of the app with no check in the same round.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import typing as t
from contextlib import contextmanager
from contextlib import ExitStack
from importlib.util import find_spec
from statistics import median

import sqlalchemy as sa

from . import served
from .databases import ended
from .databases import free_port
from .databases import new_database
from .databases import port_of
from .databases import with_port
from .delay import delayed
from .filling import fill
from .filling import fill_recipe
from .recipes import bearer
from .recipes import Kind
from .recipes import KINDS
from .recipes import make_app
from .recipes import make_pair
from .reporting import make_parser
from .reporting import report
from .reporting import Row

DELAYS = (0.0, 0.5, 2.0)
"""What the network adds to a round trip, in milliseconds."""

WORKERS = 4
CONNECTIONS = 8
_ROWS = 10_000
# "May we speak TLS?", and "PING".
_PINGS = {"postgresql": bytes.fromhex("0000000804d2162f"), "redis": b"PING\r\n"}
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def measure(kind: Kind, url: str, delay_ms: float, *, seconds: int) -> Row:
    """Put load on one app.

    :param kind: the app.
    :param url: its database, tables created.
    :param delay_ms: what the network adds to a round trip, in milliseconds.
    :param seconds: how long, 1 or more.
    :returns: a line.
    """
    token = make_pair(make_app("none", "sqlite://")).access
    with ExitStack() as stack:
        port = stack.enter_context(delayed(port_of(url), delay_ms))
        trip = _time_trip(url, port)
        site = stack.enter_context(_served(kind, with_port(url, port)))
        # Connections, caches and the copy in memory are there before it counts.
        _load(site, token, 1)
        figures = _load(site, token, seconds)
    return {"check": kind, "delay_ms": delay_ms, "trip_ms": trip, **figures}


@contextmanager
def _served(kind: Kind, url: str) -> t.Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
    command += ["--workers", str(WORKERS), "--log-level", "error"]
    command += ["--config", "python:benchmarks.served", "benchmarks.served:serve()"]
    environment = {**os.environ, served.KIND: kind, served.URL: url}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True
    )
    with t.cast("t.IO[str]", process.stdout) as stdout, ended(process):
        for _ in range(WORKERS):
            said = stdout.readline().strip()
            if said != served.READY:
                raise RuntimeError(f"gunicorn does not serve {kind!r}: {said!r}")
        yield port


def _load(port: int, token: str, seconds: int) -> Row:
    ((name, value),) = bearer(token).items()
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    said = subprocess.run(
        [*command, "-H", f"{name}: {value}", f"http://127.0.0.1:{port}/protected"],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 30,
    ).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"not every request was let in:\n{said}")
    return {
        "requests_per_s": float(_find(r"Requests/sec:\s+([\d.]+)", said)[0]),
        "p50_ms": _milliseconds(_find(r"50%\s+([\d.]+)(us|ms|s)\b", said)),
        "p99_ms": _milliseconds(_find(r"99%\s+([\d.]+)(us|ms|s)\b", said)),
    }


def _find(pattern: str, text: str) -> t.Sequence[str]:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"wrk did not say {pattern}:\n{text}")
    return found.groups()


def _milliseconds(found: t.Sequence[str]) -> float:
    return float(found[0]) * _UNITS[found[1]]


def _time_trip(url: str, port: int) -> float:
    """Time, in milliseconds, what PostgreSQL and Redis answer with next to no work."""
    ask = _PINGS[sa.make_url(url).get_backend_name()]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The way to the server must be open before the clock runs.
        time.sleep(0.2)
        start = time.perf_counter()
        connection.sendall(ask)
        connection.recv(1)
        return (time.perf_counter() - start) * 1e3


def _kinds() -> list[Kind]:
    has_mirror = find_spec("rbloom") is not None
    return [kind for kind in KINDS if kind != "Flask-Logout, mirror on" or has_mirror]


def main() -> None:
    """Run the benchmark."""
    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="each load: default 3")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--delay", type=float, action="append", help="ms: 0, 0.5, 2")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed")
    lines: list[Row] = []
    with new_database("PostgreSQL") as url, new_database("Redis") as redis_url:
        if url is not None:
            fill_recipe(make_app("database recipe", url), _ROWS)
            fill(make_app("Flask-Logout", url), _ROWS)
        places = {
            kind: redis_url if kind == "redis recipe" else url for kind in _kinds()
        }
        for delay_ms in options.delay or DELAYS:
            rounds = [
                [
                    measure(kind, place, delay_ms, seconds=options.seconds)
                    for kind, place in places.items()
                    if place is not None
                ]
                for _ in range(options.rounds)
            ]
            lines += _summarize(rounds)
    report("load", lines, options.json)


def _summarize(rounds: t.Sequence[t.Sequence[Row]]) -> t.Iterator[Row]:
    """Make one line of the lines that each app has, the first being that of no check."""
    speeds = [[t.cast(float, row["requests_per_s"]) for row in x] for x in rounds]
    for i, same in enumerate(zip(*rounds, strict=True)):
        row: Row = {"check": same[0]["check"], "delay_ms": same[0]["delay_ms"]}
        for name in ("trip_ms", "requests_per_s", "p50_ms", "p99_ms"):
            row[name] = median(t.cast(float, x[name]) for x in same)
        row["ratio"] = median(speed[i] / speed[0] for speed in speeds)
        yield row


if __name__ == "__main__":
    main()
