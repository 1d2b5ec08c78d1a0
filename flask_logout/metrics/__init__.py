"""Measures one app with OpenTelemetry. Only apps that set ``LOGOUT_METRICS`` import this.

A check costs so little that the usual counters would add several percent to it. So checks
are counted with plain integers, which OpenTelemetry reads when it exports.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import field

from flask import Flask

from .. import signals
from ..claims import Claims
from ..exceptions import StoreUnavailableError
from ..revocation import Revocation
from ..service import LogoutService
from ..stores import Store
from .instruments import apps
from .instruments import instruments
from .store import MeasuredStore
from .tally import Tally

if t.TYPE_CHECKING:
    from ..stores.mirror import Mirror

SAMPLED = 511
"""The duration of a check's query is measured if its number has none of these bits, so for
one in 512 checks."""

Attributes = tuple[tuple[str, str], ...]


class AppMetrics:
    """The numbers of one app."""

    def __init__(self, app: Flask, *, has_mirror: bool) -> None:
        self._app = app
        self._has_mirror = has_mirror
        self.checks, self.revoked, self.failed, self.asked = (Tally() for _ in range(4))
        self._reported: dict[Attributes, int] = {}
        self.mirror: Mirror | None = None
        signals.revoked.connect(self._count_revocations, app)
        signals.store_unavailable.connect(self._count_error, app)
        signals.session_refreshed.connect(self._count_refresh, app)
        signals.reuse_detected.connect(self._count_reuse, app)
        apps.add(self)
        # OpenTelemetry reads some of them without being told that there is a number.
        instruments()

    def measure(self, store: Store) -> Store:
        """Wrap a store, so that its operations are measured."""
        measured = MeasuredStore(store, self, has_mirror=self._has_mirror)
        return t.cast(Store, measured)

    def make_service(self, store: Store, **others: t.Any) -> MeasuredService:
        """Make the service of the app. See :class:`.LogoutService`."""
        timed = store
        if self._has_mirror:
            self.mirror = t.cast("Mirror", store)
        else:
            timed = t.cast(MeasuredStore, store).measure_find()
        plain = LogoutService(store=timed, **others)
        return MeasuredService(store=store, metrics=self, timed=plain, **others)

    def describe(self, **attributes: str) -> dict[str, str]:
        """Return attributes, and the name of the app."""
        return {"app": self._app.name, **attributes}

    def list_checks(self) -> dict[Attributes, int]:
        """Return the number of checks by their result and its source.

        No number decreases, because Prometheus would mistake that for a restart.
        """
        failed, revoked = self.failed.read(), self.revoked.read()
        accepted = max(0, self.checks.read() - failed - revoked)
        asked = self.asked.read() if self._has_mirror else accepted + revoked
        by_store = min(accepted, max(0, asked - revoked))
        numbers = {
            ("accepted", "mirror"): accepted - by_store,
            ("accepted", "store"): by_store,
            ("revoked", "store"): revoked,
            ("error", "store"): failed,
        }
        for (result, source), number in numbers.items():
            key = tuple(self.describe(result=result, source=source).items())
            # A check in progress counts as accepted, so the number may be too high.
            self._reported[key] = max(number, self._reported.get(key, 0))
        return dict(self._reported)

    def _count_revocations(
        self, _: Flask, revocations: t.Sequence[Revocation], **__: t.Any
    ) -> None:
        for revocation in revocations:
            instruments().revocations.add(1, self.describe(kind=revocation.kind))

    def _count_error(self, _: Flask, **__: t.Any) -> None:
        instruments().errors.add(1, self.describe())

    def _count_refresh(self, _: Flask, outcome: str, **__: t.Any) -> None:
        instruments().refreshes.add(1, self.describe(outcome=outcome))

    def _count_reuse(self, _: Flask, **__: t.Any) -> None:
        instruments().refreshes.add(1, self.describe(outcome="reuse"))


@dataclass(frozen=True)
class MeasuredService(LogoutService):
    """A service that counts its checks."""

    metrics: AppMetrics = field(kw_only=True, repr=False)

    timed: LogoutService = field(kw_only=True, repr=False)
    """The same service, whose store is measured."""

    def is_revoked(self, claims: Claims) -> bool:
        metrics = self.metrics
        service = self if metrics.checks.add() & SAMPLED else self.timed
        try:
            found = LogoutService.is_revoked(service, claims)
        except StoreUnavailableError:
            metrics.failed.add()
            raise
        if found:
            metrics.revoked.add()
        return found
