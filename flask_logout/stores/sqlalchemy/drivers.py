"""Set the timeouts of each database driver."""

from __future__ import annotations

import math
import typing as t
from importlib import import_module
from types import MappingProxyType

from .socket_timeouts import limited

Arguments = dict[str, t.Any]
Limits = t.Callable[[float], Arguments]


def limit_waits(driver: str, seconds: float, arguments: Arguments) -> None:
    """Add timeouts to the connect arguments of a driver, unless the app has set them.

    :param driver: the name that SQLAlchemy gives the driver.
    :param seconds: the timeout.
    :param arguments: the connect arguments, which this changes.
    """
    if driver in _CURSORS:
        _limit_cursors(*_CURSORS[driver], seconds, arguments)
    for name, value in _LIMITS.get(driver, _no_limits)(seconds).items():
        arguments.setdefault(name, value)


def _limit_cursors(
    module: str, name: str, seconds: float, arguments: Arguments
) -> None:
    given = arguments.get("cursor_factory")
    cursor_class = given or getattr(import_module(module), name)
    arguments["cursor_factory"] = limited(cursor_class, seconds)


def _no_limits(_seconds: float) -> Arguments:
    return {}


def _libpq(seconds: float) -> Arguments:
    # libpq rounds smaller values up to 2.
    return {"connect_timeout": max(2, round(seconds))}


def _named(*names: str) -> Limits:
    return lambda seconds: dict.fromkeys(names, seconds)


def _whole(*names: str) -> Limits:
    return lambda seconds: dict.fromkeys(names, math.ceil(seconds))


def _mysqlconnector(seconds: float) -> Arguments:
    from mysql.connector.constants import DEFAULT_CONFIGURATION

    # Versions before 9.2 support only the first.
    names = ("connection_timeout", "read_timeout", "write_timeout")
    return _whole(*(x for x in names if x in DEFAULT_CONFIGURATION))(seconds)


_MYSQL = ("connect_timeout", "read_timeout", "write_timeout")

_LIMITS: t.Mapping[str, Limits] = MappingProxyType(
    {
        "psycopg": _libpq,
        "psycopg2": _libpq,
        "psycopg2cffi": _libpq,
        "pg8000": _named("timeout"),
        "pymysql": _named(*_MYSQL),
        "mysqldb": _whole(*_MYSQL),
        "mariadbconnector": _whole(*_MYSQL),
        "mysqlconnector": _mysqlconnector,
        # This also limits every later wait on the socket.
        "cymysql": _named("connect_timeout"),
    }
)

# The cursor classes of drivers that have no timeout for the reply to a statement.
_CURSORS: t.Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "psycopg": ("psycopg", "Cursor"),
        "psycopg2": ("psycopg2.extensions", "cursor"),
        "psycopg2cffi": ("psycopg2cffi.extensions", "cursor"),
    }
)
