"""Tracers, query loggers and ``echo`` receive every statement."""

from __future__ import annotations

import logging
import typing as t
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy.record_queries import get_recorded_queries
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flask_logout import StoreUnavailableError
from flask_logout.domain.revocation_keys import make_key
from flask_logout.stores.sqlalchemy import SQLAlchemyStore
from flask_logout.stores.sqlalchemy.tracing import RELAY

from .conftest import MakeApp
from .revocations import revocation

KEY = make_key("token", None, "x")


@pytest.fixture(params=["default", "own", "memory"])
def app(
    request: pytest.FixtureRequest, make_app: MakeApp, database_url: str
) -> t.Iterator[Flask]:
    """An app in an app context, with its revocations in each kind of database."""
    if request.param == "own":
        app = make_app(LOGOUT_STORE_URI=database_url)
    elif request.param == "memory":
        if not database_url.startswith("sqlite"):
            pytest.skip("only SQLite has databases in memory")
        app = make_app(SQLALCHEMY_DATABASE_URI="sqlite://")
    else:
        app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    with app.app_context():
        store_of(app).inspect().create()
        store_of(app).find([KEY])
        yield app
        store_of(app).engine.dispose()


def store_of(app: Flask) -> SQLAlchemyStore:
    """Return the store of an app."""
    return t.cast(SQLAlchemyStore, app.extensions["logout"].store)


def engine_of(app: Flask) -> sa.Engine:
    """Return the engine of an app."""
    return t.cast(sa.Engine, app.extensions["sqlalchemy"].engine)


@contextmanager
def listening(target: t.Any, name: str, function: t.Any, **options: t.Any) -> t.Any:
    """Listen to an event within the block."""
    sa.event.listen(target, name, function, **options)
    try:
        yield
    finally:
        sa.event.remove(target, name, function)


def use(store: SQLAlchemyStore) -> None:
    """Check a token, and revoke one."""
    store.find([KEY])
    store.add([revocation()])


@pytest.mark.parametrize(
    "name", ["before_cursor_execute", "after_cursor_execute", "handle_error"]
)
def test_only_listeners_take_statements_off_the_fast_path(
    app: Flask, name: str
) -> None:
    engine = store_of(app).engine.get()
    relay = engine.get_execution_options()[RELAY]
    assert not relay.is_needed()
    with listening(engine, name, lambda *_: None):
        assert relay.is_needed()
    with listening(engine_of(app), name, lambda *_: None):
        # A database of its own has nothing to do with the app's engine.
        assert relay.is_needed() is (app.config.get("LOGOUT_STORE_URI") is None)


@pytest.mark.parametrize("name", ["before_cursor_execute", "after_cursor_execute"])
def test_listeners_of_all_engines_receive_our_statements(app: Flask, name: str) -> None:
    seen: list[str] = []

    def listen(_: object, __: object, sql: str, *___: object) -> None:
        seen.append(sql.split()[0])

    with listening(sa.Engine, name, listen):
        use(store_of(app))
    assert seen == ["SELECT", "INSERT"]
    use(store_of(app))
    assert seen == ["SELECT", "INSERT"]


@pytest.mark.parametrize("name", ["before_cursor_execute", "after_cursor_execute"])
def test_listeners_of_the_apps_engine_receive_our_statements(
    make_app: MakeApp, database_url: str, name: str
) -> None:
    seen: list[str] = []

    def listen(_: object, __: object, sql: str, *___: object) -> None:
        seen.append(sql.split()[0])

    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    with app.app_context():
        use(store_of(app))
        # Our engine already exists here.
        with listening(engine_of(app), name, listen):
            use(store_of(app))
        assert seen == ["SELECT", "INSERT"]


def test_a_listener_may_change_a_statement(make_app: MakeApp) -> None:
    seen: list[str] = []
    app = make_app()

    def comment(
        _: object, __: object, sql: str, bound: t.Any, *___: object
    ) -> tuple[str, t.Any]:
        return f"{sql} /* traced */", bound

    def listen(_: object, __: object, sql: str, *___: object) -> None:
        seen.append(sql[-12:])

    with app.app_context():
        engine = engine_of(app)
        with listening(engine, "before_cursor_execute", comment, retval=True):
            with listening(engine, "after_cursor_execute", listen):
                use(store_of(app))
        assert seen == ["/* traced */"] * 2


def test_a_listener_receives_errors_and_may_replace_them(make_app: MakeApp) -> None:
    app, seen = make_app(), list[str]()

    def listen(context: t.Any) -> None:
        seen.append(str(context.original_exception))

    def replace(context: t.Any) -> Exception:
        return OSError("replaced")

    with app.app_context():
        store = store_of(app)
        store.engine.execute(sa.schema.DropTable(store.table))
        with listening(engine_of(app), "handle_error", listen):
            with pytest.raises(StoreUnavailableError, match="no such table"):
                store.find([KEY])
            assert seen == ["no such table: logout_revocation"]
            with listening(engine_of(app), "handle_error", replace):
                with pytest.raises(StoreUnavailableError, match="^OSError: replaced$"):
                    store.find([KEY])


def test_our_queries_are_recorded(make_app: MakeApp) -> None:
    app = make_app(SQLALCHEMY_RECORD_QUERIES=True)
    with app.app_context():
        use(store_of(app))
        words = [str(x.statement).split()[0] for x in get_recorded_queries()]
        assert words == ["SELECT", "INSERT"]


@pytest.mark.parametrize("how", ["echo", "logger"])
def test_our_statements_are_echoed(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    app = make_app(SQLALCHEMY_ECHO=how == "echo")
    logger = "sqlalchemy.engine" if how == "logger" else "flask_logout"
    with app.app_context(), caplog.at_level(logging.INFO, logger):
        caplog.clear()
        use(store_of(app))
        lines = [x for x in caplog.messages if x.startswith(("SELECT", "INSERT"))]
        assert len(lines) == 2


@pytest.fixture
def spans() -> t.Iterator[InMemorySpanExporter]:
    """The spans of OpenTelemetry, which instruments every engine."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = SQLAlchemyInstrumentor()
    # It works with SQLAlchemy 2.1, but doesn't declare that yet.
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    yield exporter
    instrumentor.uninstrument()


def test_opentelemetry_traces_each_statement_once(
    spans: InMemorySpanExporter, make_app: MakeApp
) -> None:
    app = make_app()
    with app.app_context():
        store = store_of(app)
        use(store)
        spans.clear()
        use(store)
        names = [x.name.split()[0] for x in spans.get_finished_spans()]
        assert [x for x in names if x != "connect"] == ["SELECT", "INSERT"]
        store.engine.execute(sa.schema.DropTable(store.table))
        spans.clear()
        with pytest.raises(StoreUnavailableError):
            store.find([KEY])
        (failed,) = [x for x in spans.get_finished_spans() if x.name != "connect"]
        assert failed.status.description is not None
