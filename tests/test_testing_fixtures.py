"""The fixtures of the pytest plugin as such, and the app that they get."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from flask_logout.testing import TokenPair

from .plugin_suites import contains
from .plugin_suites import FIXTURES
from .plugin_suites import PLAIN
from .plugin_suites import RunSuite
from .plugin_suites import WARNINGS
from .plugin_suites import without_pytest_flask


def test_the_plugin_imports_nothing_but_pytest() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules)\n"
        "import flask_logout.testing\n"
        "print(sorted(x for x in set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    names = ("", ".testing", ".testing.sessions", ".testing.store", ".testing.types")
    assert done.stdout == f"{[f'flask_logout{x}' for x in names]}\n"


@without_pytest_flask
def test_every_fixture_has_a_description(run_suite: RunSuite) -> None:
    result = run_suite(None, "--fixtures", "-v")
    listed = re.findall(
        r"^(\w+) -- .*flask_logout/testing/\w+\.py:\d+\n    (\S.*)$",
        result.stdout.str(),
        re.MULTILINE,
    )
    assert {name for name, _ in listed} == FIXTURES


def test_no_fixture_runs_unless_a_test_uses_it(run_suite: RunSuite) -> None:
    result = run_suite("unused", "--setup-show")
    result.assert_outcomes(passed=1)
    assert "logout_" not in result.stdout.str()


def test_pytest_finds_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.copy_example("discovery")
    others = (f"-pno:{name}" for name in ("flask", "hypothesispytest", "schemathesis"))
    result = pytester.runpytest_subprocess("-W", "error", *others)
    result.assert_outcomes(passed=1)


def test_a_pair_hides_its_tokens() -> None:
    pair = TokenPair("an.access.token", "a.refresh.token")
    assert (repr(pair), f"{pair}") == ("TokenPair(access=…, refresh=…)",) * 2


# The app


def test_a_missing_app_is_explained(pytester: pytest.Pytester) -> None:
    pytester.copy_example("broken_apps")
    result = pytester.runpytest_inprocess(*WARNINGS, "test_no_app.py")
    result.assert_outcomes(errors=1)
    assert contains(
        result,
        'The logout_ fixtures need a fixture "app" that returns the Flask app under'
        " test. Define it in conftest.py. If your fixture has another name, define"
        ' "logout_app" to return its app.'
        " @pytest.fixture def app(): return create_app()",
    )


@pytest.mark.parametrize("file", ["test_no_extension.py", "test_no_flask_app.py"])
def test_an_app_without_the_extension_is_explained(
    pytester: pytest.Pytester, file: str
) -> None:
    pytester.copy_example("broken_apps")
    result = pytester.runpytest_inprocess(*WARNINGS, *PLAIN, file)
    result.assert_outcomes(errors=1)
    assert contains(
        result,
        'The fixture "app" didn\'t return a Flask app that has a LogoutExtension. Call'
        " LogoutExtension(app) or init_app(app) before the fixture returns the app.",
    )


def test_pytest_names_a_missing_fixture_that_the_app_needs(
    pytester: pytest.Pytester,
) -> None:
    pytester.copy_example("broken_apps")
    result = pytester.runpytest_inprocess(*WARNINGS, "test_no_database.py")
    result.assert_outcomes(errors=1)
    assert contains(result, "fixture 'database' not found")


@without_pytest_flask
def test_a_suite_can_override_the_app_and_change_the_client(
    run_suite: RunSuite,
) -> None:
    run_suite("overrides").assert_outcomes(passed=2)
