"""Every driver: its round trips, and how long it waits for a server that is silent."""

from __future__ import annotations

import gc
import math
import os
import re
import signal
import socket
import struct
import time
import typing as t
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from pathlib import Path
from threading import Thread

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_logout import ConfigError
from flask_logout import OutcomeUnknownError
from flask_logout import Revocation
from flask_logout import StoreUnavailableError
from flask_logout.claims import make_key
from flask_logout.stores.sqlalchemy import SQLAlchemyStore

from .conftest import MakeApp
from .conftest import server_url
from .conftest import SERVERS
from .database_servers import MariaDBServer
from .database_servers import PostgreSQLServer
from .proxy import proxied
from .proxy import Proxy
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

PAGE = Path(__file__).parent.parent / "docs" / "explanation/databases.rst"
TIMEOUT = 1.0
# What a busy machine may need in addition. The proxy stalls for longer.
SLACK = 10.0
# The timeout of what is expected to succeed, however busy the machine is.
PATIENCE = 60.0
# psycopg prepares a statement when it runs for the sixth time, which is a trip more.
WARM = 8
NOW = datetime.now(timezone.utc).replace(microsecond=123456)

# psycopg and psycopg2 wait no less for a connection.
LIBPQ_TIMEOUT = 2.0
NOTHING = bytes(16)

# pg8000 does not close the socket of a connection that it could not open or that broke.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:.*BufferedRWPair:pytest.PytestUnraisableExceptionWarning"
    ),
    pytest.mark.usefixtures("collected"),
]

Served = tuple[sa.URL, Proxy]
Reached = tuple[SQLAlchemyStore, Proxy]


def documented() -> dict[str, tuple[int, int]]:
    """Read the table of drivers: the round trips of a check and of a logout."""
    row = re.compile(r"^``([a-z0-9]+\+[a-z0-9]+)://`` +(\d) +(\d) ", re.MULTILINE)
    found = row.findall(PAGE.read_text())
    return {driver: (int(check), int(logout)) for driver, check, logout in found}


@pytest.fixture(scope="module")
def collected() -> t.Iterator[None]:
    """Free what drivers have left open before the next module, which would warn."""
    yield
    gc.collect()


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest) -> t.Iterator[Served]:
    """A database for each driver, behind a proxy."""
    with proxied(request.param) as served:
        yield served


def make(url: sa.URL, make_app: MakeApp, timeout: float) -> Flask:
    """Make an app on a database that does nothing but what it is asked to."""
    return make_app(
        SQLALCHEMY_DATABASE_URI=url.render_as_string(hide_password=False),
        LOGOUT_TIMEOUT=timeout,
        LOGOUT_PURGE_EVERY=0,
    )


@pytest.fixture
def app(served: Served, make_app: MakeApp) -> t.Iterator[Flask]:
    """An app that waits for its database, however busy the machine is."""
    yield make(served[0], make_app, PATIENCE)
    served[1].heal()


@pytest.fixture
def reached(app: Flask, served: Served) -> t.Iterator[Reached]:
    """Its store, in an app context."""
    with app.app_context():
        yield app.extensions["logout"].store, served[1]


@pytest.fixture
def hasty(reached: Reached, served: Served, make_app: MakeApp) -> SQLAlchemyStore:
    """A store on the same database that waits for ``TIMEOUT`` only, and is connected."""
    store: SQLAlchemyStore = (
        make(served[0], make_app, TIMEOUT).extensions["logout"].store
    )
    connect(store)
    return store


def connect(store: SQLAlchemyStore) -> None:
    """Put a connection into the pool of a store, however long that takes."""
    while True:
        with suppress(StoreUnavailableError):
            # A text that is not ASCII lets it ask for the character set, once.
            store.add([revocation("first")])
            return


@contextmanager
def at_most(seconds: float) -> t.Iterator[None]:
    """Check that a block does not take much longer."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds + SLACK


def revocation(value: str) -> Revocation:
    """Make a revocation that uses every column."""
    return Revocation(
        make_key("subject", None, value),
        "subject",
        NOW + timedelta(days=1),
        cutoff=NOW,
        spared_session=make_key("session", None, value),
        subject="Ada % %s \\ ' Łovelace",
        reason="O'Reilly: 100 %",
    )


def test_each_driver_is_documented() -> None:
    assert documented().keys() == SERVERS.keys()


def test_what_is_added_is_found(reached: Reached) -> None:
    store, _ = reached
    old, other = revocation("a"), revocation("b")
    store.add([old, other])
    new = replace(old, cutoff=NOW + timedelta(seconds=1), spared_session=None)
    store.add([new])
    found = {
        x.key: x for x in store.find([old.key, other.key, make_key("token", None, "c")])
    }
    assert found.keys() == {old.key, other.key}
    assert found[other.key].cutoff == NOW
    assert found[other.key].spared_session == other.spared_session
    assert found[old.key].cutoff == new.cutoff
    assert found[old.key].spared_after == NOW
    page = store.changes(None)
    assert {old.key, other.key} <= set(page.keys)
    assert store.purge(NOW + timedelta(days=2), batch=10) == 0


def test_round_trips(app: Flask, served: Served) -> None:
    url, proxy = served
    client = app.test_client()
    for _ in range(WARM):
        assert log_out(client, make_pair(app)).data == LOGGED_OUT
    alive, ended = make_pair(app), make_pair(app)
    assert get_status(client, alive) == (200, 200)
    proxy.reset()
    assert get_status(client, alive) == (200, 200)
    checks = proxy.round_trips
    proxy.reset()
    assert log_out(client, ended).data == LOGGED_OUT
    measured = (checks / 2, proxy.round_trips)
    assert measured == documented()[url.drivername]
    assert proxy.connections == 0


def test_a_server_that_is_silent(reached: Reached, hasty: SQLAlchemyStore) -> None:
    store, proxy = reached
    store.add([revocation("a")])
    proxy.stall()
    # The second time, no connection is left, so the server does not greet.
    for _ in range(2):
        with at_most(LIBPQ_TIMEOUT), pytest.raises(StoreUnavailableError):
            hasty.find([revocation("a").key])
    proxy.heal()
    assert len(store.find([revocation("a").key])) == 1


def test_a_server_that_is_silent_when_written_to(
    reached: Reached, hasty: SQLAlchemyStore
) -> None:
    store, proxy = reached
    proxy.stall()
    with at_most(LIBPQ_TIMEOUT), pytest.raises(OutcomeUnknownError):
        hasty.add([revocation("b")])
    # Here the statement is not sent.
    with at_most(LIBPQ_TIMEOUT), pytest.raises(StoreUnavailableError) as caught:
        hasty.add([revocation("b")])
    assert type(caught.value) is StoreUnavailableError
    proxy.heal()
    store.add([revocation("b")])
    assert len(store.find([revocation("b").key])) == 1


@contextmanager
def frozen(server: PostgreSQLServer | MariaDBServer) -> t.Iterator[None]:
    """Stop every process of a server, which keeps its connections open."""
    processes = list_processes(server.pid)
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        while not all(map(is_stopped, processes)):
            time.sleep(0.01)
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def is_stopped(process: int) -> bool:
    """Say whether no thread of a process runs any more."""
    threads = Path(f"/proc/{process}/task").glob("*/stat")
    return all(x.read_text().rpartition(") ")[2][0] == "T" for x in threads)


def list_processes(parent: int) -> list[int]:
    """List a process and its children."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [parent, *map(int, children.split())]


@pytest.mark.parametrize(
    ("driver", "server_class"),
    [("postgresql+psycopg2", PostgreSQLServer), ("mysql+mysqldb", MariaDBServer)],
)
def test_a_server_that_is_frozen(
    driver: str,
    server_class: type[PostgreSQLServer | MariaDBServer],
    make_app: MakeApp,
) -> None:
    server_url(driver)
    with server_class() as server:
        app = make(server.url.set(drivername=driver), make_app, TIMEOUT)
        with app.app_context():
            store = app.extensions["logout"].store
            connect(store)
            with frozen(server):
                for _ in range(2):
                    with at_most(LIBPQ_TIMEOUT), pytest.raises(StoreUnavailableError):
                        store.find([NOTHING])
            connect(store)
            store.engine.dispose()


@pytest.mark.parametrize("what", ["requests", "replies"])
def test_a_connection_that_breaks(reached: Reached, what: str) -> None:
    store, proxy = reached
    store.add([revocation("c")])
    getattr(proxy, f"cut_{what}")()
    assert len(store.find([revocation("c").key])) == 1
    getattr(proxy, f"cut_{what}")()
    store.add([revocation("d")])
    assert len(store.find([revocation("d").key])) == 1


def test_an_answer_that_is_lost(reached: Reached, served: Served) -> None:
    store, proxy = reached
    store.add([revocation("first")])
    proxy.cut_replies(math.inf)
    with pytest.raises(OutcomeUnknownError):
        store.add([revocation("e")])
    proxy.heal()
    # Most databases have it, although they could not say so.
    is_one_trip = documented()[served[0].drivername][1] == 2
    assert len(store.find([revocation("e").key])) == is_one_trip


def test_an_error_that_the_server_reports(reached: Reached) -> None:
    store, _ = reached
    store.engine.execute(sa.schema.DropTable(store.table))
    for work in (lambda: store.add([revocation("f")]), lambda: store.find([NOTHING])):
        with pytest.raises(StoreUnavailableError, match="flask logout init") as caught:
            work()
        assert type(caught.value) is StoreUnavailableError
    store.inspect().create()


def test_pyodbc_is_rejected(make_app: MakeApp) -> None:
    with pytest.raises(ConfigError) as caught:
        make_app(LOGOUT_STORE_URI="mysql+pyodbc://root@127.0.0.1/test")
    assert str(caught.value) == (
        "Unsupported database driver: pyodbc, because it truncates fractions of a second."
        " Use mysqlclient or PyMySQL: replace mysql+pyodbc:// in the URL with mysql:// or"
        " mysql+pymysql://."
    )


@contextmanager
def babbling_server(greeting: bytes) -> t.Iterator[int]:
    """A server that speaks no protocol; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    with listener.accept()[0] as client:
                        client.sendall(greeting)

        thread = Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            # A skipped test raises too, and its thread would keep pytest from exiting.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("driver", SERVERS)
@pytest.mark.parametrize(
    "greeting",
    [b"\x05\x00\x00\x00\x0a5.5\x00", b"\xff" * 80, b"R\x00\x00\x00\x08\xff", b""],
)
def test_a_server_that_speaks_another_protocol(
    driver: str, greeting: bytes, make_app: MakeApp
) -> None:
    with babbling_server(greeting) as port:
        url = sa.make_url(SERVERS[driver]).set(drivername=driver, port=port)
        uri = url.render_as_string(hide_password=False)
        try:
            url.get_dialect().import_dbapi()
        except ImportError as e:
            pytest.skip(str(e))
        app = make_app(LOGOUT_STORE_URI=uri, LOGOUT_TIMEOUT=TIMEOUT)
        with app.app_context(), at_most(LIBPQ_TIMEOUT):
            with pytest.raises(StoreUnavailableError):
                app.extensions["logout"].store.find([NOTHING])


@pytest.mark.parametrize("error", [IndexError, KeyError, struct.error])
def test_an_exception_that_is_no_error_of_the_database(
    make_app: MakeApp, error: type[Exception]
) -> None:
    app = make_app()
    with app.app_context():
        store = app.extensions["logout"].store

        def fail(*_: object) -> t.NoReturn:
            raise error("what a driver was given")

        engine = app.extensions["sqlalchemy"].engine
        sa.event.listen(engine, "do_connect", fail)
        with pytest.raises(StoreUnavailableError, match=f"^{error.__name__}$"):
            store.find([NOTHING])
        with pytest.raises(StoreUnavailableError, match=f"^{error.__name__}$"):
            store.add([revocation("g")])
