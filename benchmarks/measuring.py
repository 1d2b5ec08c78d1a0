"""Fair timing: what is compared takes turns, in one process, in short rounds."""

from __future__ import annotations

import math
import random
import statistics
import time
import typing as t

T = t.TypeVar("T")

Samples = dict[str, list[float]]
"""Seconds per call of each subject, one value per round, rounds in the same order."""


_TIMES = range(400)


class Spread(t.NamedTuple):
    """A middle, and how far from it four fifths of the rounds lie."""

    median: float
    low: float
    high: float


def alternate(
    subjects: t.Mapping[str, t.Callable[[], object]], *, rounds: int, calls: int
) -> Samples:
    """Time subjects in turns, so that a disturbance hits all of them alike.

    :param subjects: what to call, by name.
    :param rounds: how many rounds, 1 or more.
    :param calls: how many calls in a row each subject has in a round, 1 or more.
    :returns: the seconds per call, round by round.
    """
    samples: Samples = {name: [] for name in subjects}
    for call in subjects.values():
        time_calls(call, calls)
    order = list(subjects)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            samples[name].append(time_calls(subjects[name], calls))
    return samples


def time_calls(call: t.Callable[[], object], calls: int) -> float:
    """Time some calls in a row.

    :param call: what to call.
    :param calls: how often, 1 or more.
    :returns: seconds per call.
    """
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def spread(values: t.Iterable[float]) -> Spread:
    """Give the median and the tenth and ninetieth percentile.

    :param values: one or more values.
    :returns: the three.
    """
    ordered = sorted(values)
    return Spread(
        statistics.median(ordered), percentile(ordered, 10), percentile(ordered, 90)
    )


def percentile(ordered: t.Sequence[float], percent: float) -> float:
    """Find the smallest value that so many of all values do not exceed.

    :param ordered: one or more values, ascending.
    :param percent: 0 to 100.
    :returns: the value, one of those given.
    """
    index = math.ceil(len(ordered) * percent / 100) - 1
    return ordered[max(index, 0)]


def overheads(samples: Samples, name: str, base: str) -> list[float]:
    """Subtract one subject from another, round by round.

    :param samples: the rounds.
    :param name: the dearer subject.
    :param base: the subject without what is measured.
    :returns: seconds per round.
    """
    return [a - b for a, b in zip(samples[name], samples[base], strict=True)]


def ratio(numerators: t.Sequence[float], denominators: t.Sequence[float]) -> Spread:
    """Divide two medians, and resample the rounds to learn how sure that is.

    :param numerators: one value per round.
    :param denominators: one value per round.
    :returns: the quotient of the medians, and the bounds of nine in ten resamplings.
    :raises RuntimeError: noise has swallowed what the rounds were to measure.
    """
    pairs = list(zip(numerators, denominators, strict=True))
    return _resample(pairs, _divide_medians)


def paired_ratio(
    numerators: t.Sequence[float], denominators: t.Sequence[float]
) -> Spread:
    """Divide round by round, which tells apart what differs by a hundredth.

    A machine that is slow for a while is slow for both of a short round.

    :param numerators: one value per round.
    :param denominators: one value per round, more than 0.
    :returns: the median of the quotients, and the bounds of nine in ten resamplings.
    """
    quotients = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return _resample(quotients, statistics.median)


def _resample(rounds: t.Sequence[T], estimate: t.Callable[[list[T]], float]) -> Spread:
    chooser = random.Random(0)
    resampled = sorted(estimate(chooser.choices(rounds, k=len(rounds))) for _ in _TIMES)
    low, high = percentile(resampled, 5), percentile(resampled, 95)
    return Spread(estimate(list(rounds)), low, high)


def _divide_medians(pairs: t.Sequence[tuple[float, float]]) -> float:
    numerator = statistics.median(pair[0] for pair in pairs)
    denominator = statistics.median(pair[1] for pair in pairs)
    if denominator <= 0:
        raise RuntimeError("the machine is too noisy to measure this: try again")
    return numerator / denominator
