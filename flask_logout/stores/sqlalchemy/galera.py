"""Galera: reads that wait until the node has applied what the cluster has committed."""

from __future__ import annotations

import typing as t

import sqlalchemy as sa

from .dialects import DIALECTS

# Bit 1 is for reads. MariaDB without Galera has the variable too, and ignores it. MySQL
# does not have it, and takes what begins with /*M! for a comment.
_WAIT = "SET @logout = NULL /*M! , SESSION wsrep_sync_wait = @@wsrep_sync_wait | 1 */"


def wait_for_cluster(engine: sa.Engine) -> None:
    """Let each new connection read what any node of a Galera cluster has committed.

    Otherwise a check may read from a node that has not applied a logout yet.

    :param engine: our own engine.
    """
    if DIALECTS[engine.dialect.name] == "mysql":
        sa.event.listen(engine, "connect", lambda x, _: _set_wait(x))


def _set_wait(connection: t.Any) -> None:
    cursor = connection.cursor()
    cursor.execute(_WAIT)
    cursor.close()
