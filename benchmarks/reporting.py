"""What every benchmark shares: its options, its table, its JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import typing as t
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version
from pathlib import Path

Row = dict[str, t.Union[str, float, int, bool, None]]
"""One line of a table: a value for each column, the unit in the column's name."""

_LIBRARIES = (
    *("flask", "flask-jwt-extended", "sqlalchemy", "psycopg", "pymysql", "redis"),
    "rbloom",
)


def make_parser(
    text: str | None, *, full: str | None = None
) -> argparse.ArgumentParser:
    """Make a parser with the options that every benchmark has.

    :param text: the docstring of the benchmark.
    :param full: what ``--full`` does; ``None``: there is no such option.
    :returns: the parser.
    """
    # What a benchmark has made is cleaned up when it is terminated, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write this file, too"
    )
    if full is not None:
        parser.add_argument("--full", action="store_true", help=full)
    return parser


def report(name: str, rows: t.Sequence[Row], path: Path | None) -> None:
    """Print a table, and write it as JSON where a file is named.

    :param name: the benchmark.
    :param rows: the lines, all with the same columns.
    :param path: the file; ``None``: none.
    """
    print(make_table(rows))
    if path is not None:
        content = {"benchmark": name, "environment": _environment(), "rows": rows}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")


def read_rows(path: Path) -> list[Row]:
    """Read the lines that a benchmark wrote.

    :param path: the JSON file.
    :returns: its lines.
    """
    return t.cast("list[Row]", json.loads(path.read_text())["rows"])


def make_table(rows: t.Sequence[Row]) -> str:
    """Align lines in columns.

    :param rows: the lines, all with the same columns.
    :returns: the table as text.
    """
    if not rows:
        return "nothing was measured"
    lines = [[name.replace("_", " ") for name in rows[0]]]
    lines += [[show(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    is_text = [isinstance(value, str) for value in rows[0].values()]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(line, widths, is_text, strict=True)
        ).rstrip()
        for line in lines
    )


def show(value: object) -> str:
    """Show a value to people: three digits that count, thousands apart.

    :param value: what stands in a line.
    :returns: text.
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if abs(value) >= 100:
            return f"{value:,.0f}"
        # Of a ratio close to 1, the digits that count come after it.
        return f"{value:.4g}" if 1 <= value < 2 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _environment() -> dict[str, t.Any]:
    found = {"python": platform.python_version(), "cores": os.cpu_count()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
