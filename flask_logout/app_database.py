"""Finds the app's database through Flask-SQLAlchemy."""

from __future__ import annotations

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from .exceptions import ConfigError
from .stores.sqlalchemy import AppDatabase

EMBEDDED_URI = "sqlite:///logout.db"
"""The database of an app that configures none, a file in its instance folder."""


def find_database(app: Flask, bind_key: str | None) -> AppDatabase:
    """Find the database that stores the app's revocations.

    :param app: the app. If it has no database, a SQLite file is configured for it.
    :param bind_key: ``LOGOUT_BIND_KEY``.
    :returns: the database, without connecting to it.
    :raises ConfigError: if there is no such bind, or the app has no SQLAlchemy object.
    """
    is_embedded = _ensure_database(app)
    db: SQLAlchemy = app.extensions["sqlalchemy"]
    with app.app_context():
        if bind_key not in db.engines:
            raise ConfigError(
                f"Invalid LOGOUT_BIND_KEY: {bind_key!r}. Expected a key of"
                " SQLALCHEMY_BINDS, or None for the default database."
            )
        engine = db.engines[bind_key]
    metadata = db.metadatas[bind_key]
    return AppDatabase(engine, metadata, db.session, is_embedded=is_embedded)


def _ensure_database(app: Flask) -> bool:
    """Configure a SQLite file if the app has no database. Return whether it did."""
    if "sqlalchemy" in app.extensions:
        return False
    for key in ("SQLALCHEMY_DATABASE_URI", "SQLALCHEMY_BINDS"):
        if app.config.get(key):
            raise ConfigError(
                f"{key} is set, but this app has no SQLAlchemy object yet. Create it"
                " first: call db.init_app(app) or SQLAlchemy(app) before"
                " LogoutExtension."
            )
    app.config["SQLALCHEMY_DATABASE_URI"] = EMBEDDED_URI
    SQLAlchemy(app)
    return True
