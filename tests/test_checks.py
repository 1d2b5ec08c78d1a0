"""The problems that ``flask logout check`` reports."""

from __future__ import annotations

import logging
import re
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask_jwt_extended import JWTManager

from flask_logout import LogoutExtension

from .commands import drop_table
from .commands import find_problems
from .commands import make_silent_app
from .commands import run_command
from .conftest import MakeApp


def test_a_healthy_app_has_no_problem(
    make_app: MakeApp, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    assert run_command(app, "check").stdout.splitlines() == [
        "ok: blocklist hook",
        "ok: route",
        "ok: error responses",
        "ok: store",
        "ok: clock",
        "ok: token lifetimes",
        "ok: purge margin",
        "ok: signing key",
        "ok: cookies",
        "ok: audit log",
    ]
    assert find_problems(app) == {}


def test_a_check_leaves_the_transaction_of_a_database_in_memory_open(
    make_app: MakeApp,
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI="sqlite://")
    with app.app_context():
        session = app.extensions["sqlalchemy"].session
        session.execute(sa.text("CREATE TABLE note (text TEXT)"))
        session.execute(sa.text("INSERT INTO note VALUES ('mine')"))
        assert find_problems(app) == {}
        assert session.scalar(sa.text("SELECT text FROM note")) == "mine"
        session.rollback()
        assert session.scalar(sa.text("SELECT count(*) FROM note")) == 0


def test_a_replaced_blocklist_loader_is_reported(make_app: MakeApp) -> None:
    app = make_app()
    JWTManager(app)
    (problem,) = find_problems(app).items()
    assert problem[0] == "blocklist hook"
    assert problem[1].startswith("Revocation is disabled, ")


def test_a_missing_table_is_reported(make_app: MakeApp, database_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    drop_table(app)
    words = "Table logout_revocation does not exist. Run your migrations or"
    assert find_problems(app) == {"store": f"{words} `flask logout init`."}


def test_an_unreachable_database_is_reported() -> None:
    problems = find_problems(make_silent_app())
    assert list(problems) == ["store", "clock"]
    assert problems["store"] == problems["clock"]
    assert problems["store"].startswith(
        "The store can't be reached (OperationalError: (2003, "
    )
    fix = "Start it, or correct SQLALCHEMY_DATABASE_URI or LOGOUT_STORE_URI."
    assert problems["store"].endswith(f". {fix}")


def change_table(app: Flask, change: t.Callable[[sa.Table], object]) -> sa.Table:
    """Create the table again with a change, and return the right one."""
    with app.app_context():
        db = app.extensions["sqlalchemy"]
        db.drop_all()
        right: sa.Table = app.extensions["logout"].store.table
        wrong = right.to_metadata(sa.MetaData())
        change(wrong)
        wrong.create(db.engine)
    return right


def say_faults(faults: str) -> dict[str, str]:
    """Return the finding about a table with these faults."""
    return {
        "store": f"Table logout_revocation has the wrong schema: {faults}. Create a"
        " migration that corrects it, or drop the table after every token has expired and"
        " run `flask logout init`."
    }


def test_a_missing_column_is_reported(make_app: MakeApp, database_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    change_table(app, lambda x: x._columns.remove(x.c.reason))
    faults = "column reason (VARCHAR(255)) is missing"
    assert find_problems(app) == say_faults(faults)


def test_missing_indexes_are_reported(make_app: MakeApp, database_url: str) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    change_table(app, lambda x: x.indexes.clear())
    faults = (
        "the index on column expires_at is missing, the index on column revoked_at is"
        " missing, the index on column subject is missing"
    )
    assert find_problems(app) == say_faults(faults)


def test_the_names_of_indexes_do_not_matter(make_app: MakeApp) -> None:
    app = make_app()

    def rename(table: sa.Table) -> None:
        for index in table.indexes:
            index.name = sa.sql.quoted_name(f"my_{index.name}", quote=None)

    change_table(app, rename)
    assert find_problems(app) == {}


def test_a_missing_primary_key_is_reported(
    make_app: MakeApp, database_url: str
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)

    def drop_key(table: sa.Table) -> None:
        table.c.key.primary_key = False
        table.append_constraint(sa.PrimaryKeyConstraint())

    change_table(app, drop_key)
    assert find_problems(app) == say_faults("the primary key is not the column key")


def test_a_time_without_fraction_or_zone_is_reported(
    make_app: MakeApp, database_url: str
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)

    def make_naive(table: sa.Table) -> None:
        table.c.cutoff.type = sa.DateTime()

    change_table(app, make_naive)
    naive, right = {
        "sqlite": ("DATETIME", "DATETIME"),
        "mysql": ("DATETIME", "DATETIME(6)"),
        "postgresql": ("TIMESTAMP WITHOUT TIME ZONE", "TIMESTAMP WITH TIME ZONE"),
    }[sa.make_url(database_url).get_backend_name()]
    fault = f"column cutoff has {naive} instead of {right}"
    assert find_problems(app) == ({} if naive == right else say_faults(fault))


def test_a_column_that_is_not_nullable_is_reported(
    make_app: MakeApp, database_url: str
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)

    def require(table: sa.Table) -> None:
        table.c.actor.nullable = False

    change_table(app, require)
    fault = "column actor has VARCHAR(255) NOT NULL instead of VARCHAR(255)"
    assert find_problems(app) == say_faults(fault)


@pytest.mark.parametrize(
    ("shift", "found"), [(30, "behind"), (-30, "ahead of"), (0.3, None), (-0.3, None)]
)
def test_a_clock_that_differs_by_a_second_is_reported(
    make_app: MakeApp, database_url: str, shift: float, found: str | None
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=database_url)
    with time_machine.travel(timedelta(seconds=shift)):
        problems = find_problems(app)
    words = {name: re.sub(r"(29|30)\.\d", "30", x) for name, x in problems.items()}
    expected = (
        f"The store's clock is 30 seconds {found} this machine's. If the clocks of two"
        ' workers differ, "log out everywhere" can miss tokens that were issued before it.'
        " Keep all clocks on NTP."
    )
    assert words == ({} if found is None else {"clock": expected})


@pytest.mark.parametrize("endless", [False, 0, timedelta(0)])
def test_tokens_that_never_expire_are_reported(
    make_app: MakeApp, endless: object
) -> None:
    words = (
        "Some tokens never expire because of {}, so revocations are never deleted and the"
        " table only grows. Set a timedelta."
    )
    access, refresh = "JWT_ACCESS_TOKEN_EXPIRES", "JWT_REFRESH_TOKEN_EXPIRES"
    app = make_app(**{access: endless})
    assert find_problems(app) == {"token lifetimes": words.format(access)}
    app = make_app(**{refresh: endless, access: endless})
    both = words.format(f"{access} and {refresh}")
    assert find_problems(app) == {"token lifetimes": both}


def test_an_invalid_lifetime_is_reported(make_app: MakeApp) -> None:
    app = make_app()
    app.config["JWT_ACCESS_TOKEN_EXPIRES"] = "1h"
    words = (
        "Invalid JWT_ACCESS_TOKEN_EXPIRES: '1h'. Expected a timedelta or a whole number of"
        " seconds, from 0 to 365000 days, or False for tokens that never expire."
    )
    assert find_problems(app) == {"token lifetimes": words}


@pytest.mark.parametrize("days", [29, 30])
def test_revocations_that_are_deleted_too_early_are_reported(
    make_app: MakeApp, days: int
) -> None:
    app = make_app(LOGOUT_MAX_TOKEN_LIFETIME=timedelta(days=days))
    expected = (
        "LOGOUT_MAX_TOKEN_LIFETIME is 29 days, 0:00:00, but tokens are valid for 30 days,"
        " 0:00:00, so the revocation of a session or a user is deleted while its tokens"
        " are still valid. Set it to 30 days, 0:00:00 or more, or remove it."
    )
    assert find_problems(app) == ({} if days == 30 else {"token lifetimes": expected})


def test_a_shortened_lifetime_is_reported(make_app: MakeApp, database_url: str) -> None:
    place = {"SQLALCHEMY_DATABASE_URI": database_url}
    with make_app(**place).app_context():
        LogoutExtension().revoke_user("ada")
    short = {**place, "JWT_REFRESH_TOKEN_EXPIRES": timedelta(days=1)}
    (problem,) = find_problems(make_app(**short)).items()
    assert problem[0] == "token lifetimes"
    assert re.fullmatch(
        r"A stored revocation is kept until [\d-]{10} [\d:]{5} UTC, but with the present"
        r" settings a new one is kept only until [\d-]{10} [\d:]{5} UTC\. A lifetime was"
        r" shortened, or a token was issued with a longer one, so a revocation may be"
        r" deleted while its tokens are still valid\. Set LOGOUT_MAX_TOKEN_LIFETIME to"
        r" timedelta\(days=30\) or more until the last of these tokens has expired\.",
        problem[1],
    )
    fixed = {**short, "LOGOUT_MAX_TOKEN_LIFETIME": timedelta(days=30)}
    assert find_problems(make_app(**fixed)) == {}


@pytest.mark.parametrize("leeway", [61, timedelta(seconds=61), 60])
def test_a_leeway_above_the_margin_is_reported(
    make_app: MakeApp, leeway: int | timedelta
) -> None:
    app = make_app(LOGOUT_PURGE_MARGIN=60, JWT_DECODE_LEEWAY=leeway)
    expected = (
        "JWT_DECODE_LEEWAY allows clocks to differ by 0:01:01, but LOGOUT_PURGE_MARGIN is"
        " only 0:01:00. A worker whose clock is ahead can delete a revocation while other"
        " workers still accept the token. Set LOGOUT_PURGE_MARGIN to 0:01:01 or more, or"
        " JWT_DECODE_LEEWAY to a few seconds."
    )
    assert find_problems(app) == ({} if leeway == 60 else {"purge margin": expected})


def test_an_invalid_leeway_is_reported(make_app: MakeApp) -> None:
    app = make_app()
    app.config["JWT_DECODE_LEEWAY"] = "10"
    words = (
        "Invalid JWT_DECODE_LEEWAY: '10'. Expected a timedelta or a number of seconds,"
        " from 0 to 365000 days."
    )
    assert find_problems(app) == {"token lifetimes": words, "purge margin": words}


@pytest.mark.parametrize(
    ("algorithm", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)]
)
@pytest.mark.parametrize("kind", [str, str.encode])
def test_a_short_signing_key_is_reported(
    make_app: MakeApp,
    algorithm: str,
    least: int,
    kind: t.Callable[[str], str | bytes],
) -> None:
    weak, strong = "é" + (least - 3) * "x", "é" + (least - 2) * "x"
    app = make_app(JWT_SECRET_KEY=kind(weak), JWT_ALGORITHM=algorithm)
    expected = (
        f"The signing key (JWT_SECRET_KEY or SECRET_KEY) has only {least - 1} bytes, so"
        " anyone who has a token may guess the key and forge tokens."
        f" {algorithm} needs {least} bytes or more (RFC 7518, section 3.2). Make a key"
        f" with: python -c 'import secrets; print(secrets.token_hex({least}))'"
    )
    assert find_problems(app) == {"signing key": expected}
    app = make_app(JWT_SECRET_KEY=kind(strong), JWT_ALGORITHM=algorithm)
    assert find_problems(app) == {}


def test_a_signing_key_of_the_wrong_type_is_reported(make_app: MakeApp) -> None:
    expected = (
        "Invalid signing key (JWT_SECRET_KEY or SECRET_KEY): a value of type int. Expected"
        " a string or bytes."
    )
    app = make_app(JWT_SECRET_KEY=12345)
    assert find_problems(app) == {"signing key": expected}


@pytest.mark.parametrize(
    ("algorithm", "words"),
    [
        (
            "HS256",
            "JWT_SECRET_KEY or flask SECRET_KEY must be set when using symmetric"
            ' algorithm "HS256".',
        ),
        (
            "RS256",
            "JWT_PUBLIC_KEY must be set to use asymmetric cryptography algorithm"
            ' "RS256".',
        ),
    ],
)
def test_a_missing_key_is_reported(
    make_app: MakeApp, algorithm: str, words: str
) -> None:
    app = make_app(JWT_SECRET_KEY=None, JWT_ALGORITHM=algorithm)
    assert find_problems(app) == {"signing key": words}


def test_the_length_of_a_public_key_does_not_matter(make_app: MakeApp) -> None:
    assert find_problems(make_app(JWT_ALGORITHM="ES256", JWT_PUBLIC_KEY="short")) == {}


def test_a_key_loader_of_the_app_is_not_called(make_app: MakeApp) -> None:
    app = make_app(JWT_SECRET_KEY=None)
    app.extensions["flask-jwt-extended"].decode_key_loader(lambda *_: "short")
    assert find_problems(app) == {}


@pytest.fixture
def logger(caplog: pytest.LogCaptureFixture) -> t.Iterator[logging.Logger]:
    """Return the logger of the audit log, and reset it after the test."""
    logger = logging.getLogger("flask_logout")
    caplog.set_level(logging.INFO)
    yield logger
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


def audit_line(app: Flask) -> str:
    """Return the line of ``flask logout check`` about the audit log."""
    status, stdout, _ = run_command(app, "check")
    assert status == 0
    return stdout.splitlines()[-1]


SILENT_LOG = (
    "note: audit log: This process discards INFO records of the logger flask_logout, so"
    " nothing records who revoked what. Configure logging before the app is created, for"
    " example with logging.basicConfig(level=logging.INFO)."
)


def test_an_audit_log_that_a_level_discards_is_noted(
    make_app: MakeApp, logger: logging.Logger
) -> None:
    assert audit_line(make_app()) == "ok: audit log"
    logger.setLevel(logging.WARNING)
    assert audit_line(make_app()) == SILENT_LOG


def test_an_audit_log_without_a_handler_is_noted(
    make_app: MakeApp, logger: logging.Logger
) -> None:
    logger.propagate = False
    assert audit_line(make_app()) == SILENT_LOG
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    assert audit_line(make_app()) == "ok: audit log"
    handler.setLevel(logging.ERROR)
    assert audit_line(make_app()) == SILENT_LOG


def test_a_sqlite_database_that_can_not_be_written_is_reported(
    make_app: MakeApp, tmp_path: Path
) -> None:
    make_app()
    uri = f"sqlite:///file:{tmp_path / 'app.db'}?mode=ro&uri=true"
    app = make_app(SQLALCHEMY_DATABASE_URI=uri)
    (problem,) = app.extensions["logout"].store.inspect().list_problems()
    assert problem == (
        "SQLite can't write to the database (attempt to write a readonly database), so"
        " every logout returns 503. Make the file and its folder writable for the app."
    )


def test_a_locked_sqlite_database_can_be_written(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_TIMEOUT=0.1)
    store = app.extensions["logout"].store
    with app.app_context(), app.extensions["sqlalchemy"].engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        assert store.inspect().list_problems() == []


def test_a_transaction_in_memory_is_left_alone(make_app: MakeApp) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI="sqlite://")
    db = app.extensions["sqlalchemy"]
    with app.app_context():
        db.session.execute(sa.text("CREATE TABLE note (id INTEGER)"))
        db.session.execute(sa.text("INSERT INTO note VALUES (1)"))
        assert app.extensions["logout"].store.inspect().list_problems() == []
        assert db.session.execute(sa.text("SELECT id FROM note")).scalar() == 1
        db.session.rollback()
