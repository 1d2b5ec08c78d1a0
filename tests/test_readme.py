"""The README: what it shows is run, and what it says comes back, comes back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import typing as t
from importlib.util import module_from_spec
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest
from docutils import nodes  # type: ignore[import-untyped]  # it ships no types
from docutils.core import publish_doctree  # type: ignore[import-untyped]
from flask import Flask
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token

from flask_logout import session_claims

from .conftest import dispose
from .conftest import SECRET
from .test_example import copy_example
from .test_example import run_example

ROOT = Path(__file__).parent.parent
README = ROOT / "README.rst"
DEFAULT_URL = "http://127.0.0.1:5000"


def parse(path: Path) -> nodes.document:
    """Parse a text; a warning in it is an exception."""
    settings = {"report_level": 1, "halt_level": 1, "syntax_highlight": "none"}
    return publish_doctree(path.read_text(), str(path), settings_overrides=settings)


def code_blocks(language: str) -> list[str]:
    """List the code blocks of the README in a language."""
    blocks = parse(README).findall(nodes.literal_block)
    return [x.astext() for x in blocks if language in x["classes"]]


@pytest.fixture
def readme_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Flask]:
    """The app that the Python of the README makes."""
    (tmp_path / "readme_app.py").write_text("\n\n".join(code_blocks("python")))
    spec = spec_from_file_location("readme_app", tmp_path / "readme_app.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setenv("FLASK_JWT_SECRET_KEY", SECRET)
    monkeypatch.setenv(
        "FLASK_SQLALCHEMY_DATABASE_URI", f"sqlite:///{tmp_path / 'app.db'}"
    )
    spec.loader.exec_module(module)
    with module.app.app_context():
        module.db.create_all()
    yield module.app
    dispose(module.app)


def log_in(app: Flask) -> tuple[dict[str, str], str]:
    """Issue the tokens of a login: the header with one, and the other."""
    with app.app_context():
        claims = session_claims()
        access = create_access_token("ada", additional_claims=claims)
        refresh = create_refresh_token("ada", additional_claims=claims)
    return {"Authorization": f"Bearer {access}"}, refresh


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


@pytest.mark.parametrize("name", ["README", "CONTRIBUTING", "CHANGES"])
def test_links_lead_somewhere(name: str) -> None:
    links = parse(ROOT / f"{name}.rst").findall(nodes.reference)
    targets = {x["refuri"] for x in links} - {DEFAULT_URL}
    assert [x for x in sorted(targets) if not (ROOT / x).is_file()] == []


def test_first_code_is_the_two_commands() -> None:
    assert code_blocks("bash")[0].splitlines() == [
        "pip install -e . && python example_app.py",
        "pip install -e '.[test]' && pytest",
    ]


def test_own_app_logs_out(readme_app: Flask) -> None:
    client = readme_app.test_client()
    headers, refresh = log_in(readme_app)
    assert client.post("/password", headers=headers).status_code == 200
    response = client.post(
        "/auth/logout", headers=headers, json={"refresh_token": refresh}
    )
    assert response.get_json() == {
        "code": 200,
        "message": "logout successful",
        "data": {},
    }
    refused = client.post("/password", headers=headers)
    assert refused.status_code == 401
    assert refused.get_json() == {"msg": "Token has been revoked"}


def test_log_out_everywhere_spares_this_login_alone(readme_app: Flask) -> None:
    client = readme_app.test_client()
    here, _ = log_in(readme_app)
    elsewhere, _ = log_in(readme_app)
    assert client.post("/password", headers=here).status_code == 200
    assert client.post("/password", headers=elsewhere).status_code == 401
    assert client.post("/password", headers=here).status_code == 200
    afterwards, _ = log_in(readme_app)
    assert client.post("/password", headers=afterwards).status_code == 200


def test_tour_gets_the_answers_it_shows(tmp_path: Path) -> None:
    tour = code_blocks("bash")[1]
    copy_example(tmp_path)
    with run_example(tmp_path) as server:
        result = subprocess.run(
            ["bash", "-euo", "pipefail"],
            input=tour.replace(DEFAULT_URL, server.url),
            env={**os.environ, "no_proxy": "127.0.0.1"},
            capture_output=True,
            check=True,
            text=True,
        )
        assert tour in server.output.replace(server.url, DEFAULT_URL)
    shown = [x.removeprefix("# ") for x in tour.splitlines() if x.startswith("# ")]
    assert len(shown) == 4
    assert [x for x in result.stdout.splitlines() if x] == shown


def test_example_is_short_and_explains_its_option(tmp_path: Path) -> None:
    copy_example(tmp_path)
    assert len((tmp_path / "example_app.py").read_text().splitlines()) <= 250
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
        r"Flask-Logout needs (.*?), or later", README.read_text(), re.S
    )
    stated = re.findall(r"([A-Z][\w-]+|blinker) (\d[\d.]*)", text)
    # Tools that are older than Python 3.11 have no tomllib.
    project = (ROOT / "pyproject.toml").read_text()
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", project, re.M | re.S)
    bounds = re.findall(r'"([\w-]+)>=([\d.]+)', listed)
    (python,) = re.findall(r'^requires-python = ">=([\d.]+)"', project, re.M)
    expected = {("python", python), *bounds}
    assert {(name.lower(), version) for name, version in stated} == expected
