"""The store of revocations in Redis, with a key for each and a stream of changes."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from hashlib import blake2b
from types import EllipsisType

from ...exceptions import ConfigError
from ...exceptions import OutcomeUnknownError
from ...revocation import merge
from ...revocation import Revocation
from ...revocation import storable
from .. import Page
from .client import Client
from .inspection import log_problems
from .inspection import RedisInspection
from .pages import Changes
from .records import decode
from .records import encode
from .records import Names
from .records import to_milliseconds

if t.TYPE_CHECKING:
    from ...rotation import Policy
    from .. import AppSession
    from .sessions import RedisSessions

SLOTS = 64
"""The number of slots in a Cluster. The keys of one user share a slot."""

KEPT = timedelta(days=1)
"""How long an entry stays in the stream of changes."""

# Compare and set. If the stored values are still those that the caller has seen, write
# all revocations. Otherwise write none, and return the stored values. Write to the stream
# first, because only that can fail.
_KEEP = """
local current, fields = {}, {}
local is_as_seen = true
for i = 1, #KEYS - 1 do
    current[i] = redis.call('GET', KEYS[i]) or ''
    is_as_seen = is_as_seen and current[i] == ARGV[3 * i - 1]
    -- Readers know a key that exists already, from the stream or from their scan.
    if current[i] == '' then
        fields[#fields + 1] = string.sub(KEYS[i], -16)
        fields[#fields + 1] = ''
    end
end
if not is_as_seen then return current end
local time = redis.call('TIME')
local first = string.format('%.0f', time[1] * 1000 - ARGV[1])
if #fields > 0 and redis.call('EXISTS', KEYS[#KEYS]) == 0 then
    -- While this entry exists, a reader that has read no other has missed nothing.
    redis.call('XADD', KEYS[#KEYS], '0-1', '', '')
end
for i = 1, #fields, 2000 do
    -- unpack() is limited to a few thousand values per call.
    redis.call('XADD', KEYS[#KEYS], 'MINID', '~', first, '*',
        unpack(fields, i, math.min(i + 1999, #fields)))
end
local now = time[1] .. string.format('%06d', time[2])
for i = 1, #KEYS - 1 do
    redis.call('SET', KEYS[i], now .. ARGV[3 * i])
    if ARGV[3 * i + 1] ~= '' then
        redis.call('PEXPIREAT', KEYS[i], ARGV[3 * i + 1])
    end
end
return false
"""

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
        self._names = Names(table_name)
        slots = SLOTS if self.client.is_cluster else 1
        self._prefixes = [self._names.make(slot, b"") for slot in range(slots)]
        self._streams = [prefix + _STREAM for prefix in self._prefixes]
        self._changes = Changes(self.client, self._names, self._streams)
        self._has_warned = False

    def add(self, revocations: t.Sequence[Revocation]) -> None:
        """Store revocations. In a Cluster, this is all or nothing for each user."""
        by_slot: dict[int, list[Revocation]] = {}
        for revocation in merge(revocations):
            by_slot.setdefault(self._slot_of(revocation.subject), []).append(revocation)
        for slot, group in by_slot.items():
            self._keep(slot, group)

    def remember(self, revocations: t.Sequence[Revocation]) -> None:
        """Do nothing, because every check reads the stored revocations."""

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
            prefixes = [self._prefixes[x] for x in {0, self._slot_of(subject)}]
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

    def inspect(self) -> RedisInspection:
        return RedisInspection(self.client, self._names, _KEEP, self._replicas)

    def _slot_of(self, subject: str | None) -> int:
        if subject is None or not self.client.is_cluster:
            return 0
        # Hash the truncated subject, because a revocation stores nothing else.
        octets = (storable(subject) or "").encode()
        return int.from_bytes(blake2b(octets, digest_size=8).digest(), "big") % SLOTS

    def _keep(self, slot: int, revocations: t.Sequence[Revocation]) -> None:
        known: dict[bytes, bytes] = {}
        while pending := list(_pending(revocations, known)):
            current = self._write(slot, pending, known)
            if current is None:
                break
            known.update(zip((x.key for x in pending), current, strict=True))
        if self._replicas:
            self._wait(slot, revocations)

    def _write(
        self,
        slot: int,
        pending: t.Sequence[Revocation],
        known: t.Mapping[bytes, bytes],
    ) -> list[bytes] | None:
        arguments: list[t.Any] = [KEPT // timedelta(milliseconds=1)]
        for x in pending:
            # A revocation that never expires gets no expiry.
            expires_at = to_milliseconds(x.expires_at) if x.expires_at else ""
            arguments += (known.get(x.key, b""), encode(x), expires_at)
        names = [self._names.make(slot, x.key) for x in pending]
        names.append(self._streams[slot])
        return t.cast(
            "list[bytes] | None", self.client.run_script(_KEEP, names, arguments)
        )

    def _wait(self, slot: int, revocations: t.Sequence[Revocation]) -> None:
        # Read the revocations back, because a primary that has just taken over may not
        # have them.
        keys = [x.key for x in revocations]
        values = self.client.wait_for_replicas(
            [self._names.make(slot, key) for key in keys],
            self._names.make(slot, _MARKER),
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
