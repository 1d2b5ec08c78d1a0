"""The pages of the group "Start" do what they say."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from .pages import DOCS
from .pages import read
from .proxy import free_port

TUTORIAL = "start/tutorial.rst"
STEPS = DOCS / "start" / "tutorial"
URL = "http://127.0.0.1:5000"
BIN = Path(sys.executable).parent
INSTALLATION = [
    "mkdir logout-tutorial",
    "cd logout-tutorial",
    "python3 -m venv .venv",
    ". .venv/bin/activate",
    "pip install flask-logout",
]


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


def read_sections(page: str) -> dict[str, str]:
    """Return the sections of a page by heading."""
    parts = re.split(r"^(.+)\n[-=]+\n", read(page), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def list_commands(block: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output it shows."""
    block = re.sub(r"^ +", "", block, flags=re.M)
    found = re.findall(r"^\$ (.+\n(?:> .+\n)*)((?:(?!\$ ).+\n)*)", block + "\n", re.M)
    return [(re.sub(r"^> ", "", x, flags=re.M).strip(), y.strip()) for x, y in found]


def list_actions(section: str) -> t.Iterator[tuple[str, str]]:
    """List what a section tells the reader to do, in order."""
    actions = re.finditer(
        r"^\.\. literalinclude:: (?P<file>.+)"
        r"|^\.\. code-block:: console\n\n(?P<console>(?: +.+\n)+)",
        section,
        re.M,
    )
    for action in actions:
        assert action.lastgroup is not None
        yield action.lastgroup, action[action.lastgroup]


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    sections = read_sections(TUTORIAL)
    steps = [name for name in sections if name.startswith("Step ")]
    assert len(steps) == len(list(STEPS.glob("*.py"))) == 6
    done = 0
    with Server(tmp_path) as server, Shell(tmp_path) as shell:
        for step in steps:
            for kind, text in list_actions(sections[step]):
                if kind == "file":
                    shutil.copy(DOCS / "start" / text, tmp_path / "app.py")
                    continue
                for command, shown in list_commands(text):
                    if command == "flask run":
                        server.restart()
                        continue
                    output = mask(shell.run(command.replace(URL, server.url)))
                    assert (step, command, output) == (step, command, mask(shown))
                    done += 1
    prompts = sum(section.count("    $ ") for section in sections.values())
    assert prompts == done + len(INSTALLATION) + read(TUTORIAL).count("$ flask run\n")


def mask(output: str) -> str:
    """Replace what differs each time: tokens and instants."""
    output = re.sub(r"eyJ[\w.-]+", "eyJ…", output)
    return re.sub(r"\d{4}-\d\d-\d\d [\d:.]+\+00:00", "2026-01-01", output)


def test_the_tutorial_begins_with_nothing_but_a_package() -> None:
    (action,) = list_actions(read_sections(TUTORIAL)["Tutorial"])
    assert [command for command, _ in list_commands(action[1])] == INSTALLATION


@pytest.mark.parametrize("step", range(2, 7))
def test_the_new_lines_of_a_step_are_highlighted(step: int) -> None:
    before, after = (
        (STEPS / f"step{x}.py").read_text().splitlines() for x in (step - 1, step)
    )
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    changed = [x for tag, *_, i, j in matcher.get_opcodes() for x in new(tag, i, j)]
    changed = [x for x in changed if after[x - 1]]
    shown = re.search(
        rf"tutorial/step{step}\.py\n    :emphasize-lines: (.+)", read(TUTORIAL)
    )
    assert shown is not None
    assert spread(shown[1]) == changed


def new(tag: str, start: int, stop: int) -> range:
    """Return the numbers of the lines that an edit adds."""
    return range(0) if tag == "equal" else range(start + 1, stop + 1)


def spread(ranges: str) -> list[int]:
    """Return the numbers in a list such as ``1,3-5``."""
    bounds = [x.partition("-") for x in ranges.split(",")]
    return [n for x, _, y in bounds for n in range(int(x), int(y or x) + 1)]
