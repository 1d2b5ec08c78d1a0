"""Revocations in Redis, or whatever speaks its protocol."""

from __future__ import annotations

from .store import RedisStore as RedisStore
