"""What a token says of itself, and the keys under which it can be revoked.

No Flask, no SQL, no clock: every function here depends on its arguments alone.
"""

from __future__ import annotations

import json
import typing as t
from functools import lru_cache
from hashlib import blake2b

Claims = t.Mapping[str, t.Any]

KEY_SIZE = 16
"""Length of a key, in bytes."""

# What Flask-JWT-Extended adds to a decoded token that lacks them.
_CLAIM_DEFAULTS = {"type": "access", "fresh": False, "jti": None}


Lookup = tuple[tuple[bytes, ...], t.Optional[str]]
"""What a store is asked about a token: the keys under which it can be revoked, and whom
it was issued to."""


def make_key(kind: str, issuer: str | None, value: str | None) -> bytes:
    """Make the key under which something can be revoked.

    The parts are joined as netstrings, so two keys are equal exactly when all three
    parts are; no collation ever compares the parts themselves.

    :param kind: a :data:`Kind`, or ``"claims"`` for a token without a usable ``jti``.
    :param issuer: the ``iss`` claim; ``None``: any issuer.
    :param value: the ``jti``, ``sid`` or subject.
    :returns: 16 bytes, BLAKE2b (RFC 7693).
    """
    digest = _begin(kind, issuer).copy()
    digest.update(_netstring(value))
    return digest.digest()


def text(value: object) -> str | None:
    """Bring a claim into the one form that is compared: a string.

    :param value: a string, a number, any other JSON value, or ``None``.
    :returns: the string, or ``None`` for ``None``.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        return _canonical(value)
    return str(value)


def subject_of(claims: Claims, identity_claim: str = "sub") -> str | None:
    """Read whom a token was issued to.

    :param claims: the claims of the token.
    :param identity_claim: the claim that holds it, ``JWT_IDENTITY_CLAIM``.
    :returns: the subject as a string, or ``None`` where there is none.
    """
    return text(claims.get(identity_claim))


def session_of(claims: Claims) -> str | None:
    """Read which login a token belongs to.

    :param claims: the claims of the token.
    :returns: the ``sid`` claim as a string, or ``None`` where there is none.
    """
    return text(claims.get("sid")) or None


def lookup_of(claims: Claims, identity_claim: str = "sub") -> Lookup:
    """List every key under which a token can be revoked (RFC 7519 4.1).

    A key without an issuer stands for any issuer, so a token that names one is looked
    for both ways.

    :param claims: the claims of the token, of which none is required.
    :param identity_claim: the claim that holds the subject.
    :returns: 2 to 7 keys, that of the token itself first, and the subject or ``None``.
    """
    kind, value = _name_token(claims)
    issuer, sid = claims.get("iss"), claims.get("sid")
    subject = claims.get(identity_claim)
    # Every request comes here: most tokens have a subject that is a string, and no more.
    if issuer is not None:
        issuer = text(issuer)
    if sid is not None:
        sid = text(sid) or None
    if not isinstance(subject, str):
        subject = text(subject)
    return _look_up(kind, value, issuer, sid, subject)


def token_key(claims: Claims) -> bytes:
    """Make the key of one token: of its ``jti``, or else of all its claims.

    :param claims: the claims of the token.
    :returns: 16 bytes.
    """
    kind, value = _name_token(claims)
    return make_key(kind, text(claims.get("iss")), value)


def issuers_of(claims: Claims) -> tuple[str | None, ...]:
    """List the issuers under which a token is looked for.

    :param claims: the claims of the token.
    :returns: its own ``iss`` if it has one, and ``None`` for any issuer.
    """
    issuer = text(claims.get("iss"))
    return (None,) if issuer is None else (issuer, None)


def issued_at(claims: Claims) -> float | None:
    """Read when a token was issued.

    :param claims: the claims of the token.
    :returns: the ``iat`` claim, seconds since the epoch, or ``None`` without one.
    """
    try:
        return float(claims["iat"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _name_token(claims: Claims) -> tuple[str, str]:
    jti = claims.get("jti")
    if isinstance(jti, str) and jti:
        return "token", jti
    return "claims", _canonical({**_CLAIM_DEFAULTS, **claims})


# A token is asked for again and again while it lives.
@lru_cache(maxsize=1024)
def _look_up(
    kind: str, value: str, issuer: str | None, sid: str | None, subject: str | None
) -> Lookup:
    keys = [make_key(kind, issuer, value)]
    for name in (None,) if issuer is None else (issuer, None):
        if sid is not None:
            keys.append(make_key("session", name, sid))
        if subject is not None:
            keys.append(make_key("subject", name, subject))
        keys.append(_everyone(name))
    return tuple(keys), subject


# Of few issuers, and the beginning of every key.
@lru_cache(maxsize=64)
def _begin(kind: str, issuer: str | None) -> blake2b:
    return blake2b(_netstring(kind) + _netstring(issuer), digest_size=KEY_SIZE)


@lru_cache(maxsize=64)
def _everyone(issuer: str | None) -> bytes:
    return make_key("everyone", issuer, None)


def _netstring(part: str | None) -> bytes:
    if part is None:
        return b"-"
    octets = part.encode("utf-8", "surrogatepass")
    return b"%d:%b" % (len(octets), octets)


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
