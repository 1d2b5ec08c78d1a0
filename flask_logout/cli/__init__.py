"""The command line interface, ``flask logout``."""

from __future__ import annotations

from .commands import logout as logout
