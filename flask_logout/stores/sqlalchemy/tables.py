"""Define the table of revocations."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.schema import conv

from ...domain.revocation import TEXT_SIZE
from ...exceptions import ConfigError
from .dialects import INSTANT
from .dialects import KEY


def make_table(metadata: sa.MetaData, name: str) -> sa.Table:
    """Define the table, unless the metadata already has it.

    :param metadata: the metadata of the app's Flask-SQLAlchemy, or an empty one.
    :param name: the name of the table.
    :returns: the table.
    :raises ConfigError: the app has another table with that name.
    """
    known = {table.name: table for table in metadata.tables.values()}
    if name not in known:
        return _define_table(metadata, name)
    if "spared_session" not in known[name].c:
        raise ConfigError(
            f"The app already has a table named {name!r}. Set LOGOUT_TABLE_NAME to an"
            " unused name."
        )
    return known[name]


def _define_table(metadata: sa.MetaData, name: str) -> sa.Table:
    def index(column: str) -> sa.Index:
        return sa.Index(conv(f"ix_{name}_{column}"), column)

    return sa.Table(
        name,
        metadata,
        sa.Column("key", KEY, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(TEXT_SIZE)),
        sa.Column("token_id", sa.String(TEXT_SIZE)),
        sa.Column("cutoff", INSTANT),
        sa.Column("spared_session", KEY),
        sa.Column("spared_after", INSTANT),
        sa.Column("reason", sa.String(TEXT_SIZE)),
        sa.Column("actor", sa.String(TEXT_SIZE)),
        sa.Column("revoked_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT),
        sa.PrimaryKeyConstraint("key", name=conv(f"pk_{name}")),
        index("expires_at"),
        index("revoked_at"),
        index("subject"),
    )
