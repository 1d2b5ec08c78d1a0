"""Revocations in a database that SQLAlchemy speaks to."""

from __future__ import annotations

from .store import make_table as make_table
from .store import SQLAlchemyStore as SQLAlchemyStore
