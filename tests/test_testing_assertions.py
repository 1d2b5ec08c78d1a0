"""The fixtures of the pytest plugin that check whether tokens are revoked."""

from __future__ import annotations

import pytest

from .plugin_suites import contains
from .plugin_suites import RunSuite
from .plugin_suites import without_pytest_flask


def test_the_assertions_tell_revoked_tokens_from_others(run_suite: RunSuite) -> None:
    run_suite("assertions").assert_outcomes(passed=2)


@without_pytest_flask
def test_the_assertions_ask_the_blocklist_loader_of_the_app(
    run_suite: RunSuite,
) -> None:
    run_suite("blocklist_loader").assert_outcomes(passed=1)


@without_pytest_flask
@pytest.mark.parametrize(
    ("name", "error"),
    [
        (
            "not_revoked",
            "AssertionError: The refresh token of 'ada' is not revoked. Check that the"
            " logout request returned 200.",
        ),
        (
            "revoked",
            "AssertionError: The access token of 'ada' is revoked. Something has"
            " revoked this token, its login, all tokens of its user, or all tokens.",
        ),
        ("forged", "AssertionError: Invalid token: Signature verification failed"),
        ("malformed", "AssertionError: Invalid token: Not enough segments"),
        (
            "pair_instead_of_tokens",
            "AssertionError: Invalid token: Invalid token type. Token must be a <class"
            " 'bytes'>",
        ),
        (
            "store_unavailable",
            "StoreUnavailableError: the test uses logout_store_unavailable",
        ),
    ],
)
def test_a_failure_is_explained_without_the_token(
    pytester: pytest.Pytester, run_suite: RunSuite, name: str, error: str
) -> None:
    node = f"test_failures.py::test_{name}"
    result = run_suite("failures", "--tb=long", "-vv", node)
    result.assert_outcomes(failed=1)
    assert contains(result, error)
    tokens = (pytester.path / "tokens.txt").read_text().splitlines()
    assert len(tokens) == 2
    shown = result.stdout.str() + result.stderr.str()
    for part in (part for token in tokens for part in token.split(".")[1:]):
        assert part[8:24] not in shown
