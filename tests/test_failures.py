"""Which errors of drivers say that the database has done nothing."""

from __future__ import annotations

import typing as t
from importlib import import_module

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import OperationalError

from flask_logout.stores.sqlalchemy.failures import is_answer

# It has no type annotations.
DRIVER: t.Any = import_module("pymysql")
DIALECT: sa.Dialect = mysql.dialect()


def failed(code: int) -> OperationalError:
    """Wrap an error of a driver as SQLAlchemy does."""
    return OperationalError("INSERT", None, DRIVER.OperationalError(code, "failed"))


@pytest.mark.parametrize("code", [1146, 1290, 1969, 3024, 4031, 6000])
def test_an_error_of_the_server_is_an_answer(code: int) -> None:
    assert is_answer(failed(code), DIALECT)


# CR_SERVER_GONE_ERROR, CR_SERVER_LOST; CR_ERR_NET_READ, CR_ERR_NET_WRITE of MariaDB.
@pytest.mark.parametrize("code", [0, 104, 2006, 2013, 5013, 5014])
def test_an_error_of_the_client_leaves_the_outcome_open(code: int) -> None:
    assert not is_answer(failed(code), DIALECT)
