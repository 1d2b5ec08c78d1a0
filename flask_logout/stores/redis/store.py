"""The store of revocations in Redis, with a key for each and a stream of changes."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from hashlib import blake2b
from types import EllipsisType

from ...domain.revocation import merge
from ...domain.revocation import Revocation
from ...domain.revocation import storable
from ...exceptions import ConfigError
from ...exceptions import OutcomeUnknownError
from ...exceptions import StoreUnavailableError
from .. import Page
from .client import Client
from .inspection import log_problems
from .inspection import RedisInspection
from .pages import Changes
from .records import decode
from .records import encode
from .records import Names
from .records import to_milliseconds
from .scripts import KEEP
from .scripts import KEEP_OWNED

if t.TYPE_CHECKING:
    from ...domain.rotation import Policy
    from .. import AppSession
    from .sessions import RedisSessions

SLOTS = 64
"""The number of slots in a Cluster. The keys of one user share a slot."""

KEPT = timedelta(days=1)
"""How long an entry stays in the stream of changes."""

_STREAM = b"changes"
_MARKER = b"marker"


class RedisStore:
    """Stores revocations in Redis or Valkey, on a single server or a Cluster.

    A revocation is one key, which Redis deletes at its ``expires_at``. In a Cluster, the
    keys of one user share a slot, and keys that belong to no user share another one. So a
    logout runs one script on one server, and a check queries at most two servers.

    :param uri: a URL with one of :data:`.SCHEMES`.
    :param timeout: how long to wait for Redis.
    :param table_name: ``LOGOUT_TABLE_NAME``, the prefix of the names of its keys.
    :param replicas: the number of replicas that have to acknowledge a write, 0 or more.
    :raises ConfigError: the URL is invalid.
    """

    def __init__(
        self,
        uri: str,
        *,
        timeout: timedelta,
        table_name: str = "logout_revocation",
        replicas: int = 0,
    ) -> None:
        self.client = Client(uri, timeout)
        self._replicas = replicas
        self.names = Names(table_name)
        slots = SLOTS if self.client.is_cluster else 1
        self._prefixes = [self.names.make(slot, b"") for slot in range(slots)]
        self._streams = [prefix + _STREAM for prefix in self._prefixes]
        self._changes = Changes(self.client, self.names, self._streams)
        self._has_warned = False

    def add(self, revocations: t.Sequence[Revocation]) -> None:
        """Store revocations. In a Cluster, this is all or nothing for each user."""
        by_slot: dict[int, list[Revocation]] = {}
        for revocation in merge(revocations):
            by_slot.setdefault(self.slot_of(revocation.subject), []).append(revocation)
        for slot, group in by_slot.items():
            self._keep(slot, group)

    def remember(self, revocations: t.Sequence[Revocation]) -> None:
        """Do nothing, because every check reads the stored revocations."""

    def add_owned(self, revocation: Revocation, row: bytes, owner: bytes) -> bool:
        """Store the revocation of a session if the session belongs to a user.

        :param row: the name of the session, in the slot of the revocation.
        :param owner: the key of the user.
        :returns: ``False`` if the session doesn't exist or belongs to another user.
        """
        slot = self.slot_of(revocation.subject)
        return self._keep(slot, [revocation], (row, owner))

    def add_once(self, revocation: Revocation) -> bool:
        """Store a revocation unless there is one with its key already.

        :returns: whether this call has stored it.
        """
        slot, run = self.slot_of(revocation.subject), self.client.run_script_once
        try:
            is_new = run(*self._script(slot, [revocation], {})) is None
        except OutcomeUnknownError:
            # If it has been written nevertheless, the retry finds it.
            return self._retry(slot, [revocation])
        if is_new and self._replicas:
            self._wait(slot, [revocation])
        return is_new

    def join(self, session: AppSession) -> t.NoReturn:
        raise ConfigError(
            "The argument session requires revocations to be stored in one of the app's"
            " own databases, but LOGOUT_STORE_URI is a Redis URL, and Redis can't take part"
            " in a database transaction. Remove the argument, or remove LOGOUT_STORE_URI."
        )

    def find(
        self, keys: t.Collection[bytes], *, subject: str | None | EllipsisType = ...
    ) -> list[Revocation]:
        """Find revocations. In a Cluster, ``subject`` is required.

        :raises TypeError: the store is a Cluster, and ``subject`` is missing.
        """
        if not self.client.is_cluster:
            prefixes = self._prefixes
        elif isinstance(subject, EllipsisType):
            # A query to the wrong server would find no revocation.
            raise TypeError("find() needs subject= to choose a node of a Redis Cluster")
        else:
            prefixes = [self._prefixes[x] for x in {0, self.slot_of(subject)}]
        if not self._has_warned:
            self._has_warned = True
            log_problems(self.inspect())
        asked = list(keys)
        with self.client.explained():
            answers = self.client.fetch([[x + key for key in asked] for x in prefixes])
            return merge(
                decode(key, value)
                for values in answers
                for key, value in zip(asked, values, strict=True)
                if value is not None
            )

    def changes(self, cursor: object | None) -> Page:
        return self._changes.read(cursor)

    def purge(self, now: datetime, *, batch: int) -> int:
        """Do nothing, because Redis deletes expired keys itself."""
        return 0

    def open_sessions(self, policy: Policy) -> RedisSessions:
        from .sessions import RedisSessions

        return RedisSessions(self, policy)

    def close(self) -> None:
        self.client.close()

    def inspect(self) -> RedisInspection:
        return RedisInspection(self.client, self.names, KEEP, self._replicas)

    def slot_of(self, subject: str | None) -> int:
        """Return the slot of the keys of a user.

        :param subject: the subject of the tokens, or ``None`` if they have none.
        """
        if subject is None or not self.client.is_cluster:
            return 0
        # Hash the truncated subject, because a revocation stores nothing else.
        octets = (storable(subject) or "").encode()
        return int.from_bytes(blake2b(octets, digest_size=8).digest(), "big") % SLOTS

    def _keep(
        self,
        slot: int,
        revocations: t.Sequence[Revocation],
        owned: tuple[bytes, bytes] | None = None,
    ) -> bool:
        known: dict[bytes, bytes] = {}
        while pending := list(_pending(revocations, known)):
            script = self._script(slot, pending, known, owned)
            current = self.client.run_script(*script)
            if current is None:
                break
            if current == 0:
                return False
            known.update(zip((x.key for x in pending), current, strict=True))
        if self._replicas:
            self._wait(slot, revocations)
        return True

    def _retry(self, slot: int, revocations: t.Sequence[Revocation]) -> bool:
        try:
            return self._keep(slot, revocations)
        except StoreUnavailableError as e:
            raise OutcomeUnknownError(str(e)) from e

    def _script(
        self,
        slot: int,
        pending: t.Sequence[Revocation],
        known: t.Mapping[bytes, bytes],
        owned: tuple[bytes, bytes] | None = None,
    ) -> tuple[str, list[bytes], list[t.Any]]:
        """Return the script that writes revocations, its keys and its arguments."""
        arguments: list[t.Any] = [KEPT // timedelta(milliseconds=1)]
        for x in pending:
            # A revocation that never expires gets no expiry.
            expires_at = to_milliseconds(x.expires_at) if x.expires_at else ""
            arguments += (known.get(x.key, b""), encode(x), expires_at)
        names = [self.names.make(slot, x.key) for x in pending]
        names.append(self._streams[slot])
        if owned is None:
            return KEEP, names, arguments
        return KEEP_OWNED, [*names, owned[0]], [*arguments, owned[1]]

    def _wait(self, slot: int, revocations: t.Sequence[Revocation]) -> None:
        # Read the revocations back, because a primary that has just taken over may not
        # have them.
        keys = [x.key for x in revocations]
        values = self.client.wait_for_replicas(
            [self.names.make(slot, key) for key in keys],
            self.names.make(slot, _MARKER),
            self._replicas,
        )
        stored = {key: value or b"" for key, value in zip(keys, values, strict=True)}
        if any(_pending(revocations, stored)):
            raise OutcomeUnknownError(
                f"{self.client.place}: a replica became the primary during the write, so"
                " the write may be lost"
            )


def _pending(
    revocations: t.Sequence[Revocation], known: t.Mapping[bytes, bytes]
) -> t.Iterator[Revocation]:
    """Merge with the stored values, and skip revocations that would change nothing."""
    for new in revocations:
        stored = known.get(new.key)
        if not stored:
            yield new
            continue
        old = decode(new.key, stored)
        (merged,) = merge([old, replace(new, revoked_at=None)])
        if merged != old:
            yield merged
