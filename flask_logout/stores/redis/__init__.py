"""Revocations in Redis: a single server, a Cluster, or what Sentinels watch."""

from __future__ import annotations

from ...exceptions import ConfigError

try:
    import redis as redis
except ImportError as e:
    raise ConfigError(
        "LOGOUT_STORE_URI names Redis, whose client is not installed. Run: pip install"
        " 'flask-logout[redis]'"
    ) from e

from .store import RedisStore as RedisStore
