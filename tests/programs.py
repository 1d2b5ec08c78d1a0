"""Programs of servers and browsers that the tests start."""

from __future__ import annotations

import os
import shutil
from glob import glob

from .proxy import skip_or_fail

# Debian keeps servers out of the PATH of users.
_SERVER_PATH = os.environ.get("TEST_SERVER_PATH", "/usr/sbin:/usr/lib/postgresql/*/bin")


def find_program(name: str, package: str) -> str:
    """Find a program, or skip the test; under CI, fail it.

    :param name: its name.
    :param package: the Debian package that has it.
    :returns: its path.
    """
    # The latest version comes first, and before what a wrapper on the PATH would choose.
    folders = sorted(
        (y for x in _SERVER_PATH.split(":") for y in glob(x)), reverse=True
    )
    path = os.pathsep.join([*folders, os.environ["PATH"]])
    return shutil.which(name, path=path) or skip_or_fail(
        f"{name} is not installed: apt-get install {package}"
    )
