"""Count the sessions in Redis, and delete them."""

from __future__ import annotations

import typing as t
from datetime import datetime

from ..sessions import SessionTally
from .client import Client
from .inspection import scan
from .records import Names
from .records import to_number
from .session_scripts import FIND
from .session_scripts import LIST
from .session_scripts import ROTATE
from .session_scripts import START


class RedisSessionInspection:
    """The administrative view of the sessions in Redis.

    :param names: the names of the app's keys.
    """

    def __init__(self, client: Client, names: Names) -> None:
        self._client = client
        self._names = names

    def create(self) -> str:
        # There is no table, but a server that can't be reached must raise an error.
        scripts = [("SCRIPT LOAD", x) for x in (START, ROTATE, FIND, LIST)]
        for node in self._client.names_of_nodes():
            self._client.run_on(node, scripts)
        return f"Nothing to create: {self._client.place} needs no table of sessions."

    def clear(self) -> None:
        for node, names in scan(self._client, self._names):
            ours = [x for x in names if self._names.is_of_sessions(x)]
            self._client.run_on(node, [("UNLINK", x) for x in ours])

    def count(self, now: datetime) -> SessionTally:
        # SCAN may return a key twice while the database grows.
        with self._client.explained():
            return self._count(now)

    def list_problems(self) -> list[str]:
        # Those of Redis itself concern revocations as well.
        return []

    def _count(self, now: datetime) -> SessionTally:
        at = t.cast(int, to_number(now))
        live = expired = 0
        for node, names in scan(self._client, self._names):
            commands = [
                ("HMGET", x, "subject_key", "expires_at")
                for x in names
                if self._names.is_session(x)
            ]
            found = self._client.run_on(node, commands)
            # A session may be deleted between the two round trips.
            expiries = [x for owner, x in found if owner is not None]
            ended = sum(x is not None and int(x) < at for x in expiries)
            expired += ended
            live += len(expiries) - ended
        return SessionTally(live, expired)
