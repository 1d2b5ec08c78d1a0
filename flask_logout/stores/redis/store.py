"""Revocations in Redis: a key for each, which Redis forgets by itself, and a stream."""

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
from ...revocation import printable
from ...revocation import Revocation
from .. import Page
from .client import Client
from .inspection import RedisInspection
from .inspection import warnings
from .pages import Changes
from .records import decode
from .records import encode
from .records import Names
from .records import to_milliseconds

if t.TYPE_CHECKING:
    from .. import AppSession

SLOTS = 64
"""How many slots of a Cluster are used; the keys of one user are in one of them."""

KEPT = timedelta(days=1)
"""How long the stream of changes remembers."""

# Compare and set. What is stored there is still what the caller has seen: then all is
# written. Or else nothing is, and the caller learns what is stored there. The stream
# comes first, since it alone can fail.
_KEEP = """
local current, fields = {}, {}
local is_as_seen = true
for i = 1, #KEYS - 1 do
    current[i] = redis.call('GET', KEYS[i]) or ''
    is_as_seen = is_as_seen and current[i] == ARGV[3 * i - 1]
    -- A key that exists is in the stream already, or was read before it.
    if current[i] == '' then
        fields[#fields + 1] = string.sub(KEYS[i], -16)
        fields[#fields + 1] = ''
    end
end
if not is_as_seen then return current end
local time = redis.call('TIME')
local first = string.format('%.0f', time[1] * 1000 - ARGV[1])
if #fields > 0 and redis.call('EXISTS', KEYS[#KEYS]) == 0 then
    -- While this is there, a reader who has seen nothing has missed nothing.
    redis.call('XADD', KEYS[#KEYS], '0-1', '', '')
end
for i = 1, #fields, 2000 do
    -- As many as a call can take.
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
    """The four verbs of :class:`.Store` on Redis and Valkey, single or a Cluster.

    A revocation is one key, which Redis forgets at its ``expires_at``. In a Cluster the
    keys of one user share a slot, and those of nobody in particular share another: a
    logout is one script on one server, and a check asks two at most.

    :param uri: where Redis is, see :data:`.SCHEMES`.
    :param timeout: how long to wait for Redis.
    :param table_name: ``LOGOUT_TABLE_NAME``, with which the names of its keys begin.
    :param replicas: how many replicas have to acknowledge a write, 0 or more.
    :raises ConfigError: the URL is invalid; the message says how to write it.
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
        """See :meth:`.Store.add`. In a Cluster it is all or nothing for each user."""
        by_slot: dict[int, list[Revocation]] = {}
        for revocation in merge(revocations):
            by_slot.setdefault(self._slot_of(revocation.subject), []).append(revocation)
        for slot, group in by_slot.items():
            self._keep(slot, group)

    def join(self, session: AppSession) -> t.NoReturn:
        """See :meth:`.Store.join`. Redis cannot."""
        raise ConfigError(
            "session= needs the revocations in the app's own database: Redis cannot"
            " commit with it. Leave session out, or LOGOUT_STORE_URI."
        )

    def find(
        self, keys: t.Collection[bytes], *, subject: str | None | EllipsisType = ...
    ) -> list[Revocation]:
        """See :meth:`.Store.find`. A Cluster has to know whose token it is about.

        :param keys: 1 or more keys.
        :param subject: the subject of the token, ``None`` where it has none.
        :returns: the revocations, in no order.
        :raises TypeError: it is a Cluster, and ``subject`` was left out.
        """
        if not self.client.is_cluster:
            prefixes = self._prefixes
        elif isinstance(subject, EllipsisType):
            # Asking the wrong server would let everybody in.
            raise TypeError("a Redis Cluster is asked with subject=")
        else:
            prefixes = [self._prefixes[x] for x in {0, self._slot_of(subject)}]
        if not self._has_warned:
            self._has_warned = True
            warnings(self.inspect())
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
        """See :meth:`.Store.changes`. The total is estimated from the first page."""
        return self._changes.read(cursor)

    def purge(self, now: datetime, *, batch: int) -> int:
        """See :meth:`.Store.purge`. Redis has forgotten by itself."""
        return 0

    def inspect(self) -> RedisInspection:
        """See :meth:`.Store.inspect`."""
        return RedisInspection(self.client, self._names, _KEEP, self._replicas)

    def _slot_of(self, subject: str | None) -> int:
        if subject is None or not self.client.is_cluster:
            return 0
        # As a revocation shows it, which is all that is known of it there.
        octets = (printable(subject) or "").encode()
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
            # What never expires has no instant.
            expires_at = to_milliseconds(x.expires_at) if x.expires_at else ""
            arguments += (known.get(x.key, b""), encode(x), expires_at)
        names = [self._names.make(slot, x.key) for x in pending]
        names.append(self._streams[slot])
        return t.cast(
            "list[bytes] | None", self.client.run_script(_KEEP, names, arguments)
        )

    def _wait(self, slot: int, revocations: t.Sequence[Revocation]) -> None:
        """Wait until replicas have what is stored, and make sure that it is stored.

        A primary that has just taken over may not have it.
        """
        keys = [x.key for x in revocations]
        values = self.client.wait_for_replicas(
            [self._names.make(slot, key) for key in keys],
            self._names.make(slot, _MARKER),
            self._replicas,
        )
        stored = {key: value or b"" for key, value in zip(keys, values, strict=True)}
        if any(_pending(revocations, stored)):
            raise OutcomeUnknownError(
                f"{self.client.place}: a replica took over during the write, which may be"
                " lost"
            )


def _pending(
    revocations: t.Sequence[Revocation], known: t.Mapping[bytes, bytes]
) -> t.Iterator[Revocation]:
    """Merge with what is known to be stored, and leave out what that covers."""
    for new in revocations:
        stored = known.get(new.key)
        if not stored:
            yield new
            continue
        old = decode(new.key, stored)
        (merged,) = merge([old, replace(new, revoked_at=None)])
        if merged != old:
            yield merged
