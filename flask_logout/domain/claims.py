"""Reads the claims of tokens, and lists the keys under which they can be revoked."""

from __future__ import annotations

import json
import typing as t
from functools import lru_cache

from .revocation_keys import ANY_ISSUER
from .revocation_keys import AnyIssuer
from .revocation_keys import everyone_key
from .revocation_keys import make_key

Claims = t.Mapping[str, t.Any]

# Databases store generations in 64 bits, and two of them hold an outcome.
_MAX_GENERATION = 1 << 53

# Flask-JWT-Extended adds these to a decoded token that lacks them.
_CLAIM_DEFAULTS = {"type": "access", "fresh": False, "jti": None}


Lookup = tuple[tuple[bytes, ...], t.Optional[str]]
"""The keys under which a token can be revoked, and its subject."""


def text(value: object) -> str | None:
    """Convert a claim to a string, because claims are compared as strings.

    :param value: any JSON value.
    :returns: the string, or ``None`` for ``None``.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        return _canonical(value)
    return str(value)


def subject_of(claims: Claims, identity_claim: str = "sub") -> str | None:
    """Return the subject of a token as a string.

    :param claims: the claims of the token.
    :param identity_claim: the name of the claim that holds it, ``JWT_IDENTITY_CLAIM``.
    :returns: the subject, or ``None`` if there is none.
    """
    return text(claims.get(identity_claim))


def session_of(claims: Claims) -> str | None:
    """Return the ``sid`` of the login that a token belongs to.

    Some apps use ``sid`` for other things, such as a site or a shop. So the claim counts
    only together with ``login_at``, as :func:`.session_claims` makes them.

    :param claims: the claims of the token.
    :returns: the ``sid`` claim, if it is a string and ``login_at`` is a number.
        Otherwise the :func:`replacement_sid` of a refresh token, or ``None``.
    """
    if _has_session(claims):
        return t.cast(str, claims["sid"])
    return replacement_sid(claims) if claims.get("type") == "refresh" else None


def replacement_sid(claims: Claims) -> str:
    """Make the ``sid`` for the tokens that are made from a token without a session.

    :param claims: the claims of the token without a session.
    :returns: ``t:`` and the key of the token in hexadecimal digits.
    """
    return f"t:{token_key(claims).hex()}"


def generation_of(claims: Claims) -> int:
    """Return the ``generation`` of a refresh token.

    :param claims: the claims of the token.
    :returns: the claim, or 0 unless it is an integer, 0 or more.
    """
    value = claims.get("generation")
    return value if type(value) is int and 0 <= value < _MAX_GENERATION else 0


def lookup_of(claims: Claims, identity_claim: str = "sub") -> Lookup:
    """List every key under which a token can be revoked (RFC 7519 4.1).

    Any ``sid`` counts, because :meth:`.LogoutExtension.revoke_session` applies to every
    token that has it.

    :param claims: the claims of the token, all of them optional.
    :param identity_claim: the name of the claim that holds the subject.
    :returns: 2 to 9 keys, of which the first is the token's own, and the subject.
    """
    kind, value = _name_token(claims)
    issuer, sid = claims.get("iss"), claims.get("sid")
    subject = claims.get(identity_claim)
    # This runs on every request, and most tokens have only a subject that is a string.
    if issuer is not None:
        issuer = text(issuer)
    if sid is not None:
        sid = text(sid) or None
    if not isinstance(subject, str):
        subject = text(subject)
    is_replaced = claims.get("type") == "refresh" and not _has_session(claims)
    return _look_up(kind, value, issuer, sid, subject, is_replaced)


def token_key(claims: Claims) -> bytes:
    """Make the key of one token, from its ``jti`` or, without one, from all its claims.

    :param claims: the claims of the token.
    :returns: 16 bytes.
    """
    kind, value = _name_token(claims)
    return make_key(kind, text(claims.get("iss")), value)


def issuers_of(claims: Claims) -> tuple[str | None, AnyIssuer]:
    """List the issuers whose revocations apply to a token.

    :param claims: the claims of the token.
    :returns: the token's ``iss`` or ``None``, and :data:`ANY_ISSUER`.
    """
    return text(claims.get("iss")), ANY_ISSUER


def began_at(claims: Claims) -> float | None:
    """Return when the login of a token began, to compare with cutoffs.

    If ``login_at`` is later than ``iat``, we didn't make it, so the earlier one counts.

    :param claims: the claims of the token.
    :returns: ``login_at`` or, without it, ``iat``, in seconds since the epoch. ``None``
        if the token has neither.
    """
    login_at = claims.get("login_at")
    instants = (
        _to_float(login_at if _is_number(login_at) else None),
        issued_at(claims),
    )
    return min((x for x in instants if x is not None), default=None)


def issued_at(claims: Claims) -> float | None:
    """Return the ``iat`` claim of a token, or ``None`` if it has no usable one."""
    return _to_float(claims.get("iat"))


def _has_session(claims: Claims) -> bool:
    sid = claims.get("sid")
    return isinstance(sid, str) and sid != "" and _is_number(claims.get("login_at"))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _to_float(value: t.Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _name_token(claims: Claims) -> tuple[str, str]:
    jti = claims.get("jti")
    if isinstance(jti, str) and jti:
        return "token", jti
    return "claims", _canonical({**_CLAIM_DEFAULTS, **claims})


# The same token is checked on every request, so cache its keys.
@lru_cache(maxsize=1024)
def _look_up(
    kind: str,
    value: str,
    issuer: str | None,
    sid: str | None,
    subject: str | None,
    is_replaced: bool,
) -> Lookup:
    keys = [make_key(kind, issuer, value)]
    sids = [] if sid is None else [sid]
    if is_replaced:
        sids.append(f"t:{keys[0].hex()}")
    for name in (issuer, ANY_ISSUER):
        keys.extend(make_key("session", name, x) for x in sids)
        # Only revocations of a token or a session are stored for tokens without issuer.
        if name is None:
            continue
        if subject is not None:
            keys.append(make_key("subject", name, subject))
        keys.append(everyone_key(name))
    return tuple(keys), subject


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
