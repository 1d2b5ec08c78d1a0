"""A store of revocations in a table of SQLite, PostgreSQL, MySQL or MariaDB."""

from __future__ import annotations

from .factory import AppDatabase as AppDatabase
from .factory import open_app_database as open_app_database
from .factory import open_own_database as open_own_database
from .store import SQLAlchemyStore as SQLAlchemyStore
from .tables import make_table as make_table
