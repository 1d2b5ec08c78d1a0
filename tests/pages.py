"""The pages of the documentation, and the code blocks on them."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path
from textwrap import dedent

DOCS = Path(__file__).parent.parent / "docs"


def list_pages() -> list[str]:
    """List the pages, as paths within the folder of the documentation."""
    return sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.rst"))


def read(page: str) -> str:
    """Read a page."""
    return (DOCS / page).read_text()


def blocks(page: str, language: str) -> list[str]:
    """Take the code blocks of one language out of a page."""
    found = re.finditer(
        rf"^( *)\S?.*\.\. code-block:: {language}\n\n((?:\1 +.*\n|\n)+)",
        read(page),
        re.MULTILINE,
    )
    return [dedent(block[2]) for block in found]


def run(page: str, **names: t.Any) -> dict[str, t.Any]:
    """Run the Python blocks of a page, in order, as one module."""
    name = page.rpartition("/")[2].partition(".")[0]
    namespace = {"__name__": name, **names}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), namespace)
    return namespace
