"""Receives the logouts of identity providers (OpenID Connect Back-Channel Logout 1.0).

Only apps that enable the endpoint ``backchannel_logout`` import this module.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import replace
from datetime import datetime
from datetime import timezone

import jwt
from flask import current_app

from . import tokens
from .config.backchannel import Provider
from .config.jwt_settings import read_leeway
from .domain.claims import Claims
from .domain.revocation import Revocation
from .domain.revocation_keys import make_key
from .provider_keys import SigningKeys
from .service import get_service

EVENT = "http://schemas.openid.net/event/backchannel-logout"
"""The member of ``events`` that makes a token a logout token."""

_REQUIRED = ["iss", "aud", "iat", "exp", "jti", "events"]


class LogoutTokenError(Exception):
    """The logout token is invalid. The message says why, without parts of the token."""


@dataclass(frozen=True)
class LogoutToken:
    """A logout token that is verified."""

    issuer: str

    sid: str | None
    """The session at the provider, or ``None`` for all sessions of the subject."""

    subject: str | None

    key: bytes
    """The key under which its use is recorded."""

    claims: Claims


class BackchannelService:
    """Verifies logout tokens, and revokes what they name.

    :param providers: the providers by their issuer.
    """

    def __init__(self, providers: t.Mapping[str, Provider]) -> None:
        self._providers = providers
        self._keys = {name: SigningKeys(x.jwks_uri) for name, x in providers.items()}

    def log_out(self, encoded_token: str) -> None:
        """Revoke the session or all logins of the user that a logout token names.

        :param encoded_token: the logout token.
        :raises LogoutTokenError: if the token is invalid or has been used before.
        :raises ProviderUnavailableError: if the keys of the provider can't be read.
        :raises StoreUnavailableError: if the store can't be reached.
        """
        service = get_service()
        token = self._verify(encoded_token)
        revocations = self._choose(token)
        if not revocations:
            return
        # In a Cluster, both are stored by one script, because they have the same subject.
        subject = revocations[0].subject
        if service.store.find([token.key], subject=subject):
            raise LogoutTokenError("The logout token has been used")
        used = Revocation(
            token.key,
            "token",
            service.make.retention().of_token(token.claims),
            subject=subject,
        )
        service.revoke(
            revocations, reason="backchannel_logout", actor=token.issuer, record=[used]
        )

    def _verify(self, encoded_token: str) -> LogoutToken:
        """Validate a logout token (section 2.6)."""
        try:
            issuer = _read_issuer(encoded_token)
            provider = self._providers[issuer]
            key = self._keys[issuer].find(encoded_token)
            claims = jwt.decode(
                encoded_token,
                key.key,
                algorithms=list(provider.algorithms),
                audience=provider.client_id,
                issuer=issuer,
                leeway=read_leeway(),
                options={"require": _REQUIRED},
            )
        except KeyError as e:
            raise LogoutTokenError("The issuer is not configured") from e
        except (jwt.PyJWTError, TypeError, ValueError, RecursionError) as e:
            raise LogoutTokenError(f"The token is invalid: {type(e).__name__}") from e
        _check_claims(claims)
        return LogoutToken(
            issuer,
            claims.get("sid"),
            claims.get("sub"),
            make_key("logout_token", issuer, claims["jti"]),
            claims,
        )

    def _choose(self, token: LogoutToken) -> list[Revocation]:
        """Choose what to revoke, as the app's loader says, or by the provider's names."""
        service = get_service()
        loader = service.loaders.backchannel
        if loader is None:
            if token.sid is not None:
                return service.make.of_issuer("session", token.issuer, token.sid)
            made = service.make.of_issuer("subject", token.issuer, token.subject)
            return [_cover(revocation, token.claims) for revocation in made]
        named = current_app.ensure_sync(loader)(token.claims)
        if named is None:
            return []
        if named.keys() == {"sid"}:
            return service.make.of_session(named["sid"])
        if named.keys() == {"identity"}:
            return service.make.of_subject(tokens.subject_for(named["identity"]))
        raise TypeError(
            "The backchannel_loader returned a mapping with other keys. Expected"
            ' {"sid": …}, {"identity": …}, or None.'
        )


def _cover(revocation: Revocation, claims: Claims) -> Revocation:
    """Cover the tokens of a provider whose clock is ahead, as far as the leeway allows."""
    issued_at = datetime.fromtimestamp(claims["iat"], timezone.utc)
    cutoff = revocation.cutoff
    return replace(revocation, cutoff=cutoff and max(cutoff, issued_at))


def _read_issuer(encoded_token: str) -> str:
    unverified = jwt.decode(encoded_token, options={"verify_signature": False})
    # Only a key of the dict of providers. What counts is verified with the signature.
    return str(unverified["iss"])


def _check_claims(claims: Claims) -> None:
    events = claims["events"]
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise LogoutTokenError("The token is no logout token")
    if "nonce" in claims:
        raise LogoutTokenError("A logout token has no nonce")
    names = [claims[x] for x in ("sid", "sub") if claims.get(x) is not None]
    if not names:
        raise LogoutTokenError("The token has neither sid nor sub")
    if not all(isinstance(x, str) and x for x in [*names, claims["jti"]]):
        raise LogoutTokenError("The claims sid, sub and jti must be strings")
