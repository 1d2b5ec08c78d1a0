"""The fixtures of the pytest plugin that make pairs, headers and logout requests."""

from __future__ import annotations

import typing as t
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.asymmetric import rsa

from .plugin_suites import RunSuite
from .plugin_suites import with_pytest_flask
from .plugin_suites import without_pytest_flask

KEYS: dict[str, t.Callable[[], t.Any]] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def make_keys(algorithm: str) -> dict[str, bytes]:
    """Make the config of a new pair of keys."""
    private = KEYS[algorithm]()
    return {
        "JWT_PRIVATE_KEY": private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        "JWT_PUBLIC_KEY": private.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        ),
    }


def test_a_pair_has_the_claims_of_the_app(run_suite: RunSuite) -> None:
    result = run_suite("own_loaders", JWT_ENCODE_ISSUER="us", JWT_DECODE_ISSUER="us")
    result.assert_outcomes(passed=2)


def test_a_pair_is_made_in_the_open_context(run_suite: RunSuite) -> None:
    run_suite("contexts").assert_outcomes(passed=1)


def test_the_tokens_of_a_session_pair_share_a_session(run_suite: RunSuite) -> None:
    run_suite("sessions").assert_outcomes(passed=2)


@without_pytest_flask
@pytest.mark.parametrize(
    ("config", "name", "prefix"),
    [
        ({}, "Authorization", "Bearer "),
        ({"JWT_HEADER_NAME": "X-T"}, "X-T", "Bearer "),
        ({"JWT_HEADER_TYPE": "JWT"}, "Authorization", "JWT "),
        ({"JWT_HEADER_TYPE": ""}, "Authorization", ""),
    ],
)
def test_the_headers_are_those_that_the_app_reads(
    run_suite: RunSuite, config: dict[str, str], name: str, prefix: str
) -> None:
    result = run_suite("headers", **config, EXPECTED_HEADER=(name, prefix))
    result.assert_outcomes(passed=2)


@without_pytest_flask
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"LOGOUT_URL_PREFIX": "/api/auth", "APPLICATION_ROOT": "/root"},
        {"LOGOUT_URL_PREFIX": "", "SERVER_NAME": "example.com"},
        {"JWT_TOKEN_LOCATION": "cookies"},
        {"JWT_TOKEN_LOCATION": "cookies", "JWT_COOKIE_CSRF_PROTECT": False},
        {"JWT_TOKEN_LOCATION": ["cookies", "headers"], "JWT_COOKIE_SECURE": True},
        {"JWT_TOKEN_LOCATION": "json", "JWT_JSON_KEY": "token"},
        {"JWT_TOKEN_LOCATION": "query_string", "JWT_QUERY_STRING_VALUE_PREFIX": "x"},
    ],
)
def test_a_logout_sends_the_tokens_where_the_app_looks_for_them(
    run_suite: RunSuite, config: dict[str, t.Any]
) -> None:
    run_suite("log_out", **config).assert_outcomes(passed=3)


@with_pytest_flask
def test_a_logout_keeps_the_cookies_of_the_client(run_suite: RunSuite) -> None:
    result = run_suite("cookies", JWT_TOKEN_LOCATION="cookies")
    result.assert_outcomes(passed=1)


# Invalid pairs


def test_each_invalid_pair_is_invalid_for_one_reason(run_suite: RunSuite) -> None:
    run_suite("invalid_pairs").assert_outcomes(passed=12)


@without_pytest_flask
@pytest.mark.parametrize("algorithm", KEYS)
def test_a_foreign_pair_is_foreign_with_any_algorithm(
    run_suite: RunSuite, algorithm: str
) -> None:
    config = {"JWT_ALGORITHM": algorithm, **make_keys(algorithm)}
    result = run_suite("invalid_pairs", "-k", "foreign", **config)
    result.assert_outcomes(passed=3, deselected=9)


@without_pytest_flask
def test_an_expired_pair_is_older_than_leeway_and_grace(run_suite: RunSuite) -> None:
    result = run_suite(
        "grace_period",
        JWT_ACCESS_TOKEN_EXPIRES=False,
        JWT_DECODE_LEEWAY=7200,
        LOGOUT_EXPIRED_ACCESS_GRACE=timedelta(days=9),
    )
    result.assert_outcomes(passed=1)
