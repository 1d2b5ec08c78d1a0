"""Create redis-py clients for a single server, a Cluster, or behind Sentinels."""

from __future__ import annotations

import typing as t

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.cluster import RedisCluster
from redis.exceptions import ConnectionError as DeadConnectionError
from redis.retry import Retry
from redis.sentinel import Sentinel

from .url import Address

# redis-py before 6 doesn't limit the pool either: each thread has its own connection.
_MAX_CONNECTIONS = 1 << 31


def make_client(address: Address, seconds: float) -> t.Any:
    """Create a client of redis-py, which connects when it is first used.

    :param seconds: how long to wait for a server.
    """
    options = {**_waits(seconds), "max_connections": _MAX_CONNECTIONS}
    if address.kind == "cluster":
        return _make_cluster(address, options)
    # Retry if a pooled connection was closed, but not if the server doesn't reply.
    options["retry"] = Retry(NoBackoff(), 1, supported_errors=(DeadConnectionError,))
    if address.kind == "single":
        return redis.Redis.from_url(address.url, **options)
    return _make_watched(address, seconds, options)


def _make_cluster(address: Address, options: dict[str, t.Any]) -> t.Any:
    make: t.Any = ClusterNode  # untyped
    nodes = [make(host, port) for host, port in address.hosts]
    return RedisCluster(
        startup_nodes=nodes,
        **{"retry": Retry(NoBackoff(), 1), **options, **address.options},
    )


def _make_watched(address: Address, seconds: float, options: dict[str, t.Any]) -> t.Any:
    # A Sentinel that doesn't reply must leave time for the others.
    waits = _waits(seconds / (len(address.hosts) + 1))
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        list(address.hosts), sentinel_kwargs={**waits, **address.sentinel_options}
    )
    return sentinel.master_for(  # type: ignore[no-untyped-call]
        address.service, **{**options, **address.options}
    )


def _waits(seconds: float) -> dict[str, t.Any]:
    return {"socket_timeout": seconds, "socket_connect_timeout": seconds}
