"""Runs the test suites in tests/suites, which use the pytest plugin of the package."""

from __future__ import annotations

import re
import typing as t

import pytest

# pytester unloads the modules that a suite imports. SQLAlchemy warns if its PostgreSQL
# dialect is then imported again, so it must be imported before the first suite.
import sqlalchemy.dialects.postgresql  # noqa: F401

FIXTURES = {
    "logout_app",
    "logout_assert_not_revoked",
    "logout_assert_revoked",
    "logout_clean_up",
    "logout_client",
    "logout_headers",
    "logout_log_out",
    "logout_make_expired_pair",
    "logout_make_foreign_pair",
    "logout_make_malformed_pair",
    "logout_make_pair",
    "logout_make_session_pair",
    "logout_make_stale",
    "logout_make_swapped_pair",
    "logout_sessions",
    "logout_start_session",
    "logout_store_unavailable",
}

PLAIN = ("-p", "no:flask")

# The suites run in this process, which has already imported modules whose assertions
# pytest would rewrite. It warns about each of them.
WARNINGS = ("-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning")

with_pytest_flask = pytest.mark.parametrize(
    "run_suite", [()], ids=["pytest-flask"], indirect=True
)
without_pytest_flask = pytest.mark.parametrize(
    "run_suite", [PLAIN], ids=["plain"], indirect=True
)


class RunSuite(t.Protocol):
    """Runs a test suite for the app in tests/suites/app. Warnings are errors."""

    def __call__(
        self, suite: str | None, *args: str, **config: t.Any
    ) -> pytest.RunResult:
        """Copy a suite into the folder of the app and run it.

        :param suite: its folder in tests/suites. If it is ``None``, only the tests run
            that are already in the folder of the app.
        :param *args: arguments for pytest.
        :param **config: config of the app.
        :returns: the result.
        """


@pytest.fixture(params=[(), PLAIN], ids=["pytest-flask", "plain"])
def run_suite(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> RunSuite:
    """Run test suites with pytest-flask and without it."""
    pytester.copy_example("app")

    def run(suite: str | None, *args: str, **config: t.Any) -> pytest.RunResult:
        if suite is not None:
            pytester.copy_example(suite)
        # The repr of a timedelta needs the import.
        code = f"import datetime\n\nCONFIG = {config!r}\n"
        (pytester.path / "config.py").write_text(code)
        return pytester.runpytest_inprocess(*WARNINGS, *request.param, *args)

    return run


def contains(result: pytest.RunResult, text: str) -> bool:
    """Check whether the output has a text, without regard to line breaks and marks."""
    return text in re.sub(r"\s+(E\s+)?", " ", result.stdout.str())
