"""Measures one app with OpenTelemetry. Only apps that set ``LOGOUT_METRICS`` import this.

A check costs so little that the usual counters would add several percent to it. So checks
are counted with plain integers, which OpenTelemetry reads when it exports. Rare events are
counted in the same way, so that their numbers exist, and are 0, before the first event.
Prometheus can't see the increase of a number that begins at 1.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import field

from flask import Flask

from .. import signals
from ..domain.claims import Claims
from ..domain.revocation import Kind
from ..domain.revocation import Revocation
from ..domain.rotation import Outcome
from ..exceptions import StoreUnavailableError
from ..service import LogoutService
from ..stores import Store
from .counters import Tally
from .instruments import apps
from .instruments import instruments
from .store import MeasuredStore

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
        self._reported: dict[tuple[str, str], int] = {}
        self.errors = Tally()
        self.revocations = {kind: Tally() for kind in t.get_args(Kind)}
        self.refreshes: dict[str, Tally] = {x: Tally() for x in t.get_args(Outcome)}
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

    def list_errors(self) -> dict[Attributes, int]:
        """Return how often the store failed."""
        return {self._label(): self.errors.read()}

    def list_revocations(self) -> dict[Attributes, int]:
        """Return the number of revocations by their kind."""
        return {
            self._label(kind=kind): tally.read()
            for kind, tally in self.revocations.items()
        }

    def list_refreshes(self) -> dict[Attributes, int]:
        """Return the number of presented refresh tokens by their outcome."""
        return {
            self._label(outcome=outcome): tally.read()
            for outcome, tally in self.refreshes.items()
        }

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
        for key, number in numbers.items():
            # A check in progress counts as accepted, so the number may be too high.
            self._reported[key] = max(number, self._reported.get(key, 0))
        return {
            self._label(result=result, source=source): self._reported[result, source]
            for result, source in numbers
        }

    def _label(self, **attributes: str) -> Attributes:
        return tuple(self.describe(**attributes).items())

    def _count_revocations(
        self, _: Flask, revocations: t.Sequence[Revocation], **__: t.Any
    ) -> None:
        for revocation in revocations:
            self.revocations[revocation.kind].add()

    def _count_error(self, _: Flask, **__: t.Any) -> None:
        self.errors.add()

    def _count_refresh(self, _: Flask, outcome: str, **__: t.Any) -> None:
        self.refreshes[outcome].add()

    def _count_reuse(self, _: Flask, **__: t.Any) -> None:
        self.refreshes["reuse"].add()


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
