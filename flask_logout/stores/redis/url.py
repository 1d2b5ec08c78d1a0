"""Parse the URL of a Redis server, of a Cluster, or of a service behind Sentinels."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import field
from urllib.parse import urlsplit

from redis.connection import parse_url

from ...exceptions import ConfigError

Kind = t.Literal["single", "cluster", "sentinel"]

SCHEMES: t.Mapping[str, tuple[Kind, str]] = {
    "redis": ("single", "redis"),
    "rediss": ("single", "rediss"),
    "unix": ("single", "unix"),
    "redis+cluster": ("cluster", "redis"),
    "rediss+cluster": ("cluster", "rediss"),
    "redis+sentinel": ("sentinel", "redis"),
    "rediss+sentinel": ("sentinel", "rediss"),
}
"""The accepted schemes, with what each one names and the scheme that redis-py expects."""

_PORTS: t.Mapping[Kind, int] = {"single": 6379, "cluster": 6379, "sentinel": 26379}
_OF_SENTINELS = "sentinel_"


@dataclass(frozen=True)
class Address:
    """The parts of a Redis URL."""

    kind: Kind
    """Whether it names a single server, a Cluster, or Sentinels."""

    place: str
    """The URL without credentials and options, for messages."""

    hosts: t.Sequence[tuple[str, int]] = ()
    """The servers of a Cluster, or the Sentinels. At least one has to reply."""

    service: str = ""
    """The name of the service that the Sentinels watch."""

    url: str = field(default="", repr=False)
    """The URL of a single server, as redis-py expects it."""

    options: t.Mapping[str, t.Any] = field(default_factory=dict, repr=False)
    """The redis-py options for the servers of a Cluster, or for the primary."""

    sentinel_options: t.Mapping[str, t.Any] = field(default_factory=dict, repr=False)
    """The redis-py options for the Sentinels."""


def read_url(uri: str) -> Address:
    """Parse ``LOGOUT_STORE_URI``.

    :param uri: a URL with one of :data:`SCHEMES`.
    :raises ConfigError: the URL is invalid.
    """
    try:
        return _read(uri)
    except (KeyError, ValueError):
        # The message of the original error may contain the URL with its password.
        raise ConfigError(
            "Invalid LOGOUT_STORE_URI. Expected redis://host:port/database,"
            " rediss://host:port/database, unix:///path?db=database,"
            " redis+cluster://host:port,host:port or"
            " redis+sentinel://host:port,host:port/service."
        ) from None


def _read(uri: str) -> Address:
    scheme, _, rest = uri.partition("://")
    kind, client_scheme = SCHEMES[scheme]
    if kind == "single":
        return _read_single(scheme, f"{client_scheme}://{rest}")
    url = urlsplit(f"//{rest}")
    credentials, at, locations = url.netloc.rpartition("@")
    hosts = [_read_host(x, _PORTS[kind]) for x in locations.split(",")]
    path = url.path.strip("/")
    service, _, database = path.partition("/") if kind == "sentinel" else ("", "", path)
    query = f"?{url.query}" if url.query else ""
    options = _parse(f"redis://{credentials}{at}host/{database}{query}")
    del options["host"]
    # A Cluster has only database 0.
    if options.pop("db", 0) if kind == "cluster" else not service:
        raise ValueError
    place = f"{scheme}://{','.join(f'{host}:{port}' for host, port in hosts)}"
    ours = {x: y for x, y in options.items() if not x.startswith(_OF_SENTINELS)}
    theirs = {
        name.removeprefix(_OF_SENTINELS): value
        for name, value in options.items()
        if name.startswith(_OF_SENTINELS)
    }
    if client_scheme == "rediss":
        ours["ssl"] = theirs["ssl"] = True
    return Address(
        kind,
        f"{place}/{service}" if service else place,
        hosts=hosts,
        service=service,
        options=ours,
        sentinel_options=theirs,
    )


def _read_single(scheme: str, url: str) -> Address:
    options = _parse(url)
    database = options.get("db", 0)
    if "path" in options:
        place = f"{scheme}://{options['path']}?db={database}"
    else:
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        place = f"{scheme}://{host}:{port}/{database}"
    return Address("single", place, url=url)


def _read_host(location: str, port: int) -> tuple[str, int]:
    found = urlsplit(f"//{location}")
    if not found.hostname:
        raise ValueError
    return found.hostname, found.port or port


def _parse(url: str) -> dict[str, t.Any]:
    options: dict[str, t.Any] = parse_url(url)  # type: ignore[no-untyped-call]
    if "decode_responses" in options:
        raise ConfigError(
            "Invalid LOGOUT_STORE_URI: it contains decode_responses, but Flask-Logout"
            " stores binary data. Remove that option."
        )
    return options
