"""Revocations in a transaction of the app: ``session=``."""

from __future__ import annotations

import typing as t
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from flask_logout import app_transaction
from flask_logout import ConfigError
from flask_logout import logged_out
from flask_logout import LogoutExtension
from flask_logout import OutcomeUnknownError
from flask_logout import Revocation
from flask_logout import revoked
from flask_logout import session_claims
from flask_logout import store_unavailable
from flask_logout import StoreUnavailableError

from .conftest import MakeApp
from .conftest import new_database
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair
from .tokens import UNAVAILABLE

logout = LogoutExtension()


@pytest.fixture
def host(make_app: MakeApp, database_url: str) -> t.Iterator[Flask]:
    """An app on each kind of database, in an app context."""
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    with app.app_context():
        yield app


def session_of(app: Flask) -> t.Any:
    """Return the database session of an app."""
    return app.extensions["sqlalchemy"].session


def engine_of(app: Flask) -> sa.Engine:
    """Return the engine of an app."""
    return t.cast(sa.Engine, app.extensions["sqlalchemy"].engine)


def login(app: Flask, identity: str = "ada") -> Pair:
    """Issue the tokens of a new login."""
    return make_pair(app, identity, additional_claims=session_claims())


def status(app: Flask, pair: Pair) -> tuple[int, int]:
    """Return the status codes of the routes for access and for refresh tokens."""
    return get_status(app.test_client(), pair)


def test_a_login_between_the_call_and_the_commit_is_covered(host: Flask) -> None:
    session = session_of(host)
    logout.revoke_user("ada", session=session)
    between = login(host)
    session.commit()
    assert status(host, between) == (401, 401)
    assert status(host, login(host)) == (200, 200)


def test_a_login_during_the_commit_is_covered(host: Flask) -> None:
    during: list[Pair] = []
    sa.event.listen(engine_of(host), "commit", lambda _: during.append(login(host)))
    session = session_of(host)
    logout.revoke_everyone(session=session)
    session.commit()
    assert [status(host, pair) for pair in during] == [(401, 401)]


TABLE = "logout_revocation"


@contextmanager
def other_schema(app: Flask) -> t.Iterator[str]:
    """Make another schema with a table of revocations, which checks never read."""
    name, engine = f"other_{uuid4().hex[:8]}", engine_of(app)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", lambda x, _: attach(x, name))
        engine.dispose()
        yield name
        return
    like = f"CREATE TABLE {name}.{TABLE} (LIKE {TABLE} INCLUDING ALL)"
    if engine.dialect.name == "mysql":
        like = f"CREATE TABLE {name}.{TABLE} LIKE {TABLE}"
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(name))
        connection.execute(sa.text(like))
    yield name
    cascade = engine.dialect.name == "postgresql"
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(name, cascade=cascade))


def attach(connection: t.Any, name: str) -> None:
    """Attach a database in memory to a SQLite connection."""
    connection.execute(f"ATTACH ':memory:' AS {name}")
    (made,) = connection.execute(
        f"SELECT sql FROM main.sqlite_master WHERE name = '{TABLE}'"
    ).fetchone()
    connection.execute(made.replace(TABLE, f"{name}.{TABLE}", 1))


def test_a_connection_that_is_set_to_another_schema(host: Flask) -> None:
    session, pair = session_of(host), make_pair(host)
    enter = {
        "postgresql": "SET LOCAL search_path TO {}",
        "mysql": "USE {}",
        "sqlite": "SELECT '{}'",  # SQLite has no search path.
    }[engine_of(host).dialect.name]
    with other_schema(host) as name:
        session.execute(sa.text(enter.format(name)))
        logout.revoke_user("ada", session=session)
        session.commit()
        assert status(host, pair) == (401, 401)
        assert count_rows(host, name) == 0
        # Pooled connections may still use that schema.
        engine_of(host).dispose()


def test_a_session_that_translates_the_schema(host: Flask) -> None:
    pair = make_pair(host)
    with other_schema(host) as name:
        options = {"schema_translate_map": {None: name}}
        with Session(engine_of(host).execution_options(**options)) as session:
            logout.revoke_user("ada", session=session)
            assert count_rows(host, name) == 0
            session.commit()
        assert status(host, pair) == (401, 401)


def count_rows(app: Flask, schema: str) -> int:
    """Count the revocations in a schema."""
    with engine_of(app).connect() as connection:
        query = sa.text(f"SELECT count(*) FROM {schema}.{TABLE}")
        return t.cast(int, connection.scalar(query))


def test_another_engine_of_the_same_database_is_accepted(host: Flask) -> None:
    pair = make_pair(host)
    engine = sa.create_engine(engine_of(host).url, poolclass=sa.NullPool)
    with Session(engine) as session:
        logout.revoke_user("ada", session=session)
        session.rollback()
        assert status(host, pair) == (200, 200)
        logout.revoke_user("ada", session=session)
        session.commit()
    assert status(host, pair) == (401, 401)


def test_another_database_is_rejected(host: Flask, tmp_path: Path) -> None:
    own = engine_of(host).url
    if own.drivername == "sqlite":
        check_rejected(own, own.set(database=str(tmp_path / "other.db")))
    else:
        with new_database(own.drivername) as other:
            check_rejected(own, other)


def check_rejected(own: sa.URL, other: sa.URL) -> None:
    """Check that a session of another database is rejected before it is used."""
    engine = sa.create_engine(other, poolclass=sa.NullPool)
    kind = engine.dialect.name
    with Session(engine) as session, pytest.raises(ConfigError) as caught:
        logout.revoke_user("ada", session=session)
    assert str(caught.value) == (
        f"Invalid argument session: it is connected to the {kind} database"
        f" {other.database!r}, but the table {TABLE} is in the {kind} database"
        f" {own.database!r}. Pass a session of that database, or remove the argument."
    )


def test_another_kind_of_database_is_rejected(host: Flask) -> None:
    is_sqlite = engine_of(host).dialect.name == "sqlite"
    url = "postgresql+psycopg://127.0.0.1:1/x" if is_sqlite else "sqlite://"
    with Session(sa.create_engine(url)) as session, pytest.raises(ConfigError):
        logout.revoke_user("ada", session=session)


def test_the_same_file_under_another_path_is_accepted(
    make_app: MakeApp, tmp_path: Path
) -> None:
    app = make_app()
    (tmp_path / "link").symlink_to(tmp_path)
    for url in ("link/app.db", "../" + tmp_path.name + "/app.db"):
        engine = sa.create_engine(f"sqlite:///{tmp_path}/{url}", poolclass=sa.NullPool)
        with app.app_context(), Session(engine) as session:
            logout.revoke_user("ada", session=session)
            session.commit()


def test_a_file_given_as_a_uri_is_accepted(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()
    url = f"sqlite:///file:{tmp_path}/app.db?uri=true"
    with app.app_context():
        pair = make_pair(app)
        with Session(sa.create_engine(url, poolclass=sa.NullPool)) as session:
            logout.revoke_user("ada", session=session)
            session.commit()
        assert status(app, pair) == (401, 401)


def test_a_session_without_an_engine_is_rejected(host: Flask) -> None:
    with pytest.raises(ConfigError) as caught:
        logout.revoke_user("ada", session=Session())
    assert str(caught.value) == (
        "Invalid argument session: it has no engine for the table of revocations. Pass"
        " db.session, or a session that is bound to an engine."
    )


def test_an_object_that_is_not_a_session_is_rejected(host: Flask) -> None:
    db: t.Any = host.extensions["sqlalchemy"]
    with pytest.raises(TypeError) as caught:
        logout.revoke_user("ada", session=db)
    assert str(caught.value) == (
        "Invalid session of type SQLAlchemy. Expected a SQLAlchemy session such as"
        " db.session."
    )


def add_pending(app: Flask) -> t.Any:
    """Add an object to the app's session that violates a constraint."""
    db = app.extensions["sqlalchemy"]
    note = db.Table("note", sa.Column("id", sa.Integer, primary_key=True))
    Note = type("Note", (db.Model,), {"__table__": note})
    db.create_all()
    db.session.execute(sa.insert(note).values(id=1))
    db.session.commit()
    pending = Note(id=1)
    db.session.add(pending)
    return pending


def test_the_apps_pending_objects_are_not_flushed_before_the_commit(
    host: Flask,
) -> None:
    session, pair = session_of(host), make_pair(host)
    pending = add_pending(host)
    logout.revoke_user("ada", session=session)
    assert pending in session.new
    with pytest.raises(sa.exc.IntegrityError):
        session.commit()
    session.rollback()
    assert status(host, pair) == (200, 200)


def rename(app: Flask, old: str, new: str) -> None:
    """Rename a table on another connection."""
    url = engine_of(app).url
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))


@contextmanager
def missing_table(app: Flask) -> t.Iterator[None]:
    """Rename the table of revocations within the block."""
    rename(app, TABLE, "away")
    yield
    rename(app, "away", TABLE)


def test_a_failed_call_raises_store_unavailable_error(host: Flask) -> None:
    session, receiver = session_of(host), Receiver()
    with missing_table(host), store_unavailable.connected_to(receiver):
        with pytest.raises(StoreUnavailableError, match=TABLE):
            logout.revoke_user("ada", session=session)
        session.rollback()
    assert len(receiver.calls) == 1
    logout.revoke_user("ada", session=session)
    session.commit()


def test_a_failed_commit_raises_store_unavailable_error(host: Flask) -> None:
    session, receiver, pair = session_of(host), Receiver(), make_pair(host)
    with store_unavailable.connected_to(receiver), revoked.connected_to(receiver):
        logout.revoke_user("ada", session=session)
        # On the app's own connection, because it holds the locks.
        session.execute(sa.text(f"ALTER TABLE {TABLE} RENAME TO away"))
        with pytest.raises(StoreUnavailableError, match=TABLE):
            session.commit()
        session.rollback()
    if engine_of(host).dialect.name == "mysql":
        # ALTER TABLE commits implicitly.
        rename(host, "away", TABLE)
    else:
        assert status(host, pair) == (200, 200)
    assert len(receiver.calls) == 1


class Receiver:
    """A signal receiver that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Flask, dict[str, t.Any]]] = []

    def __call__(self, app: Flask, **values: t.Any) -> None:
        self.calls.append((app, values))


def test_a_session_that_needs_a_rollback_raises(host: Flask) -> None:
    session = session_of(host)
    add_pending(host)
    with pytest.raises(sa.exc.IntegrityError):
        session.flush()
    with pytest.raises(sa.exc.PendingRollbackError):
        logout.revoke_user("ada", session=session)
    session.rollback()


@contextmanager
def locked_after_commit(app: Flask, session: t.Any) -> t.Iterator[None]:
    """Lock the row of the revocation as soon as it is committed."""
    engine = sa.create_engine(engine_of(app).url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        update = sa.text(f"UPDATE {TABLE} SET kind = kind")
        sa.event.listen(session, "after_commit", lambda _: connection.execute(update))
        yield


@pytest.fixture
def hasty(make_app: MakeApp, database_url: str) -> t.Iterator[Flask]:
    """An app with a short timeout on each kind of database, in an app context."""
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_TIMEOUT=0.3)
    with app.app_context():
        yield app


def test_a_commit_succeeds_if_the_write_after_it_fails(
    hasty: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    session, pair, receiver = session_of(hasty)(), make_pair(hasty), Receiver()
    with locked_after_commit(hasty, session), store_unavailable.connected_to(receiver):
        logout.revoke_user("ada", session=session)
        with revoked.connected_to(receiver):
            session.commit()
    (_, failed), (_, stored) = receiver.calls
    message = str(failed["error"])
    assert message.startswith(
        "The app's transaction committed the revocation, but writing it again after the"
        " commit failed. A login that began during the commit may stay valid, so revoke"
        " again. The error was: "
    )
    assert [x.subject for x in stored["revocations"]] == ["ada"]
    assert "writing it again after the commit failed" in caplog.text
    assert status(hasty, pair) == (401, 401)


@pytest.mark.parametrize("has_context_manager", [True, False])
def test_a_commit_to_an_uncertain_database_raises_if_the_write_after_it_fails(
    hasty: Flask, has_context_manager: bool
) -> None:
    receiver, url = Receiver(), engine_of(hasty).url
    # This may be the same server or another one.
    elsewhere = url.set(host="localhost")
    if url.drivername == "sqlite":
        elsewhere = url.set(database=f"file:{url.database}", query={"uri": "true"})
    engine = sa.create_engine(elsewhere, poolclass=sa.NullPool)
    with Session(engine) as session, locked_after_commit(hasty, session):
        error = pytest.raises(OutcomeUnknownError)
        with revoked.connected_to(receiver), error as caught:
            if has_context_manager:
                with session.begin():
                    logout.revoke_user("ada", session=session)
            else:
                logout.revoke_user("ada", session=session)
                session.commit()
        # The session is usable again.
        session.execute(sa.text("SELECT 1"))
    assert str(caught.value).startswith(
        "The app's transaction was committed, but writing the revocation again after the"
        " commit failed, so checks may miss it. Revoke again. The error was: "
    )
    assert receiver.calls == []


def test_a_late_commit_raises_if_mirrors_may_miss_it(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Treat every commit as late.
    monkeypatch.setattr(app_transaction, "LONGEST_WRITE", timedelta(0))
    app = make_app(LOGOUT_TIMEOUT=0.1, LOGOUT_MAX_STALENESS=1)
    with app.app_context(), locked_after_commit(app, session_of(app)()):
        logout.revoke_user("ada", session=session_of(app))
        with pytest.raises(OutcomeUnknownError, match="so checks may miss it"):
            session_of(app).commit()


def test_each_call_of_a_transaction_is_signaled_if_one_fails(hasty: Flask) -> None:
    session, receiver = session_of(hasty)(), Receiver()
    with locked_after_commit(hasty, session), revoked.connected_to(receiver):
        logout.revoke_user("ada", session=session)
        logout.revoke_user("eve", session=session)
        session.commit()
    assert [x["revocations"][0].subject for _, x in receiver.calls] == ["ada", "eve"]


def test_closing_a_session_revokes_nothing(host: Flask) -> None:
    pair, receiver = make_pair(host), Receiver()
    with revoked.connected_to(receiver), Session(engine_of(host)) as session:
        logout.revoke_user("ada", session=session)
    assert receiver.calls == []
    assert status(host, pair) == (200, 200)


MODES = ["conditional_savepoint", "rollback_only", "control_fully", "create_savepoint"]


@contextmanager
def outer_connection(app: Flask) -> t.Iterator[sa.Connection]:
    """A connection to the app's database, to bind sessions to."""
    engine = sa.create_engine(engine_of(app).url)
    if engine.dialect.name == "sqlite":
        # SQLAlchemy documents this workaround for savepoints.
        sa.event.listen(
            engine, "connect", lambda x, _: setattr(x, "isolation_level", None)
        )
        sa.event.listen(engine, "begin", lambda x: x.exec_driver_sql("BEGIN"))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize("mode", MODES)
def test_a_revocation_is_committed_with_the_outer_transaction(
    host: Flask, mode: t.Any
) -> None:
    pair, receiver = make_pair(host), Receiver()
    with revoked.connected_to(receiver), outer_connection(host) as connection:
        connection.begin()
        with Session(connection, join_transaction_mode=mode) as session:
            logout.revoke_user("ada", session=session)
            session.commit()
        if mode != "control_fully":
            assert receiver.calls == []
            after = login(host)
            connection.commit()
        connection.close()
        assert len(receiver.calls) == 1
    assert status(host, pair) == (401, 401)
    if mode != "control_fully":
        assert status(host, after) == (401, 401)
    assert status(host, login(host)) == (200, 200)


@pytest.mark.parametrize("mode", MODES[:2] + MODES[3:])
def test_a_revocation_is_rolled_back_with_the_outer_transaction(
    host: Flask, mode: t.Any
) -> None:
    pair, receiver = make_pair(host), Receiver()
    with revoked.connected_to(receiver), outer_connection(host) as connection:
        connection.begin()
        with Session(connection, join_transaction_mode=mode) as session:
            logout.revoke_user("ada", session=session)
            session.commit()
        connection.rollback()
        with connection.begin():
            connection.execute(sa.text("SELECT 1"))
        connection.close()
    assert receiver.calls == []
    assert status(host, pair) == (200, 200)


def test_a_revocation_is_rolled_back_with_a_savepoint_of_the_outer_transaction(
    host: Flask,
) -> None:
    pair, receiver = make_pair(host), Receiver()
    mode: t.Any = "create_savepoint"
    with revoked.connected_to(receiver), outer_connection(host) as connection:
        connection.begin()
        with Session(connection, join_transaction_mode=mode) as session:
            logout.revoke_user("ada", session=session)
            session.rollback()
            logout.revoke_user("eve", session=session)
            session.commit()
        connection.commit()
        # The signal is sent when the connection begins its next transaction, or earlier.
        connection.begin()
        assert [x["revocations"][0].subject for _, x in receiver.calls] == ["eve"]
    assert status(host, pair) == (200, 200)


def test_an_outer_transaction_commits_without_the_session(host: Flask) -> None:
    pair, receiver = make_pair(host), Receiver()
    with revoked.connected_to(receiver), outer_connection(host) as connection:
        with connection.begin():
            session = Session(connection)
            logout.revoke_user("ada", session=session)
            after = login(host)
        connection.close()
        session.close()
    assert len(receiver.calls) == 1
    assert status(host, pair) == status(host, after) == (401, 401)


def test_a_session_on_a_connection_without_a_transaction(host: Flask) -> None:
    pair, receiver = make_pair(host), Receiver()
    with revoked.connected_to(receiver), outer_connection(host) as connection:
        with Session(connection) as session:
            logout.revoke_user("ada", session=session)
            session.commit()
            assert len(receiver.calls) == 1
            logout.revoke_user("ada", session=session)
            session.rollback()
    assert len(receiver.calls) == 1
    assert status(host, pair) == (401, 401)


def test_a_failed_write_after_an_outer_transaction_raises_nothing(hasty: Flask) -> None:
    receiver = Receiver()
    with outer_connection(hasty) as connection:
        blocker = sa.create_engine(engine_of(hasty).url, poolclass=sa.NullPool)
        with blocker.connect() as other, store_unavailable.connected_to(receiver):
            with connection.begin(), Session(connection) as session:
                logout.revoke_user("ada", session=session)
                session.commit()
            other.execute(sa.text(f"UPDATE {TABLE} SET kind = kind"))
            connection.close()
    assert len(receiver.calls) == 1


def test_a_two_phase_commit_sends_one_signal(host: Flask) -> None:
    if engine_of(host).dialect.name != "mysql":
        pytest.skip("only MariaDB has two-phase commits unless configured otherwise")
    pair, receiver = make_pair(host), Receiver()
    with Session(engine_of(host), twophase=True) as session:
        with revoked.connected_to(receiver):
            logout.revoke_user("ada", session=session)
            session.prepare()
            assert receiver.calls == []
            session.commit()
    assert len(receiver.calls) == 1
    assert status(host, pair) == (401, 401)


def make_writing_app(make_app: MakeApp, **config: t.Any) -> Flask:
    """Make an app that writes to its database before each request without a commit."""
    app = make_app(**config)
    db = app.extensions["sqlalchemy"]
    seen = db.Table("seen", sa.Column("id", sa.Integer, primary_key=True))
    with app.app_context():
        db.create_all()

    @app.before_request
    def note() -> None:
        db.session.execute(sa.insert(seen))

    return app


def seen_in(app: Flask) -> int:
    """Count the rows that the app has written and committed."""
    with app.app_context(), engine_of(app).connect() as connection:
        return t.cast(int, connection.scalar(sa.text("SELECT count(*) FROM seen")))


def test_a_request_that_blocks_itself_gets_an_error_that_explains_it(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_writing_app(make_app, LOGOUT_TIMEOUT=0.1)
    pair, client, receiver = make_pair(app), app.test_client(), Receiver()
    with store_unavailable.connected_to(receiver):
        response = log_out(client, pair)
    assert (response.status_code, response.data) == (503, UNAVAILABLE)
    ((_, values),) = receiver.calls
    assert str(values["error"]) == (
        "OperationalError: database is locked. This request has an open transaction on"
        " the same SQLite file in db.session, and SQLite allows only one writer at a"
        " time. Commit it before you revoke, pass session=db.session, or set"
        " LOGOUT_COMMIT_APP_SESSION for the logout endpoint"
    )
    assert "set LOGOUT_COMMIT_APP_SESSION" in caplog.text
    assert get_status(client, pair) == (200, 200)


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_request_that_is_blocked_by_another_gets_the_plain_error(
    make_app: MakeApp, has_begun: bool
) -> None:
    app = make_app(LOGOUT_TIMEOUT=0.1)
    with app.app_context():
        blocker = sa.create_engine(engine_of(app).url, poolclass=sa.NullPool)
        with blocker.connect() as connection:
            connection.execute(sa.text("BEGIN IMMEDIATE"))
            if has_begun:
                session_of(app).execute(sa.text("SELECT 1"))
            with pytest.raises(StoreUnavailableError) as caught:
                logout.revoke_user("ada")
    assert str(caught.value) == "OperationalError: database is locked"


def test_a_revocation_outside_an_app_context_gets_the_plain_error(
    make_app: MakeApp,
) -> None:
    app = make_app(LOGOUT_TIMEOUT=0.1)
    with app.app_context():
        blocker = sa.create_engine(engine_of(app).url, poolclass=sa.NullPool)
        store = app.extensions["logout"].store
    with blocker.connect() as connection:
        connection.execute(sa.text("BEGIN IMMEDIATE"))
        with pytest.raises(StoreUnavailableError, match="database is locked$"):
            store.add([Revocation(bytes(16), "token")])


def test_the_endpoint_can_commit_the_apps_session(
    make_app: MakeApp, database_url: str
) -> None:
    app = make_writing_app(
        make_app, SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_COMMIT_APP_SESSION=True
    )
    pair, client, receiver = make_pair(app), app.test_client(), Receiver()
    with logged_out.connected_to(receiver):
        assert log_out(client, pair).data == LOGGED_OUT
    assert len(receiver.calls) == 1
    assert seen_in(app) == 1
    assert get_status(client, pair) == (401, 401)
    assert seen_in(app) == 1


def test_the_endpoint_rolls_back_if_the_apps_commit_fails(
    make_app: MakeApp, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_COMMIT_APP_SESSION=True)
    with app.app_context():
        pair, client = make_pair(app), app.test_client()
        pending = add_pending(app)
        response = log_out(client, pair)
        assert (response.status_code, response.data) == (503, UNAVAILABLE)
        assert caplog.text.count("db.session can't be committed: ") == 1
        assert pending not in session_of(app)
        assert status(app, pair) == (200, 200)


def test_the_endpoint_rolls_back_if_its_own_write_fails(
    make_app: MakeApp, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url, LOGOUT_COMMIT_APP_SESSION=True)
    pair, client = make_pair(app), app.test_client()

    def rename_table(session: Session) -> None:
        session.execute(sa.text(f"ALTER TABLE {TABLE} RENAME TO away"))

    with app.app_context():
        session = session_of(app)()
        sa.event.listen(session, "before_commit", rename_table)
        response = log_out(client, pair)
        assert (response.status_code, response.data) == (503, UNAVAILABLE)
        assert caplog.text.count("store_unavailable") == 1
        assert not session.in_transaction()


def test_committing_the_apps_session_with_another_store_is_an_error(
    make_app: MakeApp,
) -> None:
    with pytest.raises(ConfigError) as caught:
        make_app(LOGOUT_COMMIT_APP_SESSION=True, LOGOUT_STORE_URI="redis://127.0.0.1")
    assert str(caught.value) == (
        "Invalid LOGOUT_COMMIT_APP_SESSION: True. It requires revocations to be stored in"
        " one of the app's own databases, but LOGOUT_STORE_URI names another store. Remove"
        " one of the two settings."
    )
