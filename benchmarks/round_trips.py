"""How often a check, and a logout of both tokens, wait for the database.

A proxy before the server counts how often the client speaks after the server has spoken.
Connections are open before it counts.
"""

from __future__ import annotations

import select
import socket
import typing as t
from contextlib import contextmanager
from socketserver import BaseRequestHandler
from socketserver import ThreadingTCPServer
from threading import Thread

import sqlalchemy as sa

from .databases import new_database
from .databases import port_of
from .databases import with_port
from .recipes import Kind
from .recipes import make_app
from .recipes import make_caller
from .recipes import make_logout
from .reporting import make_parser
from .reporting import report
from .reporting import Row

TARGETS = {"check": 1, "logout": 2}
"""How many round trips ours may have."""

_DRIVERS = {
    "PostgreSQL": ("postgresql+psycopg", "postgresql+psycopg2"),
    "MariaDB": ("mysql+pymysql",),
    "Redis": ("redis",),
}
# psycopg prepares a statement at its sixth time, once for each connection.
_WARM_UPS, _COUNTED = 10, 5


class _Counter(ThreadingTCPServer):
    """A server on a free port that passes everything on, and counts round trips."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Link)
        self.target = ("127.0.0.1", port)
        self.trips = 0


class _Link(BaseRequestHandler):
    """A connection of a client, and the one to the server."""

    def handle(self) -> None:
        counter = t.cast(_Counter, self.server)
        client: socket.socket = self.request
        is_asking = False
        with socket.create_connection(counter.target) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                for end in select.select([client, server], [], [])[0]:
                    said = end.recv(1 << 16)
                    if not said:
                        return
                    if end is client and not is_asking:
                        counter.trips += 1
                    is_asking = end is client
                    (server if end is client else client).sendall(said)


@contextmanager
def _counting(port: int) -> t.Iterator[_Counter]:
    with _Counter(port) as counter:
        Thread(target=counter.serve_forever, daemon=True).start()
        try:
            yield counter
        finally:
            counter.shutdown()


def measure(database: str, url: str) -> t.Iterator[Row]:
    """Count on one database, the recipe's and ours.

    :param database: its name.
    :param url: where it is, empty.
    :yields Row: a line for each driver, app and request.
    """
    recipe: Kind = "redis recipe" if database == "Redis" else "database recipe"
    for driver in _DRIVERS[database]:
        with _counting(port_of(url)) as counter:
            place = sa.make_url(with_port(url, counter.server_address[1]))
            named = place.set(drivername=driver).render_as_string(hide_password=False)
            kinds: tuple[Kind, ...] = (recipe, "Flask-Logout")
            for kind in kinds:
                app = make_app(kind, named)
                calls = {
                    "check": make_caller(app),
                    "logout": make_logout(app, kind, _WARM_UPS + _COUNTED),
                }
                for name, call in calls.items():
                    trips = _count(counter, call)
                    target = TARGETS[name] if kind == "Flask-Logout" else None
                    yield {
                        "driver": driver,
                        "of": kind,
                        "what": name,
                        "round_trips": trips,
                        "target": target,
                        "met": None if target is None else trips <= target,
                    }
                with app.app_context():
                    for engine in app.extensions["sqlalchemy"].engines.values():
                        engine.dispose()


def _count(counter: _Counter, call: t.Callable[[], None]) -> float:
    for _ in range(_WARM_UPS):
        call()
    before = counter.trips
    for _ in range(_COUNTED):
        call()
    return (counter.trips - before) / _COUNTED


def main() -> None:
    """Run the benchmark."""
    parser = make_parser(__doc__)
    parser.add_argument("--database", choices=_DRIVERS, action="append")
    options = parser.parse_args()
    lines: list[Row] = []
    for name in options.database or _DRIVERS:
        with new_database(name) as url:
            if url is not None:
                lines += measure(name, url)
    report("round_trips", lines, options.json)


if __name__ == "__main__":
    main()
