"""Measures the stores."""

from __future__ import annotations

import time
import typing as t
from functools import partial
from types import EllipsisType

from ..domain.revocation import Revocation
from ..stores import Store
from .counters import Tally
from .instruments import instruments

_TIMED = frozenset(
    {
        "add",
        "changes",
        "end",
        "find",
        "list_active",
        "purge",
        "revoke_once",
        "rotate",
        "rotate_unrevoked",
        "start",
    }
)
_ROTATIONS = frozenset({"rotate", "rotate_unrevoked"})


class Metrics(t.Protocol):
    """The numbers of one app."""

    asked: Tally

    refreshes: dict[str, Tally]

    def describe(self, **attributes: str) -> dict[str, str]: ...


class MeasuredOperations:
    """Measures how long the operations of a store take."""

    def __init__(self, inner: t.Any, metrics: Metrics, prefix: str = "") -> None:
        self._inner = inner
        self._metrics = metrics
        self._prefix = prefix

    def __getattr__(self, name: str) -> t.Any:
        value = getattr(self._inner, name)
        return partial(self._time, name, value) if name in _TIMED else value

    def _time(self, name: str, call: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        began_at = time.perf_counter()
        try:
            found = call(*args, **kwargs)
        finally:
            seconds = time.perf_counter() - began_at
            attributes = self._metrics.describe(operation=f"{self._prefix}{name}")
            instruments().duration.record(seconds, attributes)
        if name == "purge" and found:
            instruments().purged.add(found, self._metrics.describe())
        elif name in _ROTATIONS and found and found[0] == "refused":
            # No signal reports this outcome.
            self._metrics.refreshes["refused"].add()
        return found


class MeasuredStore(MeasuredOperations):
    """Measures a store of revocations.

    :param inner: the store.
    :param metrics: the numbers of the app.
    :param has_mirror: whether a mirror calls it. Otherwise every check calls ``find()``,
        and the service measures some of them.
    """

    def __init__(self, inner: Store, metrics: Metrics, *, has_mirror: bool) -> None:
        super().__init__(inner, metrics)
        self.find = self._find_and_count if has_mirror else inner.find

    def open_sessions(self, policy: t.Any) -> t.Any:
        sessions = self._inner.open_sessions(policy)
        return MeasuredOperations(sessions, self._metrics, "sessions.")

    def measure_find(self) -> Store:
        """Return a view of this store that measures every ``find()``."""
        return t.cast(Store, MeasuredOperations(self._inner, self._metrics))

    def _find_and_count(
        self, keys: t.Collection[bytes], *, subject: str | None | EllipsisType = ...
    ) -> list[Revocation]:
        found = self._time("find", self._inner.find, keys, subject=subject)
        # Not before the call, because a failed check counts as an error.
        self._metrics.asked.add()
        return t.cast("list[Revocation]", found)
