"""The SQLAlchemy store, on each kind of database and with each driver."""

from __future__ import annotations

import time
import typing as t
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_logout import ConfigError
from flask_logout import LogoutExtension
from flask_logout import OutcomeUnknownError
from flask_logout import StoreUnavailableError
from flask_logout.domain.revocation_keys import make_key
from flask_logout.stores.sqlalchemy import SQLAlchemyStore
from flask_logout.stores.sqlalchemy.pages import PAGE_SIZE

from .conftest import MakeApp
from .conftest import open_server
from .revocations import A
from .revocations import assert_unavailable
from .revocations import DRIVERS
from .revocations import found
from .revocations import kept
from .revocations import NOW
from .revocations import read_changes
from .revocations import revocation
from .revocations import SECOND

LONG_AGO = NOW.replace(year=2001)


@pytest.fixture(scope="module", params=DRIVERS)
def server(request: pytest.FixtureRequest) -> t.Iterator[sa.URL | None]:
    """A database for each kind of server and driver, or ``None`` for SQLite."""
    yield from open_server(request.param)


def store_of(app: Flask) -> SQLAlchemyStore:
    """Return the store of an app."""
    return t.cast(SQLAlchemyStore, app.extensions["logout"].store)


@pytest.fixture
def store(make_app: MakeApp, database_url: str) -> t.Iterator[SQLAlchemyStore]:
    """An empty store on each database and driver, in an app context."""
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    with app.app_context():
        yield store_of(app)


def test_a_later_expiry_is_reported_as_a_change(store: SQLAlchemyStore) -> None:
    store.add([revocation()])
    (first,) = kept(store, revocation().key)
    store.add([revocation(expires_at=NOW + SECOND)])
    (second,) = kept(store, revocation().key)
    assert first.revoked_at is not None
    assert second.revoked_at is not None
    assert second.revoked_at > first.revoked_at


def test_changes_reads_page_by_page(store: SQLAlchemyStore) -> None:
    old = NOW - timedelta(days=9999)
    keys = {make_key("token", None, str(i)) for i in range(2 * PAGE_SIZE + 1)}
    rows = [{"key": key, "kind": "token", "revoked_at": old} for key in keys]
    # In few statements, because SQLite writes each one to the disk.
    for i in range(0, len(rows), 500):
        store.engine.execute(sa.insert(store.table).values(rows[i : i + 500]))
    first = store.changes(None)
    assert (len(first.keys), first.has_more) == (PAGE_SIZE, True)
    assert first.total == pytest.approx(2 * PAGE_SIZE, rel=0.1)
    second = store.changes(first.cursor)
    assert second.total is None
    store.add([revocation("late")])
    read = {*first.keys, *second.keys} | read_changes(store, second.cursor)[0]
    assert read == keys | {revocation("late").key}


def test_purge_deletes_expired_rows_and_nothing_else(
    store: SQLAlchemyStore,
) -> None:
    expired = [
        revocation(f"expired {i}", expires_at=LONG_AGO - i * SECOND)
        for i in range(1, 6)
    ]
    valid = [
        revocation("at", expires_at=LONG_AGO),
        revocation("never", expires_at=None),
    ]
    store.add([*expired, *valid])
    assert store.purge(LONG_AGO, batch=2) == 2
    assert found(store, expired[4].key, expired[3].key) == []
    assert len(found(store, *(x.key for x in expired))) == 3
    assert store.purge(LONG_AGO, batch=2) == 2
    assert store.purge(LONG_AGO, batch=2) == 1
    assert store.purge(LONG_AGO, batch=2) == 0
    assert len(found(store, *(x.key for x in valid))) == 2


def test_a_missing_table_makes_the_store_unavailable(store: SQLAlchemyStore) -> None:
    store.engine.execute(sa.schema.DropTable(store.table))
    assert_unavailable(store, "logout_revocation")
    with pytest.raises(StoreUnavailableError):
        store.purge(NOW, batch=1)
    store.inspect().create()
    store.inspect().create()
    assert found(store, A) == []


def test_a_closed_connection_in_the_pool_is_replaced(
    make_app: MakeApp, server: sa.URL | None, database_url: str
) -> None:
    if server is None:
        pytest.skip("SQLite has no server that could close a connection")
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    with app.app_context():
        store = store_of(app)
        store.add([revocation()])
        query = {
            "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            "mysql": "SELECT id FROM information_schema.processlist"
            " WHERE db = database() AND id <> connection_id()",
        }[store.engine.dialect.name]
        with sa.create_engine(server, poolclass=sa.NullPool).connect() as connection:
            rows = connection.execute(sa.text(query)).scalars().all()
            if store.engine.dialect.name == "mysql":
                for row in rows:
                    connection.execute(sa.text(f"KILL {row}"))
        assert found(store, revocation().key) == [revocation()]


def test_an_unreachable_server_makes_the_store_unavailable(make_app: MakeApp) -> None:
    app = Flask("tests")
    app.config.update(
        JWT_SECRET_KEY="k" * 32,
        SQLALCHEMY_DATABASE_URI="postgresql+psycopg://u:secret@127.0.0.1:1/none",
    )
    SQLAlchemy(app)
    LogoutExtension(app)
    with app.app_context():
        with pytest.raises(StoreUnavailableError) as caught:
            store_of(app).find([A])
    assert "secret" not in str(caught.value)


def test_a_driver_that_raises_makes_the_store_unavailable(make_app: MakeApp) -> None:
    app = make_app()
    with app.app_context():
        store = store_of(app)
        store.engine.dispose()

        @sa.event.listens_for(database_of(app).engine, "do_connect")
        def fail(*_: object) -> None:
            raise OSError("no credentials")

        with pytest.raises(StoreUnavailableError, match="^OSError: no credentials$"):
            store.find([A])


class Notes:
    """A table of the app, which shows whether the app's own writes are committed."""

    def __init__(self, db: SQLAlchemy) -> None:
        self._db = db
        self._table = db.Table("note", sa.Column("id", sa.Integer, primary_key=True))
        db.create_all()

    def insert(self, number: int) -> None:
        """Insert a note in the app's session, and leave the transaction open."""
        self._db.session.execute(sa.insert(self._table).values(id=number))

    def committed(self) -> list[int]:
        """Roll back the open transaction, and read what the database contains."""
        self._db.session.rollback()
        return list(self._db.session.scalars(sa.select(self._table.c.id)))


def database_of(app: Flask) -> SQLAlchemy:
    """Return the Flask-SQLAlchemy extension of an app."""
    return t.cast(SQLAlchemy, app.extensions["sqlalchemy"])


@pytest.fixture(params=["server", "memory"])
def host(
    request: pytest.FixtureRequest, make_app: MakeApp, database_url: str
) -> t.Iterator[Flask]:
    """An app in an app context, on each kind of database and on in-memory SQLite."""
    is_memory = request.param == "memory"
    if is_memory and not database_url.startswith("sqlite"):
        pytest.skip("only SQLite has in-memory databases")
    app = make_app(
        SQLALCHEMY_DATABASE_URI="sqlite://" if is_memory else database_url,
        # In a file, a writer would wait for the other one.
        SQLALCHEMY_ENGINE_OPTIONS={"connect_args": {"timeout": 0.1}}
        if database_url.startswith("sqlite")
        else {},
    )
    with app.app_context():
        yield app


def test_with_a_session_a_revocation_is_committed_with_the_app(host: Flask) -> None:
    db, store = database_of(host), store_of(host)
    notes = Notes(db)
    notes.insert(1)
    store.join(db.session).add([revocation()])
    db.session.commit()
    assert notes.committed() == [1]
    assert found(store, revocation().key) == [revocation()]


def test_with_a_session_a_revocation_is_rolled_back_with_the_app(host: Flask) -> None:
    db, store = database_of(host), store_of(host)
    notes = Notes(db)
    notes.insert(1)
    store.join(db.session()).add([revocation()])
    db.session.rollback()
    assert notes.committed() == []
    assert found(store, revocation().key) == []


def test_a_check_does_not_affect_an_open_transaction(host: Flask) -> None:
    db, store = database_of(host), store_of(host)
    notes = Notes(db)
    notes.insert(1)
    store.find([A])
    db.session.commit()
    assert notes.committed() == [1]
    notes.insert(2)
    store.find([A])
    assert notes.committed() == [1]


def test_a_write_in_memory_does_not_affect_an_open_transaction(
    make_app: MakeApp,
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI="sqlite://")
    with app.app_context():
        db, store = database_of(app), store_of(app)
        notes = Notes(db)
        notes.insert(1)
        with pytest.raises(StoreUnavailableError, match="has an open transaction"):
            store.add([revocation()])
        assert found(store, revocation().key) == []
        assert notes.committed() == []
        store.add([revocation()])
        assert notes.committed() == []
        assert found(store, revocation().key) == [revocation()]


@pytest.mark.parametrize(
    ("event", "is_kept"),
    [("before_cursor_execute", False), ("after_cursor_execute", True)],
)
def test_a_transaction_that_begins_during_a_write_in_memory(
    make_app: MakeApp, event: str, is_kept: bool
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI="sqlite://")
    with app.app_context():
        db, store = database_of(app), store_of(app)
        notes = Notes(db)

        # Simulate another thread that begins a transaction.
        def begin(_: object, __: object, sql: str, *rest: object) -> None:
            if "INSERT INTO logout_revocation" in sql:
                notes.insert(1)

        sa.event.listen(db.engine, event, begin)
        with pytest.raises(OutcomeUnknownError, match="has an open transaction"):
            store.add([revocation()])
        assert notes.committed() == []
        assert found(store, revocation().key) == [revocation()] * is_kept


def test_disposing_of_the_app_engine_closes_our_connections(
    make_app: MakeApp, database_url: str
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    with app.app_context():
        store, opened, closed = store_of(app), list[int](), list[int]()
        store.find([A])
        pool = store.engine.get().pool
        sa.event.listen(pool, "close", lambda *_: closed.append(1))
        sa.event.listen(pool, "connect", lambda *_: opened.append(1))
        database_of(app).engine.dispose()
        assert closed == [1]
        assert found(store, A) == []


def test_options_of_the_app_engine_are_used(make_app: MakeApp, tmp_path: t.Any) -> None:
    app = make_app(SQLALCHEMY_ENGINE_OPTIONS={"poolclass": sa.pool.NullPool})
    with app.app_context():
        engine, connected, credentials = database_of(app).engine, [], []
        sa.event.listen(engine, "connect", lambda *_: connected.append(1))
        sa.event.listen(engine, "do_connect", lambda *x: credentials.append(x[3]))
        store = store_of(app)
        assert store.find([A]) == []
        own = store.engine.get()
        assert own is not engine
        assert own.url == engine.url
        assert isinstance(own.pool, sa.pool.NullPool)
        assert (len(connected), len(credentials)) == (1, 1)


@pytest.mark.parametrize(
    ("options", "recycles", "pings"),
    [
        ({}, False, False),
        ({"pool_recycle": 0}, True, False),
        ({"pool_pre_ping": True}, False, True),
    ],
)
def test_pre_ping_and_recycling_of_the_app_engine_are_used(
    make_app: MakeApp, options: dict[str, t.Any], recycles: bool, pings: bool
) -> None:
    app = make_app(SQLALCHEMY_ENGINE_OPTIONS=options)
    with app.app_context():
        store = store_of(app)
        engine = store.engine.get()
        opened: list[object] = []
        pinged: list[object] = []
        sa.event.listen(engine, "connect", lambda *x: opened.append(x))
        dialect: t.Any = engine.dialect
        ping = dialect.do_ping

        def note_ping(connection: object) -> bool:
            pinged.append(connection)
            return bool(ping(connection))

        dialect.do_ping = note_ping
        for _ in range(3):
            assert store.find([A]) == []
            time.sleep(0.01)
        assert (len(opened) > 1) == recycles
        assert bool(pinged) == pings


def test_execution_options_of_the_app_engine_are_used(make_app: MakeApp) -> None:
    options = {"schema_translate_map": {None: "aux"}, "isolation_level": "SERIALIZABLE"}
    app = make_app()
    with app.app_context():
        engine = database_of(app).engine
        engine.update_execution_options(**options)
        sa.event.listen(
            engine,
            "connect",
            lambda connection, _: connection.execute("ATTACH ':memory:' AS aux"),
        )
        store = store_of(app)
        with pytest.raises(StoreUnavailableError, match="aux.logout_revocation"):
            store.find([A])
        with pytest.raises(StoreUnavailableError, match="aux.logout_revocation"):
            store.add([revocation()])


def test_a_bind_key_selects_another_database(
    make_app: MakeApp, tmp_path: t.Any
) -> None:
    app = make_app(
        SQLALCHEMY_BINDS={"auth": f"sqlite:///{tmp_path / 'auth.db'}"},
        LOGOUT_BIND_KEY="auth",
    )
    with app.app_context():
        db = database_of(app)
        assert sa.inspect(db.engine).get_table_names() == []
        assert sa.inspect(db.engines["auth"]).get_table_names() == ["logout_revocation"]
        store = store_of(app)
        store.add([revocation()])
        assert found(store, revocation().key) == [revocation()]
        store.join(db.session).add([revocation("y")])
        db.session.commit()
        assert found(store, revocation("y").key) == [revocation("y")]


def test_the_table_name_can_be_set(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_TABLE_NAME="ended")
    with app.app_context():
        assert sa.inspect(database_of(app).engine).get_table_names() == ["ended"]


def test_a_table_of_the_app_with_the_same_name_is_rejected(make_app: MakeApp) -> None:
    app = Flask("tests")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = SQLAlchemy(app)
    db.Table("logout_revocation", sa.Column("id", sa.Integer, primary_key=True))
    with pytest.raises(ConfigError) as caught:
        LogoutExtension(app)
    assert str(caught.value) == (
        "The app already has a table named 'logout_revocation'. Set LOGOUT_TABLE_NAME to"
        " an unused name."
    )
