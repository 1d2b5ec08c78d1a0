"""Classify and describe the exceptions of database drivers."""

from __future__ import annotations

import re
import typing as t

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import SQLAlchemyError

# Serialization failure and deadlock (SQLSTATE), a changed record and deadlock (MySQL and
# MariaDB).
_TRANSIENT = frozenset({"40001", "40P01", 1020, 1213})
# The server is read-only: PostgreSQL (SQLSTATE), MySQL and MariaDB.
_READ_ONLY = frozenset({"25006", 1290, 1792, 1836})
# Exclude lost connections (08), and HY, which MySQL drivers use if there is no code.
_SQLSTATE = re.compile("(?!08|HY)[0-9A-Z]{5}")
# No such table, in PostgreSQL, MySQL or MariaDB, and SQLite.
_NO_TABLE = re.compile(
    "relation .* does not exist|Table .* doesn't exist|no such table"
)


def is_known(error: Exception, dialect: sa.Dialect | None = None) -> bool:
    """Whether SQLAlchemy, the driver or the operating system raised the exception.

    Any other exception comes from a bug of the driver or from a time limit that the app
    has set, so a retry doesn't help.

    :param dialect: the dialect, if the driver was called without SQLAlchemy.
    """
    known: tuple[type[Exception], ...] = (SQLAlchemyError, OSError)
    if dialect is not None:
        known = (*known, dialect.loaded_dbapi.Error)
    return isinstance(error, known)


def is_passing(error: Exception) -> bool:
    """Whether a retry may succeed: after a lost connection, a deadlock or a failover."""
    return _is_dead(error) or not _codes_of(error).isdisjoint(_TRANSIENT | _READ_ONLY)


def is_conflict(error: Exception) -> bool:
    """Whether another transaction interfered, so that the database did nothing."""
    return not _codes_of(error).isdisjoint(_TRANSIENT)


def is_from_replica(error: Exception) -> bool:
    """Whether the server rejected a write because it is read-only."""
    return not _codes_of(error).isdisjoint(_READ_ONLY)


def is_answer(error: Exception, dialect: sa.Dialect) -> bool:
    """Whether the exception proves that the database has not done the work."""
    # SQLite runs in this process, and text that can't be encoded is never sent.
    if dialect.name == "sqlite" or isinstance(error, UnicodeEncodeError):
        return True
    return not _is_dead(error) and any(map(_is_of_server, _codes_of(error)))


def explain(error: Exception, dialect: sa.Dialect | None = None) -> str:
    """Describe an exception in one line, without the statement.

    :param dialect: the dialect, if the driver was called without SQLAlchemy.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not is_known(error, dialect):
        # Its message may contain the parameters of the statement.
        return type(cause).__name__
    first_line = (str(cause).splitlines() or [""])[0]
    said = f"{type(cause).__name__}: {first_line}"
    if _NO_TABLE.search(said):
        said += ". Run your migrations or `flask logout init` to create the table"
    return said


def _is_dead(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _is_of_server(code: object) -> bool:
    if isinstance(code, int):
        # MySQL and MariaDB. Client libraries use 2000 to 2999, and MariaDB's also 5000 to
        # 5999, for example for a connection that broke while it was written to.
        return code >= 1000 and code // 1000 not in {2, 5}
    return isinstance(code, str) and _SQLSTATE.fullmatch(code) is not None


def _codes_of(error: Exception) -> set[object]:
    cause: t.Any = getattr(error, "orig", None)
    first = next(iter(getattr(cause, "args", ())), None)
    # pg8000 passes the server's whole reply as a dictionary.
    first = first.get("C") if isinstance(first, dict) else first
    names = ("sqlstate", "pgcode", "errno")
    return {first, *(getattr(cause, name, None) for name in names)}
