"""What the exceptions of a database driver mean."""

from __future__ import annotations

import re
import typing as t

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import SQLAlchemyError

# Serialization failure, deadlock (SQLSTATE); deadlock (MySQL, MariaDB).
_TRANSIENT = frozenset({"40001", "40P01", 1213})
# A replica answers: PostgreSQL (SQLSTATE); MySQL and MariaDB.
_READ_ONLY = frozenset({"25006", 1290, 1792, 1836})
# Neither a lost connection nor HY, by which drivers of MySQL say that there is no code.
_SQLSTATE = re.compile("(?!08|HY)[0-9A-Z]{5}")
# No such table: PostgreSQL, MySQL and MariaDB, SQLite.
_NO_TABLE = re.compile(
    "relation .* does not exist|Table .* doesn't exist|no such table"
)


def is_known(error: Exception, dialect: sa.Dialect | None = None) -> bool:
    """Say whether an exception is one that reports a failure of the database.

    Anything else is a defect of the driver, or a time limit of the app's own, so trying
    again is no remedy.

    :param error: the exception.
    :param dialect: the dialect of the engine, if the driver was called without
        SQLAlchemy.
    :returns: whether SQLAlchemy, the driver or the operating system reports a failure.
    """
    known: tuple[type[Exception], ...] = (SQLAlchemyError, OSError)
    if dialect is not None:
        known = (*known, dialect.loaded_dbapi.Error)
    return isinstance(error, known)


def is_passing(error: Exception) -> bool:
    """Say whether another attempt may succeed.

    :param error: the exception.
    :returns: whether it is a dead connection of the pool, a deadlock or a failover.
    """
    return _is_dead(error) or not _codes_of(error).isdisjoint(_TRANSIENT | _READ_ONLY)


def is_from_replica(error: Exception) -> bool:
    """Say whether a database that accepts no writes has answered.

    :param error: the exception.
    :returns: whether the database is read-only.
    """
    return not _codes_of(error).isdisjoint(_READ_ONLY)


def is_answer(error: Exception, dialect: sa.Dialect) -> bool:
    """Say whether the database has certainly not done the work.

    :param error: the exception.
    :param dialect: the dialect of the engine.
    :returns: ``False`` if the work may have been done.
    """
    # SQLite is no other process, and text that cannot be encoded is not sent.
    if dialect.name == "sqlite" or isinstance(error, UnicodeEncodeError):
        return True
    return not _is_dead(error) and any(map(_is_of_server, _codes_of(error)))


def explain(error: Exception, dialect: sa.Dialect | None = None) -> str:
    """Describe an exception in one line.

    :param error: the exception.
    :param dialect: the dialect of the engine, if the driver was called without
        SQLAlchemy.
    :returns: its class and its first line, without the statement.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not is_known(error, dialect):
        # Its message may repeat what the driver was given.
        return type(cause).__name__
    first_line = (str(cause).splitlines() or [""])[0]
    said = f"{type(cause).__name__}: {first_line}"
    if _NO_TABLE.search(said):
        said += " — create the table: run `flask logout init`, or your migrations"
    return said


def _is_dead(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _is_of_server(code: object) -> bool:
    if isinstance(code, int):
        # MySQL and MariaDB; 2000 to 2999 are codes of the client.
        return 1000 <= code < 2000 or code >= 3000
    return isinstance(code, str) and _SQLSTATE.fullmatch(code) is not None


def _codes_of(error: Exception) -> set[object]:
    """The codes by which a driver says what is wrong."""
    cause: t.Any = getattr(error, "orig", None)
    first = next(iter(getattr(cause, "args", ())), None)
    # pg8000 gives all that the server said.
    first = first.get("C") if isinstance(first, dict) else first
    names = ("sqlstate", "pgcode", "errno")
    return {first, *(getattr(cause, name, None) for name in names)}
