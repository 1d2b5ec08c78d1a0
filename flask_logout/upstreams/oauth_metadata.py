"""Reads the metadata of an issuer (RFC 8414, OpenID Connect Discovery 1.0)."""

from __future__ import annotations

import json
import typing as t
from urllib.parse import urlsplit

from ..config.value_types import check_provider_url
from ..stores.monotonic import read_uptime

if t.TYPE_CHECKING:
    import httpx

LIFESPAN = 3600
"""How many seconds the metadata of an issuer is used before it is read again."""

MAX_SIZE = 1 << 19
"""How many bytes the metadata of an issuer may have."""


class ProviderFailedError(Exception):
    """The provider did not do what it was asked for.

    :param cause: why, without parts of a token.
    :param status: the status of its response, or ``None`` if there was none.
    """

    def __init__(self, cause: str, status: int | None = None) -> None:  # noqa: B042
        super().__init__(cause)
        self.status = status


class Metadata:
    """The metadata of one issuer.

    :param issuer: the URL of the issuer.
    """

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._known: tuple[float, str] | None = None

    def find_endpoint(self, client: httpx.Client, timeout: float) -> str:
        """Return the revocation endpoint that the metadata names.

        :param client: sends the request.
        :param timeout: how long to wait for each part of a response, in seconds.
        :raises ProviderFailedError: if the metadata can't be read or is invalid.
        """
        if self._known is not None and read_uptime() < self._known[0]:
            return self._known[1]
        issuer = self._issuer
        failed = ProviderFailedError("it has no metadata")
        for url in _list_urls(issuer):
            status, metadata = _read(client, url, timeout)
            if metadata is None:
                failed = ProviderFailedError("its metadata can't be read", status)
                continue
            # Otherwise the metadata of another issuer could be used (RFC 8414 3.3).
            if metadata.get("issuer") != issuer:
                raise ProviderFailedError("its metadata names another issuer")
            endpoint = metadata.get("revocation_endpoint")
            try:
                found = check_provider_url(str(endpoint))
            except ValueError:
                raise ProviderFailedError(
                    "its metadata has no revocation_endpoint"
                ) from None
            self._known = (read_uptime() + LIFESPAN, found)
            return found
        raise failed


def _list_urls(issuer: str) -> list[str]:
    url = urlsplit(issuer)
    path = url.path.rstrip("/")
    base = f"{url.scheme}://{url.netloc}"
    return [
        f"{base}/.well-known/oauth-authorization-server{path}",
        f"{base}{path}/.well-known/openid-configuration",
    ]


def _read(
    client: httpx.Client, url: str, timeout: float
) -> tuple[int, dict[str, t.Any] | None]:
    body = b""
    with client.stream("GET", url, timeout=timeout) as response:
        if response.status_code != 200:
            return response.status_code, None
        for part in response.iter_bytes():
            body += part
            if len(body) > MAX_SIZE:
                return response.status_code, None
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    return response.status_code, found if isinstance(found, dict) else None
