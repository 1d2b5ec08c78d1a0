"""Makes the keys under which tokens can be revoked."""

from __future__ import annotations

import typing as t
from enum import Enum
from functools import lru_cache
from hashlib import blake2b

KEY_SIZE = 16
"""Length of a key, in bytes."""


class AnyIssuer(Enum):
    """The type of :data:`ANY_ISSUER`."""

    ANY = "*"


ANY_ISSUER: t.Final = AnyIssuer.ANY
"""Stands for the tokens of every issuer, including those without ``iss``."""

Issuer = t.Union[str, None, AnyIssuer]
"""The issuer that a key covers. ``None`` stands for tokens without ``iss``."""


def make_key(kind: str, issuer: Issuer, value: str | None) -> bytes:
    """Make the key of a revocation.

    The parts are hashed as netstrings, so keys are equal only if all three parts are.
    Databases compare the digest and never apply a collation to the parts.

    :param kind: a :data:`Kind`, or ``"claims"`` for a token without a usable ``jti``.
    :param issuer: the ``iss`` claim, ``None`` for tokens without one, or
        :data:`ANY_ISSUER`.
    :param value: the ``jti``, ``sid`` or subject.
    :returns: 16 bytes, BLAKE2b (RFC 7693).
    """
    digest = _begin(kind, issuer).copy()
    digest.update(_netstring(value))
    return digest.digest()


@lru_cache(maxsize=64)
def everyone_key(issuer: Issuer) -> bytes:
    """Make the key under which every token of an issuer can be revoked."""
    return make_key("everyone", issuer, None)


def user_keys(issuer: str | None, subject: str | None) -> list[bytes]:
    """List the keys under which all logins of a user can be revoked.

    :param issuer: the ``iss`` claim of the user's tokens, or ``None``.
    :param subject: the subject of the tokens, or ``None``.
    :returns: up to 4 keys, of the user and of everyone.
    """
    # Only revocations of a token or a session are stored for tokens without issuer.
    names: list[Issuer] = [ANY_ISSUER] if issuer is None else [issuer, ANY_ISSUER]
    keys = [everyone_key(name) for name in names]
    if subject is not None:
        keys += [make_key("subject", name, subject) for name in names]
    return keys


# Issuers are few, so cache the hash prefix.
@lru_cache(maxsize=64)
def _begin(kind: str, issuer: Issuer) -> blake2b:
    name = b"*" if issuer is ANY_ISSUER else _netstring(issuer)
    return blake2b(_netstring(kind) + name, digest_size=KEY_SIZE)


def _netstring(part: str | None) -> bytes:
    if part is None:
        return b"-"
    octets = part.encode("utf-8", "surrogatepass")
    return b"%d:%b" % (len(octets), octets)
