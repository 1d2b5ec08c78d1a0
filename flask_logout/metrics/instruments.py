"""The OpenTelemetry instruments."""

from __future__ import annotations

import typing as t
from collections import Counter
from weakref import WeakSet

from ..exceptions import ConfigError

try:
    from opentelemetry import metrics as otel
except ImportError as e:
    raise ConfigError(
        "LOGOUT_METRICS needs the package opentelemetry-api, which isn't installed. Run"
        " `pip install 'flask-logout[metrics]'`, or remove LOGOUT_METRICS."
    ) from e

if t.TYPE_CHECKING:
    from collections.abc import Iterable

    from ..stores.mirror import Mirror


class Instruments:
    """The instruments, which all apps of a process share."""

    def __init__(self) -> None:
        meter = otel.get_meter("flask_logout")
        self.purged = meter.create_counter(
            "flask_logout.purged", description="Expired records that were deleted."
        )
        self.duration = meter.create_histogram(
            "flask_logout.store.duration",
            unit="s",
            description="How long the operations of the store take.",
        )
        meter.create_observable_counter(
            "flask_logout.checks",
            callbacks=[lambda _: _observe(lambda app: app.list_checks())],
            description="Checks by their result and its source.",
        )
        meter.create_observable_counter(
            "flask_logout.revocations",
            callbacks=[lambda _: _observe(lambda app: app.list_revocations())],
            description="Revocations by kind.",
        )
        meter.create_observable_counter(
            "flask_logout.store.errors",
            callbacks=[lambda _: _observe(lambda app: app.list_errors())],
            description="Times that the store failed.",
        )
        meter.create_observable_counter(
            "flask_logout.refreshes",
            callbacks=[lambda _: _observe(lambda app: app.list_refreshes())],
            description="Presented refresh tokens by outcome.",
        )
        meter.create_observable_gauge(
            "flask_logout.mirror.age",
            callbacks=[lambda _: _observe_mirrors(lambda mirror: mirror.age)],
            unit="s",
            description="How old the in-memory mirror is.",
        )
        meter.create_observable_gauge(
            "flask_logout.mirror.keys",
            callbacks=[lambda _: _observe_mirrors(lambda mirror: mirror.keys)],
            description="How many revocation keys the in-memory mirror has.",
        )


apps: WeakSet[t.Any] = WeakSet()
"""The :class:`.AppMetrics` of the apps in this process."""

_made: list[Instruments] = []


def instruments() -> Instruments:
    """Return the instruments, which are made when the first app needs them."""
    if not _made:
        _made.append(Instruments())
    return _made[0]


def _observe(
    read: t.Callable[[t.Any], t.Mapping[tuple[tuple[str, str], ...], int]],
) -> Iterable[otel.Observation]:
    numbers: Counter[tuple[tuple[str, str], ...]] = Counter()
    for each in list(apps):
        numbers.update(read(each))
    return [otel.Observation(number, dict(x)) for x, number in numbers.items()]


def _observe_mirrors(
    read: t.Callable[[Mirror], float | None],
) -> Iterable[otel.Observation]:
    for each in list(apps):
        value = None if each.mirror is None else read(each.mirror)
        if value is not None:
            yield otel.Observation(value, each.describe())
