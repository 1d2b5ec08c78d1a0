"""Encode sessions as Redis hashes, whose fields are named like the columns in SQL.

A field is missing if its value is ``None``.
"""

from __future__ import annotations

import typing as t

from ...domain.rotation import Record
from ...domain.rotation import Session
from ...exceptions import StoreUnavailableError
from .records import FOREIGN
from .records import to_instant
from .records import to_number

Field = t.Union[bytes, str, int]

_TEXTS = ("sid", "subject", "user_agent", "ip_address", "label")
_KEYS = ("any_issuer_key", "subject_key")
_NUMBERS = ("generation", "parent")
_REQUIRED = ("sid", "generation", "created_at", "last_seen_at")
_INSTANTS = ("created_at", "expires_at", "kept_until")


def encode_session(session: Session) -> list[Field]:
    """Encode a session, without its key and without ``last_seen_at``.

    The key is part of the name in Redis, and the server adds ``last_seen_at``.

    :param session: the session.
    :returns: the names and values of its fields.
    """
    values = vars(session)
    texts = {
        x: values[x] and values[x].encode("utf-8", "surrogatepass") for x in _TEXTS
    }
    instants = {x: to_number(values[x]) for x in _INSTANTS}
    others = {x: values[x] for x in (*_KEYS, *_NUMBERS)}
    fields = {**texts, **others, **instants}
    return [x for pair in fields.items() if pair[1] is not None for x in pair]


def decode_session(key: bytes, fields: t.Sequence[bytes]) -> Session:
    """Decode a session.

    :param key: the key of the session.
    :param fields: the names and values of its fields.
    :raises StoreUnavailableError: another program wrote the value.
    """
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    row = {name.decode("utf-8", "replace"): value for name, value in found.items()}
    try:
        values: dict[str, t.Any] = {x: row[x] for x in _KEYS}
        values |= {x: _to_text(row.get(x)) for x in _TEXTS}
        values |= {x: _to_number(row.get(x)) for x in _NUMBERS}
        for x in (*_INSTANTS, "last_seen_at"):
            values[x] = to_instant(_to_number(row.get(x)))
        if any(values[x] is None for x in _REQUIRED):
            raise ValueError
        return Session(key=key, **values)
    except (KeyError, OverflowError, ValueError) as e:
        raise StoreUnavailableError(FOREIGN) from e


def decode_record(fields: t.Sequence[t.Any]) -> Record:
    """Decode what decides about a refresh token.

    :param fields: the user's key, the generation, its parent, and whether it is young.
    :raises StoreUnavailableError: another program wrote the value.
    """
    owner, generation, parent, is_young = fields
    try:
        return Record(owner, int(generation), _to_number(parent), bool(is_young))
    except (TypeError, ValueError) as e:
        raise StoreUnavailableError(FOREIGN) from e


def _to_text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogatepass")


def _to_number(value: bytes | None) -> int | None:
    return None if value is None else int(value)
