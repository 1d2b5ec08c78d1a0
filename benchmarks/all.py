"""Run every benchmark, one after the other, each writing its JSON into one folder.

Afterwards ``python -m benchmarks.plots --json-dir DIR`` draws what the docs show.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

NAMES = (
    *("round_trips", "check_cost", "logout_cost", "scale", "mirror", "purge"),
    *("load", "simulation", "refresh", "sessions"),
)
"""The benchmarks, in the order in which they are run."""

_WITH_FULL = ("scale", "mirror", "purge", "sessions")


def main() -> None:
    """Run them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--full", action="store_true", help="full sizes: half an hour")
    parser.add_argument("--only", choices=NAMES, action="append")
    options = parser.parse_args()
    failed = []
    for name in options.only or NAMES:
        path = options.json_dir / f"{name}.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(path)]
        if options.full and name in _WITH_FULL:
            command.append("--full")
        print(f"\n{name}", flush=True)
        if subprocess.run(command).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
