"""Make reads on a Galera cluster wait for the writes of other nodes."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

from .dialects import DIALECTS

# Bit 1 is for reads. MariaDB without Galera has this variable too, but ignores it. MySQL
# doesn't have it, and treats /*M! as a comment.
_WAIT = "SET @logout = NULL /*M! , SESSION wsrep_sync_wait = @@wsrep_sync_wait | 1 */"


def wait_for_cluster(engine: sa.Engine) -> None:
    """Make each new connection see every commit of a Galera cluster.

    Otherwise a check can read from a node that has not applied a logout yet.
    """
    if DIALECTS[engine.dialect.name] == "mysql":
        sa.event.listen(engine, "connect", lambda x, _: _set_wait(x))


def _set_wait(connection: t.Any) -> None:
    cursor = connection.cursor()
    cursor.execute(_WAIT)
    cursor.close()
