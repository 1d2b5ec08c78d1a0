"""Draw what the docs show, and write the tables they include, from the JSON files.

Run ``python -m benchmarks.all --json-dir DIR`` first. A file that is missing leaves its
plot as it was. The background is white, so that the text has enough contrast on a
dark page too.
"""

from __future__ import annotations

import argparse
import typing as t
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from . import drawing
from .reporting import read_rows
from .reporting import Row
from .reporting import show

_DOCS = Path(__file__).parent.parent / "docs"
_PLOTS: dict[str, drawing.Draw] = {
    "check_cost": drawing.draw_check_cost,
    "logout_cost": drawing.draw_logout_cost,
    "scale": drawing.draw_scale,
    "mirror": drawing.draw_mirror,
    "purge": drawing.draw_purge,
    "load": drawing.draw_load,
}
_COLUMNS = {
    "round_trips": ("driver", "of", "what", "round_trips"),
    "check_cost": ("database", "check", "ratio", "ratio_low", "ratio_high", "target"),
    "logout_cost": (
        "database",
        "logout",
        "requests",
        "ratio",
        "ratio_low",
        "ratio_high",
    ),
    "scale": (
        *("database", "asked_by", "rows", "ratio", "ratio_low", "ratio_high"),
        "target",
    ),
    "mirror": (
        *("database", "revocations", "request_ratio", "served_ratio", "crowd_ratio"),
        "fill_keys_per_s",
        *("memory_mb", "memory_rebuild_mb", "false_positives"),
    ),
    "purge": ("database", "rows", "purged", "rows_per_s", "p99_ratio"),
    "load": ("check", "delay_ms", "requests_per_s", "ratio", "p50_ms", "p99_ms"),
    "simulation": ("question", "of", "value", "unit"),
}


def _save(draw: drawing.Draw, rows: t.Sequence[Row], path: Path) -> None:
    figure = Figure(figsize=(8, 4), layout="constrained")
    draw(figure.subplots(), rows)
    figure.savefig(path, facecolor="white", metadata={"Date": None})


def _write_table(rows: t.Sequence[Row], columns: t.Sequence[str], path: Path) -> None:
    lines = [
        ".. csv-table::",
        "    :class: figures",
        "    :header-rows: 1",
        "",
        "    " + ", ".join(f'"{name.replace("_", " ")}"' for name in columns),
    ]
    for row in rows:
        lines.append("    " + ", ".join(f'"{_cell(row[name])}"' for name in columns))
    path.write_text("\n".join(lines) + "\n")


def _cell(value: object) -> str:
    # A hyphen would begin a list.
    return "—" if value is None else show(value)


def main() -> None:
    """Draw and write what there are figures for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--docs", type=Path, default=_DOCS, help="default: docs/")
    options = parser.parse_args()
    static = options.docs / "_static"
    static.mkdir(exist_ok=True)
    for name, columns in _COLUMNS.items():
        source = options.json_dir / f"{name}.json"
        if not source.exists():
            print(f"{source} is missing")
            continue
        rows = read_rows(source)
        _write_table(rows, columns, static / f"{name}.txt")
        if name in _PLOTS:
            with mpl.rc_context(drawing.STYLE):
                _save(_PLOTS[name], rows, static / f"{name}.svg")


if __name__ == "__main__":
    main()
