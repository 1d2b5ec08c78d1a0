"""An upstream that revokes a token of an OAuth provider (RFC 7009)."""

from __future__ import annotations

import typing as t
from base64 import b64encode
from datetime import timedelta
from queue import Empty
from queue import SimpleQueue
from threading import Thread
from urllib.parse import quote_plus
from uuid import uuid4

import jwt
from flask import current_app

from .. import audit
from .. import clock
from .. import signals
from ..exceptions import ConfigError
from ..exceptions import ExternalAPIError
from ..purging import current_app_object
from ..stores.monotonic import read_uptime
from ..tokens.pair import LogoutTokens
from .oauth_arguments import check_method
from .oauth_arguments import check_timeout
from .oauth_arguments import check_url
from .oauth_arguments import choose
from .oauth_metadata import Metadata
from .oauth_metadata import ProviderFailedError

try:
    import httpx
except ImportError as e:
    raise ConfigError(
        "OAuthRevocation needs the package httpx, which isn't installed. Run `pip install"
        " 'flask-logout[oauth]'`."
    ) from e

# RFC 7523, section 2.2.
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIFETIME = 60

_TIMEOUT = timedelta(seconds=5)

TokenLoader = t.Callable[[LogoutTokens], t.Optional[str]]
"""Takes the tokens of a logout, and returns the provider's token, or ``None``."""


class OAuthRevocation:
    """Revokes the user's token at an identity provider. Pass it to ``logout.upstream``.

    It connects again once if the connection breaks. Redirects are not followed.

    :param endpoint: the URL of the provider's revocation endpoint.
    :param issuer: the issuer of the provider, whose metadata names that endpoint
        (RFC 8414, OpenID Connect Discovery 1.0). Pass either this or ``endpoint``.
    :param client_id: the id of the app at the provider.
    :param client_secret: the secret of the app at the provider.
    :param private_key: the private key of the app in PEM format, for
        ``private_key_jwt``. Pass either this or ``client_secret``.
    :param algorithm: the algorithm of that key.
    :param auth_method: how the app authenticates: ``"client_secret_basic"`` (the default
        with a secret), ``"client_secret_post"``, or ``"private_key_jwt"`` (the default
        with a key).
    :param token: returns the provider's token for a logout, or ``None`` if there is
        nothing to revoke. It runs in the request, and may be a coroutine function.
    :param token_type_hint: the type of that token.
    :param timeout: how long a logout waits at most, in total, as a ``timedelta`` or in
        seconds.
    :param required: whether the logout fails if the provider doesn't revoke the token. If
        ``False``, the failure is logged and sent as the signal :data:`upstream_failed`.
    :param name: the name of the provider in responses and logs, by default its host.
    :raises ConfigError: if an argument is invalid.
    """

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        issuer: str | None = None,
        client_id: str,
        client_secret: str | None = None,
        private_key: str | None = None,
        algorithm: str = "RS256",
        auth_method: str | None = None,
        token: TokenLoader,
        token_type_hint: str = "refresh_token",
        timeout: timedelta | float = _TIMEOUT,
        required: bool = True,
        name: str | None = None,
    ) -> None:
        self._endpoint, self._issuer = endpoint, issuer
        host = check_url(*choose("endpoint", endpoint, "issuer", issuer))
        self._client_id = client_id
        _, self._secret = choose(
            "client_secret", client_secret, "private_key", private_key
        )
        default = "private_key_jwt" if private_key else "client_secret_basic"
        self._method = check_method(auth_method or default, private_key is not None)
        self._token = token
        self._hint = token_type_hint
        self._timeout = check_timeout(timeout)
        self._required = required
        self.name = name or host
        self._algorithm = algorithm
        self._metadata = Metadata(issuer) if issuer else None
        # Logouts are rare, and a connection that is kept must not be shared after a fork.
        self._client = httpx.Client(
            limits=httpx.Limits(max_keepalive_connections=0), follow_redirects=False
        )

    def __call__(self, pair: LogoutTokens) -> None:
        """Revoke the provider's token of a logout.

        :param pair: the verified tokens of the logout.
        :raises ExternalAPIError: if the provider didn't revoke it and it is required.
        """
        token = current_app.ensure_sync(self._token)(pair)
        if not token:
            return
        try:
            self._revoke_in_time(token)
        except ProviderFailedError as e:
            if self._required:
                raise ExternalAPIError(
                    details={"upstream": self.name, "status": e.status}
                ) from e
            audit.log_upstream_failed(self.name, e.status, str(e))
            signals.send(
                signals.upstream_failed,
                current_app_object(),
                upstream=self.name,
                status=e.status,
            )

    def _revoke_in_time(self, token: str) -> None:
        """Revoke a token in a thread, because a slow response can take any time."""
        outcome: SimpleQueue[ProviderFailedError | None] = SimpleQueue()
        deadline = read_uptime() + self._timeout

        def run() -> None:
            try:
                self._revoke(token, deadline)
                outcome.put(None)
            except ProviderFailedError as e:
                outcome.put(e)
            except Exception as e:  # noqa: B902  the other thread must not wait in vain
                outcome.put(ProviderFailedError(type(e).__name__))

        Thread(target=run, daemon=True).start()
        try:
            failed = outcome.get(timeout=self._timeout)
        except Empty:
            raise ProviderFailedError("it did not respond in time") from None
        if failed is not None:
            raise failed

    def _revoke(self, token: str, deadline: float) -> None:
        def send() -> httpx.Response:
            url, remaining = self._endpoint, _remaining(deadline)
            if url is None:
                metadata = t.cast(Metadata, self._metadata)
                url = metadata.find_endpoint(self._client, remaining)
            headers, credentials = self._authenticate()
            form = {"token": token, "token_type_hint": self._hint, **credentials}
            return self._client.post(url, data=form, headers=headers, timeout=remaining)

        response = _retry(send, deadline)
        if not response.is_success:
            raise ProviderFailedError("it rejected the request", response.status_code)

    def _authenticate(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the headers and the parameters that authenticate the app."""
        name, secret = self._client_id, self._secret
        if self._method == "client_secret_basic":
            # Both are encoded as in a form first (RFC 6749 2.3.1).
            pair = f"{quote_plus(name)}:{quote_plus(secret)}".encode()
            return {"Authorization": f"Basic {b64encode(pair).decode()}"}, {}
        if self._method == "client_secret_post":
            return {}, {"client_id": name, "client_secret": secret}
        now = int(clock.now().timestamp())
        claims = {
            "iss": name,
            "sub": name,
            "aud": self._issuer or self._endpoint,
            "jti": str(uuid4()),
            "iat": now,
            "exp": now + _ASSERTION_LIFETIME,
        }
        assertion = jwt.encode(claims, secret, self._algorithm)
        return {}, {
            "client_id": name,
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": assertion,
        }


def _retry(send: t.Callable[[], httpx.Response], deadline: float) -> httpx.Response:
    """Send a request, once more if the connection fails. Revoking twice is safe."""
    try:
        return send()
    except httpx.TransportError as e:
        if isinstance(e, httpx.ReadTimeout) or read_uptime() > deadline:
            raise ProviderFailedError(type(e).__name__) from e
    try:
        return send()
    except httpx.TransportError as e:
        raise ProviderFailedError(type(e).__name__) from e


def _remaining(deadline: float) -> float:
    return max(0.01, deadline - read_uptime())
