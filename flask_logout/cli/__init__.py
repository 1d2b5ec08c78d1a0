"""The command line interface, ``flask logout``."""

from __future__ import annotations

# These modules add their commands to the group.
from . import session_commands as session_commands
from . import store_commands as store_commands
from .commands import logout as logout
