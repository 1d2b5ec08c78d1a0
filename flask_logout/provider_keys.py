"""Fetches the public keys of an identity provider (RFC 7517), rarely and within limits."""

from __future__ import annotations

import json
import typing as t
import urllib.request
from http.client import HTTPException
from importlib.util import find_spec

import jwt
from jwt import PyJWK
from jwt import PyJWKClient
from jwt import PyJWKClientError
from jwt import PyJWKSet
from jwt.jwk_set_cache import JWKSetCache

from .exceptions import ConfigError
from .stores.fork_safety import ProcessLock
from .stores.monotonic import read_uptime

if find_spec("cryptography") is None:
    raise ConfigError(
        "LOGOUT_BACKCHANNEL needs the package cryptography, which isn't installed. Run `pip"
        " install 'flask-logout[backchannel]'`, or remove LOGOUT_BACKCHANNEL."
    )

PAUSE = 10
"""The least number of seconds between two fetches. An unknown key id, which anyone can
invent, causes a fetch."""

LIFESPAN = 300
"""How many seconds the keys are used before they are fetched again."""

TIMEOUT = 5
"""How many seconds the provider may take for each read."""

# Keys of an unexpected form make PyJWT raise the last three.
_FETCH_ERRORS = (
    *(OSError, HTTPException, ValueError, jwt.PyJWTError),
    *(AttributeError, LookupError, TypeError),
)

MAX_SIZE = 1 << 19
"""How many bytes the keys of a provider may have."""


class ProviderUnavailableError(Exception):
    """The keys of the provider can't be read."""


class SigningKeys(PyJWKClient):
    """The keys of one provider.

    :param uri: where they are, an HTTPS URL.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri, cache_keys=False, lifespan=LIFESPAN, timeout=TIMEOUT)
        self._lock = ProcessLock()
        self._fetched_at = self._tried_at = -PAUSE * 1.0
        self._keys: dict[str, t.Any] = {}

    def find(self, token: str) -> PyJWK:
        """Find the key that has signed a token.

        :param token: the token, of which only the header is read.
        :raises jwt.PyJWTError: if the token is malformed or the provider has no such key.
        :raises ProviderUnavailableError: if the provider can't be reached.
        """
        kid = jwt.get_unverified_header(token).get("kid")
        if kid is not None:
            return self.get_signing_key(kid)
        keys = self.get_jwk_set().keys
        # OpenID Connect Core 10.1: without a kid, the provider must have a single key.
        if len(keys) != 1:
            raise PyJWKClientError("The token has no kid")
        return keys[0]

    def fetch_data(self) -> t.Any:
        """Fetch the keys, unless another thread has just fetched them.

        :raises PyJWKClientError: if the last fetch was less than :data:`PAUSE` ago.
        :raises ProviderUnavailableError: if that fetch or this one failed.
        """
        asked_at = read_uptime()
        with self._lock():
            # Another thread may have fetched them while this one waited.
            return self._keys if self._fetched_at >= asked_at else self._fetch()

    def _fetch(self) -> dict[str, t.Any]:
        now = read_uptime()
        if now - self._tried_at < PAUSE:
            if self._fetched_at < self._tried_at:
                raise ProviderUnavailableError("The keys of the provider can't be read")
            raise PyJWKClientError("The provider has no such key")
        self._tried_at = now
        try:
            with _OPENER.open(self.uri, timeout=TIMEOUT) as response:
                found = _read(response)
            # Old versions of PyJWT store what they don't understand.
            PyJWKSet.from_dict(found)
            t.cast(JWKSetCache, self.jwk_set_cache).put(found)
        except _FETCH_ERRORS as e:
            raise ProviderUnavailableError(
                f"The keys of the provider can't be read: {type(e).__name__}"
            ) from e
        self._keys, self._fetched_at = found, read_uptime()
        return found


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Rejects redirects, which could lead to other servers, such as internal ones."""

    def redirect_request(self, *_: t.Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _read(response: t.Any) -> dict[str, t.Any]:
    body = response.read(MAX_SIZE + 1)
    if len(body) > MAX_SIZE:
        raise ValueError("too large")
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found
