"""How the figures of each benchmark are drawn: the title says what was found."""

from __future__ import annotations

import typing as t

from matplotlib.axes import Axes

from .purge import P99_TARGET
from .reporting import Row
from .scale import TARGET as SCALE_TARGET

_TEXT, _THEIRS, _OURS = "#595959", "#9c4f14", "#1a7553"
_SHADES = {
    "none": _TEXT,
    "database recipe": _THEIRS,
    "redis recipe": "#7a6708",
    "Flask-Logout": _OURS,
    "Flask-Logout, mirror on": "#1f68a8",
}
_NAMES = {"none": "no check at all", "redis recipe": "Redis recipe"}
STYLE: dict[t.Any, t.Any] = {
    "font.family": "sans-serif",
    "font.size": 11,
    "svg.fonttype": "none",
    "svg.hashsalt": "flask-logout",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 13,
    "axes.titlepad": 16,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color"), _TEXT
    ),
    **dict.fromkeys(("ytick.color", "axes.titlecolor"), _TEXT),
}

Draw = t.Callable[[Axes, t.Sequence[Row]], None]
"""Draws the rows of a benchmark."""


def draw_check_cost(axes: Axes, rows: t.Sequence[Row]) -> None:
    """Draw what a check adds to a request, recipe against us.

    :param axes: where.
    :param rows: of ``check_cost``.
    """
    ours = [row for row in rows if row["check"] == "Flask-Logout"]
    sql = [_number(row, "ratio") for row in ours if row["database"] != "Redis"]
    axes.set_title(
        f"A check costs {min(sql):.0%} to {max(sql):.0%} of the database recipe's"
    )
    _draw_bars(axes, rows, "check", "overhead_us", "added to a request, microseconds")


def draw_logout_cost(axes: Axes, rows: t.Sequence[Row]) -> None:
    """Draw what a whole logout takes, recipe against us.

    :param axes: where.
    :param rows: of ``logout_cost``.
    """
    ours = [_number(row, "ratio") for row in rows if row["logout"] == "Flask-Logout"]
    axes.set_title(
        f"A logout of both tokens takes {min(ours):.0%} to {max(ours):.0%}"
        " of the recipe's time"
    )
    _draw_bars(axes, rows, "logout", "logout_us", "a whole logout, microseconds")


def draw_scale(axes: Axes, rows: t.Sequence[Row]) -> None:
    """Draw the cost of a check by the size of the table.

    :param axes: where.
    :param rows: of ``scale``.
    """
    found = [row for row in rows if row["asked_by"] == "request"]
    small = min(_number(row, "rows") for row in found)
    large = [row for row in found if row["rows"] != small]
    worst = max(_number(row, "ratio") for row in large)
    times = max(_number(row, "rows") for row in large) / small
    axes.set_title(
        f"{times:,.0f} times the rows: a check adds {worst:.2f} times as much to a request"
    )
    for row, color in zip(large, (_OURS, "#1f68a8", _THEIRS), strict=False):
        sizes, costs = (small, _number(row, "rows")), (1.0, _number(row, "ratio"))
        axes.plot(sizes, costs, "o-", color=color, linewidth=2.5)
        label = f"{row['database']} {costs[1]:.2f}"
        _label(axes, label, (sizes[1], costs[1]), color)
    axes.axhline(SCALE_TARGET, color=_TEXT, linestyle=":")
    words = f"target: at most {SCALE_TARGET:g}"
    axes.annotate(words, (small, SCALE_TARGET + 0.02))
    axes.set(xscale="log", ylim=(0, 1.6), xlim=(small * 0.8, small * times * 6))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("rows in the table")
    axes.set_ylabel("cost of a check")


def draw_mirror(axes: Axes, rows: t.Sequence[Row]) -> None:
    """Draw a request with the mirror over the same request with no check.

    :param axes: where.
    :param rows: of ``mirror``.
    """
    worst = max(_number(row, "request_ratio") for row in rows)
    size = max(_number(row, "revocations") for row in rows)
    axes.set_title(
        f"{size:,.0f} revocations in memory: a request takes {worst - 1:.1%} longer"
    )
    for place, row in enumerate(reversed(rows)):
        ratio = _number(row, "request_ratio")
        axes.barh(place, 1, color=_TEXT, height=0.5, alpha=0.5)
        axes.barh(place, ratio - 1, left=1, color=_OURS, height=0.5)
        label = f"{ratio:.3f} ({_number(row, 'memory_rebuild_mb'):.0f} MB at most)"
        _label(axes, label, (ratio, place), _OURS)
    names = [f"mirror of {row['database']}" for row in reversed(rows)]
    axes.set_yticks(range(len(rows)), names)
    axes.set(xlabel="time of a protected request; 1: the same with no check at all")
    axes.set(xlim=(0, 1.5), ylim=(-0.6, len(rows) - 0.2))


def draw_purge(axes: Axes, rows: t.Sequence[Row]) -> None:
    """Draw what checks feel of a purge.

    :param axes: where.
    :param rows: of ``purge``.
    """
    speed = min(_number(row, "rows_per_s") for row in rows)
    worst = max(_number(row, "p99_ratio") for row in rows)
    axes.set_title(
        f"Purging {speed:,.0f}+ rows a second: p99 of checks at most {worst:.1f} times idle"
    )
    for place, row in enumerate(reversed(rows)):
        value = _number(row, "p99_ratio")
        axes.barh(place, value, color=_OURS, height=0.5)
        label = f"{value:.1f} ({_number(row, 'rows_per_s'):,.0f} rows a second)"
        # Beside the line, not across it.
        _label(axes, label, (max(value, P99_TARGET), place), _OURS)
    axes.set_yticks(range(len(rows)), [str(row["database"]) for row in reversed(rows)])
    axes.axvline(P99_TARGET, color=_TEXT, linestyle=":")
    words = f"target: at most {P99_TARGET:g}"
    axes.annotate(words, (P99_TARGET + 0.05, len(rows) - 0.45))
    axes.set(xlabel="p99 of checks during a purge, as a multiple of idle")
    axes.set(xlim=(0, max(6, worst * 1.6)), ylim=(-0.6, len(rows) - 0.2))


def draw_load(axes: Axes, rows: t.Sequence[Row]) -> None:
    """Draw requests per second by the delay of the network.

    :param axes: where.
    :param rows: of ``load``.
    """
    slowest = max(_number(row, "delay_ms") for row in rows)
    at_last = {
        row["check"]: _number(row, "requests_per_s")
        for row in rows
        if row["delay_ms"] == slowest
    }
    gain = at_last["Flask-Logout"] / at_last["database recipe"]
    axes.set_title(
        f"With {slowest:g} ms to the database: {gain:.1f} times the recipe's requests"
    )
    ends = []
    for kind, color in _SHADES.items():
        mine = [row for row in rows if row["check"] == kind]
        if not mine:
            continue
        axes.plot(
            [_number(row, "delay_ms") for row in mine],
            [_number(row, "requests_per_s") for row in mine],
            "o-",
            color=color,
            linewidth=2.5,
        )
        ends.append((_number(mine[-1], "requests_per_s"), kind))
    axes.set_ylim(0, 1.15 * max(_number(row, "requests_per_s") for row in rows))
    _label_ends(axes, slowest, ends)
    axes.set(xlim=(-0.05 * slowest, slowest * 1.5))
    axes.set_xticks(sorted({_number(row, "delay_ms") for row in rows}))
    axes.set(xlabel="network delay per round trip, ms", ylabel="requests per second")


def _draw_bars(
    axes: Axes, rows: t.Sequence[Row], kind: str, value: str, unit: str
) -> None:
    databases = list(dict.fromkeys(str(row["database"]) for row in rows))
    axes.set_yticks([-3 * i - 0.5 for i in range(len(databases))], databases)
    for row in rows:
        is_ours = row[kind] == "Flask-Logout"
        place = -3 * databases.index(str(row["database"])) - (1 if is_ours else 0)
        length = max(_number(row, value), 0)
        color = _OURS if is_ours else _THEIRS
        axes.barh(place, length, color=color, height=0.85)
        name = str(row[kind])
        label = f"{length:,.0f} {_NAMES.get(name, name)}"
        _label(axes, label, (length, place), color)
    axes.set_xlim(0, max(_number(row, value) for row in rows) * 1.5)
    axes.set_xlabel(unit)


def _label_ends(axes: Axes, x: float, ends: t.Sequence[tuple[float, str]]) -> None:
    """Name each line at its end, no two names on top of each other."""
    gap = axes.get_ylim()[1] / 13
    below = -gap
    for y, kind in sorted(ends):
        below = max(y, below + gap)
        _label(axes, _NAMES.get(kind, kind), (x, below), _SHADES[kind])


def _label(axes: Axes, text: str, at: tuple[float, float], color: str) -> None:
    """Write to the right of a place."""
    offset: t.Any = {"xytext": (6, 0), "textcoords": "offset points"}
    axes.annotate(text, at, color=color, va="center", **offset)


def _number(row: Row, name: str) -> float:
    return float(t.cast(float, row[name]))
