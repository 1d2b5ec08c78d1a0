"""The server and the shell of somebody who follows a page of the documentation."""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from pathlib import Path

from .pages import DOCS
from .proxy import free_port

BIN = Path(sys.executable).parent


class Shell:
    """A shell that keeps its variables from one command to the next."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env={**environment(), "no_proxy": "127.0.0.1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # curl shows its progress there unless it writes to a terminal.
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._streams = self._process.stdin, self._process.stdout

    def __enter__(self) -> t.Any:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def run(self, command: str) -> str:
        """Run a command, and return what it prints."""
        stdin, stdout = self._streams
        assert stdin is not None and stdout is not None
        stdin.write(f"{command}\necho; echo end of output\n")
        stdin.flush()
        lines = list(iter(stdout.readline, "end of output\n"))
        return "".join(lines).strip()


class Server:
    """``flask run`` in a folder, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def restart(self) -> None:
        """Start the ``app.py`` of the folder, and wait until it answers."""
        self.stop()
        port = self.url.rpartition(":")[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flask", "run", "--port", port],
            cwd=self._folder,
            env=environment(),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stderr is not None
        lines = iter(self._process.stderr.readline, "")
        assert any(f"Running on {self.url}" in line for line in lines)

    def stop(self) -> None:
        """Stop it, if it is running."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=60)


def environment() -> dict[str, str]:
    """Return an environment in which this package and ``flask`` are found."""
    python_path = os.pathsep.join([str(DOCS.parent), os.environ.get("PYTHONPATH", "")])
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": python_path}
