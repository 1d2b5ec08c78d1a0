"""A store of revocations in Redis: a single server, a Cluster, or behind Sentinels."""

from __future__ import annotations

from ...exceptions import ConfigError

try:
    import redis as redis
except ImportError as e:
    raise ConfigError(
        "LOGOUT_STORE_URI is a Redis URL, but the package redis isn't installed. Run"
        " `pip install 'flask-logout[redis]'`."
    ) from e

from .store import RedisStore as RedisStore
