"""Makes the access and the refresh token of a session."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import jwt
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token
from flask_jwt_extended import get_current_user

from .. import jwt_extended
from ..config.jwt_settings import LIFETIMES
from ..config.jwt_settings import read_lifetime
from ..domain.claims import Claims
from .login_claims import session_claims

OWN_CLAIMS = frozenset({"exp", "generation", "iat", "login_at", "sid"})
"""The claims that an app can't pass as ``additional_claims``."""


class TokenPair(t.NamedTuple):
    """The tokens of a login. Its ``repr`` doesn't show them."""

    access_token: str
    """The encoded access token."""

    refresh_token: str
    """The encoded refresh token."""

    def __repr__(self) -> str:
        return "TokenPair(access_token=…, refresh_token=…)"


@dataclass(frozen=True)
class Plan:
    """What the tokens of a pair will contain, before they are made."""

    identity: t.Any
    """The identity to pass to Flask-JWT-Extended."""

    session: t.Mapping[str, t.Any]
    """The claims of :func:`session_claims`."""

    access_exp: int | None
    """When the access token expires, in seconds since the epoch. ``None`` if never."""

    refresh_exp: int | None
    """When the refresh token expires, in seconds since the epoch. ``None`` if never."""

    claims: Claims
    """The other claims of both tokens."""

    @property
    def expires_at(self) -> datetime | None:
        """When the refresh token expires, aware UTC, or ``None`` if never."""
        exp = self.refresh_exp
        return None if exp is None else datetime.fromtimestamp(exp, timezone.utc)


def plan_login(identity: t.Any, claims: Claims | None, limit: timedelta | None) -> Plan:
    """Plan the tokens of a new login.

    :param identity: the identity, as passed to ``create_access_token``.
    :param claims: the app's own claims for both tokens.
    :param limit: the longest lifetime of a session, or ``None``.
    :returns: the plan.
    :raises ValueError: if the app passes a claim that it can't set.
    """
    made = {**session_claims(), "generation": 0}
    return _plan(identity, made, _check_claims(claims), limit)


def plan_refresh(
    refresh: Claims, claims: Claims | None, limit: timedelta | None
) -> Plan:
    """Plan the tokens that replace a refresh token.

    :param refresh: the claims of the refresh token, which the request has presented.
    :param claims: the app's own claims for both tokens.
    :param limit: the longest lifetime of a session, or ``None``.
    :returns: the plan, with the generation of the refresh token.
    :raises ValueError: if the app passes a claim that it can't set.
    """
    name = jwt_extended.config.identity_claim_key
    subject = refresh.get(name)
    # The app's loaders take what the app passes at login, which may be a user object.
    identity = get_current_user() if jwt_extended.loads_users() else subject
    own = {**_check_claims(claims), name: subject}
    return _plan(identity, session_claims(refresh), own, limit)


def mint(
    plan: Plan, *, generation: int | None = None, fresh: t.Any = False
) -> TokenPair:
    """Make the tokens of a plan.

    :param plan: the plan.
    :param generation: the generation of the refresh token, or ``None`` for that of the
        plan.
    :param fresh: whether the access token is fresh, or for how long.
    :returns: the tokens.
    """
    session = dict(plan.session)
    planned = session.pop("generation", None)
    count = planned if generation is None else generation
    counted = {} if count is None else {"generation": count}
    access = create_access_token(
        plan.identity,
        fresh=fresh,
        expires_delta=False,
        additional_claims={**plan.claims, **session, **_exp(plan.access_exp)},
    )
    refresh = create_refresh_token(
        plan.identity,
        expires_delta=False,
        additional_claims={
            **plan.claims,
            **session,
            **counted,
            **_exp(plan.refresh_exp),
        },
    )
    return TokenPair(access, refresh)


def read(token: str) -> Claims:
    """Return the claims of a token that this process has just made.

    :param token: the encoded token.
    :returns: its claims.
    """
    return t.cast(Claims, jwt.decode(token, options={"verify_signature": False}))


def _plan(
    identity: t.Any, session: Claims, claims: Claims, limit: timedelta | None
) -> Plan:
    now, login_at = session["iat"], session["login_at"]
    end = None if limit is None else int(login_at + limit.total_seconds())
    access, refresh = (_expiry(read_lifetime(x), now, end) for x in LIFETIMES)
    return Plan(identity, session, access, refresh, claims)


def _expiry(lifetime: timedelta | None, now: float, end: int | None) -> int | None:
    ends = [] if end is None else [end]
    if lifetime is not None:
        ends.append(int(now + lifetime.total_seconds()))
    return min(ends, default=None)


def _exp(exp: int | None) -> dict[str, int]:
    return {} if exp is None else {"exp": exp}


def _check_claims(claims: Claims | None) -> Claims:
    reserved = {*OWN_CLAIMS, jwt_extended.config.identity_claim_key}
    found = sorted(reserved & (claims or {}).keys())
    if found:
        raise ValueError(
            f"Invalid additional_claims: {', '.join(found)}. Flask-Logout sets these"
            " claims itself. Remove them."
        )
    return claims or {}
