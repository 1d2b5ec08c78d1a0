"""The table of revocations."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.schema import conv

from ...exceptions import ConfigError
from ...revocation import TEXT_SIZE
from .dialects import INSTANT
from .dialects import KEY


def make_table(metadata: sa.MetaData, name: str) -> sa.Table:
    """Put the table on a metadata, once.

    :param metadata: that of the app's Flask-SQLAlchemy, or one of its own.
    :param name: the name of the table.
    :returns: the table.
    :raises ConfigError: there is another table of that name.
    """
    known = {table.name: table for table in metadata.tables.values()}
    if name not in known:
        return _define_table(metadata, name)
    if "spared_session" not in known[name].c:
        raise ConfigError(
            f"the app has a table {name!r} of its own. Set LOGOUT_TABLE_NAME to a name"
            " that is free."
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
