"""The URL of a Redis."""

from __future__ import annotations

import typing as t

from redis.connection import parse_url

from ...errors import ConfigError

SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "redis+cluster": "redis",
    "rediss+cluster": "rediss",
}
"""The schemes that are taken, and what the client calls each."""


def check_url(scheme: str, url: str, *, is_cluster: bool) -> str:
    """Check a URL, and tell its place without the credentials that are in it.

    :param scheme: how it was written.
    :param url: how the client takes it.
    :param is_cluster: whether it names a Cluster.
    :returns: the place.
    :raises ConfigError: it is wrong; the message names the remedy.
    """
    try:
        options: dict[str, t.Any] = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        # What it says may repeat the URL.
        raise ConfigError(
            "LOGOUT_STORE_URI is no URL of Redis. Write it as one of"
            f" {', '.join(x + '://' for x in SCHEMES)} with host, port and database."
        ) from None
    if "decode_responses" in options:
        raise ConfigError("Take decode_responses out of LOGOUT_STORE_URI.")
    database = options.get("db", 0)
    if is_cluster and (database or "host" not in options):
        raise ConfigError(
            "LOGOUT_STORE_URI names a Redis Cluster, which needs a host and has no"
            " database but 0. Write it as redis+cluster://host:port."
        )
    if "path" in options:
        return f"{scheme}://{options['path']}?db={database}"
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    return f"{scheme}://{host}:{port}/{database}"
