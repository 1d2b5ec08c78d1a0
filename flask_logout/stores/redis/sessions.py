"""The store of sessions in Redis, beside the revocations."""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timedelta

from ...domain.revocation import Revocation
from ...domain.rotation import is_ended
from ...domain.rotation import Policy
from ...domain.rotation import Record
from ...domain.rotation import Rotation
from ...domain.rotation import Session
from ..sessions import Position
from .records import decode
from .records import to_milliseconds
from .records import to_number
from .session_records import decode_record
from .session_records import decode_session
from .session_records import encode_session
from .session_records import Field
from .session_scripts import FIND
from .session_scripts import LIST
from .session_scripts import ROTATE
from .session_scripts import START
from .store import RedisStore

if t.TYPE_CHECKING:
    from .session_inspection import RedisSessionInspection

# The time between two attempts of redis-py, in timeouts: it waits for a reply, and then
# for a new connection, which may need several attempts.
_LONGEST_RETRY = 5

# A script blocks Redis, so it stops after this number of sessions.
_SCANNED = 1000

_MICROSECOND = timedelta(microseconds=1)


class RedisSessions:
    """Stores sessions in the Redis database that has the revocations.

    A session is a hash, which Redis deletes at its ``kept_until``. For each user, a sorted
    set contains the keys of the sessions. Both are in the slot of the user.

    :param revocations: the store of revocations.
    :param policy: how the app rotates refresh tokens.
    """

    def __init__(self, revocations: RedisStore, policy: Policy) -> None:
        self._revocations = revocations
        self._names = revocations.names
        client = self._client = revocations.client
        self._grace = policy.grace // _MICROSECOND
        self._late_retry = int(policy.late_retry)
        # After the grace period, a retry would look like a reused token.
        may_retry = policy.grace > _LONGEST_RETRY * client.timeout
        self._run_rotate = client.run_script if may_retry else client.run_script_once

    def start(self, session: Session) -> None:
        arguments = [*_retention_of(session), *encode_session(session)]
        self._client.run_script(START, self._names_of(session), arguments)

    def rotate(self, session: Session, *, is_second: bool = False) -> Rotation:
        outcome, generation = self._rotate(session, [])
        return Rotation(outcome, generation)

    def rotate_unrevoked(
        self, session: Session, keys: t.Collection[bytes]
    ) -> Rotation | None:
        # In a Cluster, revocations without a subject are in another slot.
        if self._client.is_cluster:
            return None
        outcome, answer = self._rotate(session, keys)
        if outcome != "revoked":
            return Rotation(outcome, answer)
        found = [
            decode(key, value)
            for key, value in zip(keys, answer, strict=True)
            if value is not None
        ]
        return None if is_ended(session, found) else self.rotate(session)

    def _rotate(
        self, session: Session, keys: t.Collection[bytes]
    ) -> tuple[t.Any, t.Any]:
        """Run the script, and return the outcome and what follows it."""
        slot = self._revocations.slot_of(session.subject)
        names = [self._names.make(slot, key) for key in keys]
        arguments = [
            *_retention_of(session),
            session.subject_key,
            t.cast(int, session.parent),
            self._grace,
            self._late_retry,
            _or_empty(to_number(session.expires_at)),
            _or_empty(to_number(session.kept_until)),
            *encode_session(session),
        ]
        names = [*self._names_of(session), *names]
        outcome, answer = self._run_rotate(ROTATE, names, arguments)
        return outcome.decode(), answer

    def find(self, key: bytes, *, subject: str | None) -> Record | None:
        name = self._names.make_session(self._revocations.slot_of(subject), key)
        found = self._client.query_script(FIND, [name], [self._grace])
        return None if found is None else decode_record(found)

    def list_active(
        self,
        subject_key: bytes,
        covering: t.Sequence[bytes],
        now: datetime,
        *,
        subject: str | None,
        after: Position | None = None,
        limit: int,
    ) -> list[Session]:
        slot = self._revocations.slot_of(subject)
        names = [self._names.make_sessions_of(slot, subject_key)]
        prefix = self._names.make(slot, b"")
        # In a Cluster, revocations without a subject are in another slot.
        asked = () if self._client.is_cluster else covering
        active: list[Session] = []
        position: t.Sequence[Field] | None = _to_score(after)
        while position is not None and len(active) < limit:
            most = limit - len(active)
            arguments = [prefix, to_number(now), most, _SCANNED, *position, *asked]
            found, values, position = self._client.query_script(LIST, names, arguments)
            revoked = [
                decode(key, value)
                for key, value in zip(asked, values, strict=True)
                if value is not None
            ]
            sessions = [decode_session(*x) for x in found]
            if self._client.is_cluster and sessions:
                revoked = self._find_ending(sessions, covering, subject)
            active += [x for x in sessions if not _is_revoked(x, revoked)]
        return active

    def end(self, revocation: Revocation, subject_key: bytes) -> bool:
        slot = self._revocations.slot_of(revocation.subject)
        row = self._names.make_session(slot, revocation.key)
        return self._revocations.add_owned(revocation, row, subject_key)

    def revoke_once(self, revocation: Revocation) -> bool:
        return self._revocations.add_once(revocation)

    def purge(self, now: datetime, *, batch: int) -> int:
        """Do nothing, because Redis deletes expired keys itself."""
        return 0

    def inspect(self) -> RedisSessionInspection:
        from .session_inspection import RedisSessionInspection

        return RedisSessionInspection(self._client, self._names)

    def _names_of(self, session: Session) -> list[bytes]:
        slot = self._revocations.slot_of(session.subject)
        return [
            self._names.make_session(slot, session.key),
            self._names.make_sessions_of(slot, session.subject_key),
        ]

    def _find_ending(
        self,
        sessions: t.Sequence[Session],
        covering: t.Sequence[bytes],
        subject: str | None,
    ) -> list[Revocation]:
        own = {x for each in sessions for x in (each.key, each.any_issuer_key)}
        return self._revocations.find([*covering, *own], subject=subject)


def _is_revoked(session: Session, revocations: t.Sequence[Revocation]) -> bool:
    own = (session.key, session.any_issuer_key)
    # The other revocations of kind session are those of other sessions.
    mine = [x for x in revocations if x.kind != "session" or x.key in own]
    return is_ended(session, mine)


def _retention_of(session: Session) -> tuple[Field, Field]:
    kept_until = session.kept_until
    until = "" if kept_until is None else to_milliseconds(kept_until)
    return until, t.cast(int, to_number(session.created_at))


def _to_score(position: Position | None) -> tuple[Field, Field]:
    if position is None:
        return "", ""
    return t.cast(int, to_number(position.created_at)), position.key


def _or_empty(number: int | None) -> Field:
    return "" if number is None else number
