"""The benchmarks run: their apps respond over HTTP under the names that tables show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SERVED = """
from benchmarks.databases import new_database
from benchmarks.recipes import make_app
from benchmarks.serving import served
with new_database("SQLite") as url:
    names = ["none", "database recipe", "Flask-Logout", "Flask-Logout, mirror on"]
    with served({name: make_app(name, url) for name in names}) as callers:
        for name, call in callers.items():
            call()
            print(name)
"""


def test_every_app_of_the_benchmarks_is_served() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVED],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout.splitlines(), done.returncode) == (
        ["none", "database recipe", "Flask-Logout", "Flask-Logout, mirror on"],
        0,
    ), done.stderr


def test_the_cost_of_metrics_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.metrics", "--rounds", "8"]
    command += ["--database", "SQLite", "--json", str(tmp_path / "metrics.json")]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    # So few rounds say nothing about the ratio.
    lines = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    assert [(x["database"], x["SDK"]) for x in lines] == [
        ("SQLite", "no"),
        ("SQLite", "yes"),
    ]
