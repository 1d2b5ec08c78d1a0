"""Define the table of sessions."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.schema import conv

from ...domain.revocation import TEXT_SIZE
from ...exceptions import ConfigError
from .dialects import INSTANT
from .dialects import KEY

SESSION_TEXTS = ("sid", "subject", "user_agent", "ip_address", "label")
"""The columns that are for people to read."""

_SUFFIX = "_revocation"


def name_session_table(table_name: str) -> str:
    """Name the table of sessions after the one of revocations.

    :param table_name: ``LOGOUT_TABLE_NAME``.
    :returns: the name with ``_session`` at the end.
    """
    return f"{table_name.removesuffix(_SUFFIX)}_session"


def make_session_table(metadata: sa.MetaData, name: str) -> sa.Table:
    """Define the table, unless the metadata already has it.

    :param metadata: the metadata of the table of revocations.
    :param name: the name of the table.
    :returns: the table.
    :raises ConfigError: the app has another table with that name.
    """
    known = {table.name: table for table in metadata.tables.values()}
    if name not in known:
        return _define_table(metadata, name)
    if "any_issuer_key" not in known[name].c:
        raise ConfigError(
            f"The app already has a table named {name!r}, which Flask-Logout needs for"
            " sessions. Set LOGOUT_TABLE_NAME to another name, which ends with"
            f" {_SUFFIX!r}."
        )
    return known[name]


def _define_table(metadata: sa.MetaData, name: str) -> sa.Table:
    def index(column: str, *others: str) -> sa.Index:
        return sa.Index(conv(f"ix_{name}_{column}"), column, *others)

    return sa.Table(
        name,
        metadata,
        sa.Column("key", KEY, nullable=False),
        sa.Column("any_issuer_key", KEY, nullable=False),
        sa.Column("subject_key", KEY, nullable=False),
        *(sa.Column(x, sa.String(TEXT_SIZE)) for x in SESSION_TEXTS),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("parent", sa.BigInteger),
        sa.Column("rotated_at", INSTANT),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("last_seen_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT),
        sa.Column("kept_until", INSTANT),
        sa.PrimaryKeyConstraint("key", name=conv(f"pk_{name}")),
        index("subject_key", "created_at"),
        index("kept_until"),
    )
