"""Find the programs of servers and browsers that tests start."""

from __future__ import annotations

import os
import shutil
from glob import glob

from .ci import skip_or_fail

# Debian installs servers outside of users' PATH.
_SERVER_PATH = os.environ.get("TEST_SERVER_PATH", "/usr/sbin:/usr/lib/postgresql/*/bin")


def find_program(name: str, package: str) -> str:
    """Return the path of a program of a Debian package. Without it, skip or fail."""
    # Prefer the latest version, also to a wrapper on the PATH.
    folders = sorted(
        (y for x in _SERVER_PATH.split(":") for y in glob(x)), reverse=True
    )
    path = os.pathsep.join([*folders, os.environ["PATH"]])
    return shutil.which(name, path=path) or skip_or_fail(
        f"{name} is not installed: apt-get install {package}"
    )
