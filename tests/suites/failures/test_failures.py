from pathlib import Path

import pytest


@pytest.fixture
def pair(logout_make_pair):
    """A pair that is also in a file, so that its tokens can be searched for."""
    pair = logout_make_pair("ada")
    Path("tokens.txt").write_text("\n".join(pair))
    return pair


def test_not_revoked(pair, logout_assert_revoked):
    logout_assert_revoked(pair.refresh)


def test_revoked(pair, logout_log_out, logout_assert_not_revoked):
    logout_log_out(pair)
    logout_assert_not_revoked(*pair)


def test_forged(pair, logout_assert_revoked):
    logout_assert_revoked(pair.access[:-8] + 8 * "A")


def test_malformed(pair, logout_assert_not_revoked):
    logout_assert_not_revoked(pair.access.rpartition(".")[0])


def test_pair_instead_of_tokens(pair, logout_assert_revoked):
    logout_assert_revoked(pair)


def test_store_unavailable(pair, logout_assert_revoked, logout_store_unavailable):
    with logout_store_unavailable():
        logout_assert_revoked(pair.access)
