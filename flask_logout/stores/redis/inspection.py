"""Redis looked at from outside: what is in it, and can it forget."""

from __future__ import annotations

import logging
import typing as t
from datetime import datetime

from ...exceptions import StoreUnavailableError
from ...revocation import Kind
from ...revocation import KINDS
from ...revocation import Revocation
from .. import Inspection
from .. import Tally
from .client import Client
from .records import decode
from .records import from_clock
from .records import Names

logger = logging.getLogger("flask_logout")

_PAGE = 1000


class RedisInspection:
    """See :class:`.Inspection`, for Redis.

    :param client: the client.
    :param names: the names of the app's keys.
    :param script: what the store runs there.
    :param replicas: how many replicas a write waits for.
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
        """See :meth:`.Inspection.create`. It only tries whether Redis answers."""
        for node in self._client.names_of_nodes():
            self._client.run_on(node, [("SCRIPT LOAD", self._script)])
        return f"Nothing to create: {self.place} needs no table."

    def clear(self) -> None:
        """See :meth:`.Inspection.clear`. Only what bears our name is forgotten."""
        for node, names in self._pages():
            self._client.run_on(node, [("UNLINK", name) for name in names])

    def count_kinds(self, now: datetime) -> dict[Kind, Tally]:
        """See :meth:`.Inspection.count_kinds`. What grows meanwhile may count twice."""
        with self._client.explained():
            return self._count_kinds(now)

    def count_expired(self, now: datetime) -> int:
        """See :meth:`.Inspection.count_expired`. By the clock of Redis there are none."""
        return sum(tally.expired for tally in self.count_kinds(now).values())

    def read_clock(self) -> datetime:
        """See :meth:`.Inspection.read_clock`. Of a Cluster it is one of its servers'."""
        with self._client.explained():
            node = self._client.names_of_nodes()[0]
            return from_clock(self._client.run_on(node, [("TIME",)])[0])

    def read_last_expiry(self) -> datetime | None:
        """See :meth:`.Inspection.read_last_expiry`. Redis has no index of it."""
        return None

    def list_problems(self) -> list[str]:
        """See :meth:`.Inspection.list_problems`. Each is a way in which it forgets."""
        with self._client.explained():
            return [
                f"{node}: {problem}"
                for node in self._client.names_of_nodes()
                for problem in self._problems_of(node)
            ]

    def _count_kinds(self, now: datetime) -> dict[Kind, Tally]:
        tallies = {kind: Tally() for kind in KINDS}
        for node, names in self._pages():
            keys = [
                (name, key)
                for name in names
                if (key := self._names.key_in(name)) is not None
            ]
            values = self._client.run_on(node, [("GET", name) for name, _ in keys])
            # What died between the two round trips is gone.
            found = [
                decode(key, value)
                for (_, key), value in zip(keys, values, strict=True)
                if value is not None
            ]
            for x in found:
                tallies[x.kind] = _count(tallies[x.kind], x, now)
        return tallies

    def _pages(self) -> t.Iterator[tuple[str, list[bytes]]]:
        for node in self._client.names_of_nodes():
            position = None
            while position != 0:
                command = (
                    "SCAN",
                    position or 0,
                    "MATCH",
                    self._names.pattern,
                    "COUNT",
                    _PAGE,
                )
                ((position, names),) = self._client.run_on(node, [command])
                if names:
                    yield node, names

    def _problems_of(self, node: str) -> t.Iterator[str]:
        memory, persistence, replication = self._client.run_on(
            node, [("INFO", x) for x in ("memory", "persistence", "replication")]
        )
        policy = memory.get("maxmemory_policy")
        if policy != "noeviction":
            yield (
                f"maxmemory-policy is {policy}: when its memory is full, Redis forgets"
                " logouts. Set it to noeviction."
            )
        if not persistence.get("aof_enabled"):
            yield self._describe_snapshots(node)
        if replication.get("role") == "slave":
            yield "it is a read-only replica. Name the primary in LOGOUT_STORE_URI."
        replicas = int(replication.get("connected_slaves", 0))
        if replicas and not self._replicas:
            yield (
                f"a logout waits for none of its replicas ({replicas}), so a failover can"
                " lose it. min-replicas-to-write does not wait either. Set"
                " LOGOUT_REDIS_WAIT to 1 or more."
            )
        if replicas < self._replicas:
            yield (
                f"LOGOUT_REDIS_WAIT is {self._replicas}, but it has fewer replicas"
                f" ({replicas}), so every logout returns 503. Attach replicas or lower"
                " LOGOUT_REDIS_WAIT."
            )

    def _describe_snapshots(self, node: str) -> str:
        remedy = "Set appendonly to yes."
        try:
            (answer,) = self._client.run_on(node, [("CONFIG GET", "save")])
        except StoreUnavailableError:
            return (
                "appendonly is off, and whether there are snapshots is not shown to us:"
                f" after a crash, logouts may be forgotten. {remedy}"
            )
        if any(answer.values()):
            return (
                "appendonly is off: after a crash, logouts since the last snapshot are"
                f" forgotten. {remedy}"
            )
        return f"it keeps nothing on disk: a restart forgets every logout. {remedy}"


def warnings(inspection: Inspection) -> None:
    """Log each problem of a store, a line each, when an app starts to use it.

    :param inspection: the store seen from outside.
    """
    try:
        problems = inspection.list_problems()
    except StoreUnavailableError:
        # The request that comes now will say so.
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
