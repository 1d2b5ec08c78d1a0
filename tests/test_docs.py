"""The documentation runs, and says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from .pages import blocks
from .pages import list_pages
from .pages import read


def test_every_python_block_is_found() -> None:
    # The blocks of that page have captions. test_testing_page.py runs them as files.
    for page in set(list_pages()) - {"howto/testing.rst"}:
        count = read(page).count("code-block:: python")
        assert (page, len(blocks(page, "python"))) == (page, count)


def test_a_test_runs_the_python_blocks_of_every_page() -> None:
    tests = "".join(
        path.read_text() for path in Path(__file__).parent.glob("test_*.py")
    )
    with_code = [page for page in list_pages() if blocks(page, "python")]
    assert len(with_code) > 2
    assert [page for page in with_code if f'"{page}"' not in tests] == []


def test_every_test_that_the_security_page_names_exists() -> None:
    named = re.findall(r"`(test_\w+)`", read("explanation/security.rst"))
    code = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    existing = set(re.findall(r"^def (test_\w+)", code, re.M))
    assert len(named) > 30
    assert [name for name in named if name not in existing] == []
