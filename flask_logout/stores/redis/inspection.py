"""Count the revocations in Redis, and find settings that can lose them."""

from __future__ import annotations

import logging
import typing as t
from datetime import datetime

from ...domain.revocation import Kind
from ...domain.revocation import KINDS
from ...domain.revocation import Revocation
from ...exceptions import StoreUnavailableError
from .. import Inspection
from .. import Tally
from .client import Client
from .records import decode
from .records import from_clock
from .records import Names

logger = logging.getLogger("flask_logout")

_PAGE = 1000


class RedisInspection:
    """The administrative view of a Redis store.

    :param names: the names of the app's keys.
    :param script: the script with which the store writes.
    :param replicas: the number of replicas that a write waits for.
    """

    def __init__(
        self, client: Client, names: Names, script: str, replicas: int
    ) -> None:
        self._client = client
        self._names = names
        self._script = script
        self._replicas = replicas
        self.place = client.place

    def create(self) -> str:
        # There is no table, but a server that can't be reached must raise an error.
        for node in self._client.names_of_nodes():
            self._client.run_on(node, [("SCRIPT LOAD", self._script)])
        return f"Nothing to create: {self.place} needs no table."

    def clear(self) -> None:
        for node, names in scan(self._client, self._names):
            ours = [x for x in names if not self._names.is_of_sessions(x)]
            self._client.run_on(node, [("UNLINK", x) for x in ours])

    def count_kinds(self, now: datetime) -> dict[Kind, Tally]:
        # SCAN may return a key twice while the database grows.
        with self._client.explained():
            return self._count_kinds(now)

    def count_expired(self, now: datetime) -> int:
        # By the clock of Redis there are none, but the clocks may differ.
        return sum(tally.expired for tally in self.count_kinds(now).values())

    def read_clock(self) -> datetime:
        with self._client.explained():
            node = self._client.names_of_nodes()[0]
            return from_clock(self._client.run_on(node, [("TIME",)])[0])

    def read_last_expiry(self) -> datetime | None:
        # Redis has no index of expiry times.
        return None

    def list_problems(self) -> list[str]:
        with self._client.explained():
            return [
                f"{node}: {problem}"
                for node in self._client.names_of_nodes()
                for problem in self._problems_of(node)
            ]

    def _count_kinds(self, now: datetime) -> dict[Kind, Tally]:
        tallies = {kind: Tally() for kind in KINDS}
        for node, names in scan(self._client, self._names):
            keys = [
                (name, key)
                for name in names
                if (key := self._names.key_in(name)) is not None
            ]
            values = self._client.run_on(node, [("GET", name) for name, _ in keys])
            # A key may expire between the two round trips.
            found = [
                decode(key, value)
                for (_, key), value in zip(keys, values, strict=True)
                if value is not None
            ]
            for x in found:
                tallies[x.kind] = _count(tallies[x.kind], x, now)
        return tallies

    def _problems_of(self, node: str) -> t.Iterator[str]:
        memory, persistence, replication = self._client.run_on(
            node, [("INFO", x) for x in ("memory", "persistence", "replication")]
        )
        policy = memory.get("maxmemory_policy")
        if policy != "noeviction":
            yield (
                f"maxmemory-policy is {policy}, so Redis deletes logouts when its memory"
                " is full. Set it to noeviction."
            )
        if not persistence.get("aof_enabled"):
            yield self._describe_snapshots(node)
        if replication.get("role") == "slave":
            yield (
                "the server is a read-only replica. Set LOGOUT_STORE_URI to the primary."
            )
        replicas = int(replication.get("connected_slaves", 0))
        if replicas and not self._replicas:
            yield (
                "logouts don't wait for replication to any of the attached replicas"
                f" ({replicas}), so a failover can lose them. Set LOGOUT_REDIS_WAIT to 1"
                " or more. min-replicas-to-write isn't enough, because it doesn't wait"
                " either."
            )
        if replicas < self._replicas:
            yield (
                f"LOGOUT_REDIS_WAIT is {self._replicas}, but there are fewer attached"
                f" replicas ({replicas}), so every logout returns 503. Attach replicas or"
                " lower LOGOUT_REDIS_WAIT."
            )

    def _describe_snapshots(self, node: str) -> str:
        remedy = "Set appendonly to yes."
        try:
            (answer,) = self._client.run_on(node, [("CONFIG GET", "save")])
        except StoreUnavailableError:
            return (
                "appendonly is off, and the snapshot settings can't be read, so a crash"
                f" may lose logouts. {remedy}"
            )
        if any(answer.values()):
            return (
                "appendonly is off, so a crash loses the logouts since the last"
                f" snapshot. {remedy}"
            )
        return f"nothing is stored on disk, so a restart loses every logout. {remedy}"


def scan(client: Client, names: Names) -> t.Iterator[tuple[str, list[bytes]]]:
    """Read the names of all keys of an app, page by page. A name may occur twice.

    :param names: the names of the app's keys.
    :returns: an iterator over the names of a server, and of keys on it.
    """
    for node in client.names_of_nodes():
        position = None
        while position != 0:
            command = ("SCAN", position or 0, "MATCH", names.pattern, "COUNT", _PAGE)
            ((position, found),) = client.run_on(node, [command])
            if found:
                yield node, found


def log_problems(inspection: Inspection) -> None:
    """Log a warning for each problem of a store."""
    try:
        problems = inspection.list_problems()
    except StoreUnavailableError:
        # The caller's own request to the store raises the same error.
        return
    for problem in problems:
        logger.warning("%s", problem)


def _count(tally: Tally, found: Revocation, now: datetime) -> Tally:
    is_expired = found.expires_at is not None and found.expires_at < now
    at = t.cast(datetime, found.revoked_at)
    return Tally(
        live=tally.live + (not is_expired),
        expired=tally.expired + is_expired,
        oldest=min(tally.oldest or at, at),
        newest=max(tally.newest or at, at),
    )
