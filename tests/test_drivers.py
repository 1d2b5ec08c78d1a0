"""The round trips of every driver, and how long each waits for a silent server."""

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
from flask_logout.domain.revocation_keys import make_key
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
# The extra time that a busy machine may take. The proxy stalls for longer.
SLACK = 10.0
# The timeout of operations that must succeed even on a busy machine.
PATIENCE = 60.0
# psycopg prepares a statement at its sixth execution, which takes another round trip.
WARM = 8
NOW = datetime.now(timezone.utc).replace(microsecond=123456)

# psycopg and psycopg2 wait at least this long for a connection.
LIBPQ_TIMEOUT = 2.0
NOTHING = bytes(16)

# pg8000 doesn't close the socket of a connection that failed or broke.
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
    """Read the round trips of a check and of a logout from the table of drivers."""
    row = re.compile(r"^``([a-z0-9]+\+[a-z0-9]+)://`` +(\d) +(\d) ", re.MULTILINE)
    found = row.findall(PAGE.read_text())
    return {driver: (int(check), int(logout)) for driver, check, logout in found}


@pytest.fixture(scope="module")
def collected() -> t.Iterator[None]:
    """Collect what drivers have left open before the next module warns about it."""
    yield
    gc.collect()


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest) -> t.Iterator[Served]:
    """A database for each driver, behind a proxy."""
    with proxied(request.param) as served:
        yield served


def make(url: sa.URL, make_app: MakeApp, timeout: float) -> Flask:
    """Make an app that never purges by itself."""
    return make_app(
        SQLALCHEMY_DATABASE_URI=url.render_as_string(hide_password=False),
        LOGOUT_TIMEOUT=timeout,
        LOGOUT_PURGE_EVERY=0,
    )


@pytest.fixture
def app(served: Served, make_app: MakeApp) -> t.Iterator[Flask]:
    """An app with a long timeout."""
    yield make(served[0], make_app, PATIENCE)
    served[1].heal()


@pytest.fixture
def reached(app: Flask, served: Served) -> t.Iterator[Reached]:
    """The store of the app, in an app context, and the proxy."""
    with app.app_context():
        yield app.extensions["logout"].store, served[1]


@pytest.fixture
def hasty(reached: Reached, served: Served, make_app: MakeApp) -> SQLAlchemyStore:
    """A connected store with the same database and a short timeout."""
    store: SQLAlchemyStore = (
        make(served[0], make_app, TIMEOUT).extensions["logout"].store
    )
    connect(store)
    return store


def connect(store: SQLAlchemyStore) -> None:
    """Retry until the pool of a store contains a connection."""
    while True:
        with suppress(StoreUnavailableError):
            # Non-ASCII text makes the store query the character set, but only once.
            store.add([revocation("first")])
            return


@contextmanager
def at_most(seconds: float) -> t.Iterator[None]:
    """Check that the block takes at most some seconds, and some more if busy."""
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


def test_find_returns_what_was_added_with_each_driver(reached: Reached) -> None:
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


def test_a_check_on_a_silent_server_fails_within_the_timeout(
    reached: Reached, hasty: SQLAlchemyStore
) -> None:
    store, proxy = reached
    store.add([revocation("a")])
    proxy.stall()
    # The second time, the pool is empty, so the server doesn't answer a new connection.
    for _ in range(2):
        with at_most(LIBPQ_TIMEOUT), pytest.raises(StoreUnavailableError):
            hasty.find([revocation("a").key])
    proxy.heal()
    assert len(store.find([revocation("a").key])) == 1


def test_a_write_to_a_silent_server_fails_within_the_timeout(
    reached: Reached, hasty: SQLAlchemyStore
) -> None:
    store, proxy = reached
    proxy.stall()
    with at_most(LIBPQ_TIMEOUT), pytest.raises(OutcomeUnknownError):
        hasty.add([revocation("b")])
    # Without a connection, the statement is not sent.
    with at_most(LIBPQ_TIMEOUT), pytest.raises(StoreUnavailableError) as caught:
        hasty.add([revocation("b")])
    assert type(caught.value) is StoreUnavailableError
    proxy.heal()
    store.add([revocation("b")])
    assert len(store.find([revocation("b").key])) == 1


@contextmanager
def frozen(server: PostgreSQLServer | MariaDBServer) -> t.Iterator[None]:
    """Stop every process of a server during the block. Its connections stay open."""
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
    """Return whether all threads of a process are stopped."""
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
def test_a_check_on_a_frozen_server_fails_within_the_timeout(
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
def test_statements_are_retried_if_the_connection_breaks(
    reached: Reached, what: str
) -> None:
    store, proxy = reached
    store.add([revocation("c")])
    getattr(proxy, f"cut_{what}")()
    assert len(store.find([revocation("c").key])) == 1
    getattr(proxy, f"cut_{what}")()
    store.add([revocation("d")])
    assert len(store.find([revocation("d").key])) == 1


def test_a_write_whose_reply_is_lost_has_an_unknown_outcome(
    reached: Reached, served: Served
) -> None:
    store, proxy = reached
    store.add([revocation("first")])
    proxy.cut_replies(math.inf)
    with pytest.raises(OutcomeUnknownError):
        store.add([revocation("e")])
    proxy.heal()
    # Most databases have stored it, although the reply was lost.
    is_one_trip = documented()[served[0].drivername][1] == 2
    assert len(store.find([revocation("e").key])) == is_one_trip


def test_an_error_from_the_server_has_a_known_outcome(reached: Reached) -> None:
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
def server_with_greeting(greeting: bytes) -> t.Iterator[int]:
    """Run a server that sends a greeting and closes the connection. Return its port."""
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
            # Also after a skipped test, or the thread would prevent pytest from exiting.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("driver", SERVERS)
@pytest.mark.parametrize(
    "greeting",
    [b"\x05\x00\x00\x00\x0a5.5\x00", b"\xff" * 80, b"R\x00\x00\x00\x08\xff", b""],
)
def test_a_server_with_another_protocol_makes_the_store_unavailable(
    driver: str, greeting: bytes, make_app: MakeApp
) -> None:
    with server_with_greeting(greeting) as port:
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
def test_an_unexpected_exception_of_a_driver_makes_the_store_unavailable(
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
