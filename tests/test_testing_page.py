"""The page about the pytest plugin, howto/testing.rst."""

from __future__ import annotations

import re
import textwrap

import pytest

from .pages import read
from .plugin_suites import FIXTURES
from .plugin_suites import RunSuite

PAGE = "howto/testing.rst"


def read_files() -> dict[str, str]:
    """Return the code on the page by its file name."""
    found = re.findall(
        r"^\.\. code-block:: python\n    :caption: (\S+)\n\n((?:    .*\n|\n)+)",
        read(PAGE),
        re.MULTILINE,
    )
    return {name: textwrap.dedent(code) for name, code in found}


def test_the_code_on_the_page_works(
    pytester: pytest.Pytester, run_suite: RunSuite
) -> None:
    files = read_files()
    # The app of the page has sessions.
    enabled = "create_app(LOGOUT_SESSIONS=True, "
    files["conftest.py"] = files["conftest.py"].replace("create_app(", enabled)
    # Another folder overrides logout_app, and its app fixture is called "api".
    files["another/conftest.py"] += files["conftest.py"].replace("def app(", "def api(")
    files["another/test_again.py"] = files["test_types.py"]
    assert len(files) == read(PAGE).count("code-block::") + 1
    for name, code in files.items():
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    run_suite(None).assert_outcomes(passed=8)


def test_the_page_names_every_fixture_and_type() -> None:
    types = {"TokenPair", "MakePair", "MakeHeaders", "LogOut", "AssertTokens"}
    types |= {"StopStore", "CleanUp", "StartSession", "ListSessions", "MakeStale"}
    assert [x for x in FIXTURES | types if f"`{x}" not in read(PAGE)] == []
