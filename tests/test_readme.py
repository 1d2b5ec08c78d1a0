"""README.rst does what it says, on a code host and on PyPI."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import typing as t
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import build_opener
from urllib.request import ProxyHandler
from urllib.request import Request

import pytest
from docutils import nodes  # type: ignore[import-untyped]  # it ships no types
from docutils.core import publish_doctree  # type: ignore[import-untyped]

from .example_server import copy_example
from .example_server import run_example
from .flask_run import Server
from .flask_run import Shell
from .pages import read

ROOT = Path(__file__).parent.parent
README = ROOT / "README.rst"
DEFAULT_URL = "http://127.0.0.1:5000"


def parse(path: Path) -> nodes.document:
    """Parse a page with the settings of PyPI. A warning is an error."""
    settings = {
        "report_level": 1,
        "halt_level": 1,
        "syntax_highlight": "none",
        "raw_enabled": False,
        "file_insertion_enabled": False,
    }
    return publish_doctree(path.read_text(), str(path), settings_overrides=settings)


def code_blocks(language: str) -> list[str]:
    """List the code blocks of the README in a language."""
    blocks = parse(README).findall(nodes.literal_block)
    return [x.astext() for x in blocks if language in x["classes"]]


@pytest.fixture
def served(tmp_path: Path) -> t.Iterator[Server]:
    """The app from the README, started with ``flask run``."""
    (tmp_path / "app.py").write_text("\n\n".join(code_blocks("python")))
    with Server(tmp_path) as server:
        server.restart()
        yield server


def log_in(server: Server) -> str:
    """Log ada in, and return her access token."""
    status, body = call(server, "POST", "/auth/login", data=b"name=ada")
    assert (status, sorted(body)) == (200, ["access_token", "refresh_token"])
    return str(body["access_token"])


def call(
    server: Server, method: str, path: str, token: str = "", data: bytes = b""
) -> tuple[int, t.Any]:
    """Send a request, and return its status and its JSON."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = Request(server.url + path, data or None, headers, method=method)
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=60) as response:
            return response.status, json.load(response)
    except HTTPError as e:
        with e:
            return e.code, json.load(e)


def project_urls() -> dict[str, str]:
    """Return ``[project.urls]`` of pyproject.toml."""
    # Python 3.10 has no tomllib.
    project = (ROOT / "pyproject.toml").read_text()
    (table,) = re.findall(r"^\[project\.urls\]\n((?:\w+ = .+\n)+)", project, re.M)
    return dict(re.findall(r'^(\w+) = "(.+)"$', table, re.M))


@pytest.mark.parametrize(
    ("name", "longest"), [("README", 120), ("CONTRIBUTING", 110), ("CHANGES", 1000)]
)
def test_text_is_short_and_parses_without_a_warning(name: str, longest: int) -> None:
    path = ROOT / f"{name}.rst"
    lines = path.read_text().splitlines()
    assert len(lines) <= longest
    assert max(map(len, lines)) <= 90
    parse(path)


def test_every_variable_of_the_tests_is_listed_with_its_default() -> None:
    listed = re.findall(
        r"^``(TEST_\w+)``\n(?:    .*\n)*?.*Default: ``(.+?)``",
        (ROOT / "CONTRIBUTING.rst").read_text(),
        re.M,
    )
    code = "".join(path.read_text() for path in (ROOT / "tests").glob("*.py"))
    read = re.findall(r'environ.get\(\s*"(TEST_\w+)",\s*"(.+?)"\s*\)', code)
    assert sorted(listed) == sorted(read)
    assert set(re.findall(r"\bTEST_[A-Z_]+\b", code)) == {name for name, _ in listed}


@pytest.mark.parametrize("name", ["CONTRIBUTING", "CHANGES"])
def test_links_lead_somewhere(name: str) -> None:
    links = parse(ROOT / f"{name}.rst").findall(nodes.reference)
    targets = {x["refuri"] for x in links} - {DEFAULT_URL}
    assert [x for x in sorted(targets) if not (ROOT / x).is_file()] == []


def test_the_readme_links_to_pages_of_the_documentation() -> None:
    base = project_urls()["Documentation"]
    links = parse(README).findall(nodes.reference)
    targets = {x["refuri"] for x in links} - {DEFAULT_URL}
    assert len(targets) > 5
    pages = [x.removeprefix(base).removesuffix(".html") for x in sorted(targets)]
    assert [x for x in pages if not (ROOT / "docs" / f"{x}.rst").is_file()] == []


def test_the_project_urls_share_one_host() -> None:
    urls = project_urls()
    assert list(urls) == ["Documentation", "Changes", "Source", "Issues"]
    assert [x for x in urls.values() if not x.startswith(urls["Documentation"])] == []


def test_the_readme_needs_no_sphinx() -> None:
    document = parse(README)
    # Single backticks are code in Sphinx only.
    assert list(document.findall(nodes.title_reference)) == []
    assert list(document.findall(nodes.image)) == []


def test_first_code_is_the_two_commands() -> None:
    assert code_blocks("bash")[0].splitlines() == [
        "pip install -e . && python example_app.py",
        "pip install -e '.[test]' && pytest",
    ]


def test_the_app_of_the_readme_logs_out_as_shown(
    served: Server, tmp_path: Path
) -> None:
    tour = code_blocks("bash")[1]
    with Shell(tmp_path) as shell:
        output = shell.run(tour.replace(DEFAULT_URL, served.url))
    shown = [x.removeprefix("# ") for x in tour.splitlines() if x.startswith("# ")]
    assert len(shown) == 3
    assert output.splitlines() == shown


def test_a_password_change_ends_all_other_logins(served: Server) -> None:
    current, other = log_in(served), log_in(served)
    changed = (200, {"msg": "Password changed"})
    revoked = (401, {"msg": "Token has been revoked"})
    assert call(served, "POST", "/password", current) == changed
    assert call(served, "GET", "/me", other) == revoked
    assert call(served, "GET", "/me", current) == (200, {"name": "ada"})
    assert call(served, "GET", "/me", log_in(served)) == (200, {"name": "ada"})


def test_the_example_prints_commands_that_work(tmp_path: Path) -> None:
    copy_example(tmp_path)
    with run_example(tmp_path) as server:
        tour = server.output.partition("into another shell:\n")[2]
        with Shell(tmp_path) as shell:
            output = shell.run(tour)
    shown = [x.removeprefix("# ") for x in tour.splitlines() if x.startswith("# ")]
    assert len(shown) == 4
    assert [x for x in output.splitlines() if x] == shown


def test_example_is_short_and_explains_its_option(tmp_path: Path) -> None:
    copy_example(tmp_path)
    code, page = (tmp_path / "example_app.py").read_text().split('PAGE = r"""')
    assert len(code.splitlines()) <= 150
    assert len(page.splitlines()) <= 260
    usage = subprocess.run(
        [sys.executable, "example_app.py", "--help"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
    )
    assert "--port PORT  default: 5000" in usage.stdout


def test_the_oldest_versions_are_those_that_pip_accepts() -> None:
    (text,) = re.findall(
        r"Flask-Logout needs (.*?), or later", read("start/quickstart.rst"), re.S
    )
    stated = re.findall(r"([A-Z][\w-]+|blinker) (\d[\d.]*)", text)
    # Tools that are older than Python 3.11 have no tomllib.
    project = (ROOT / "pyproject.toml").read_text()
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", project, re.M | re.S)
    bounds = re.findall(r'"([\w-]+)>=([\d.]+)', listed)
    (python,) = re.findall(r'^requires-python = ">=([\d.]+)"', project, re.M)
    expected = {("python", python), *bounds}
    assert {(name.lower(), version) for name, version in stated} == expected
    (text,) = re.findall(r"It needs (.*?),\s+or later", README.read_text(), re.S)
    stated = re.findall(r"([A-Z][\w-]+)\s(\d[\d.]*)", text)
    assert len(stated) == 7
    assert {(name.lower(), version) for name, version in stated} < expected
