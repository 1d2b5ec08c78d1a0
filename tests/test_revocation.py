"""Keys, claims and revocations, mostly by property-based tests."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st

from flask_logout.domain.claims import began_at
from flask_logout.domain.claims import issuers_of
from flask_logout.domain.claims import lookup_of
from flask_logout.domain.claims import session_of
from flask_logout.domain.claims import subject_of
from flask_logout.domain.claims import text
from flask_logout.domain.claims import token_key
from flask_logout.domain.revocation import covers
from flask_logout.domain.revocation import Kind
from flask_logout.domain.revocation import KINDS
from flask_logout.domain.revocation import latest
from flask_logout.domain.revocation import merge
from flask_logout.domain.revocation import postpone
from flask_logout.domain.revocation import Retention
from flask_logout.domain.revocation import Revocation
from flask_logout.domain.revocation import revoke_login
from flask_logout.domain.revocation import revoke_one
from flask_logout.domain.revocation import storable
from flask_logout.domain.revocation_keys import ANY_ISSUER
from flask_logout.domain.revocation_keys import Issuer
from flask_logout.domain.revocation_keys import make_key
from flask_logout.domain.revocation_keys import user_keys

from .plans import Plan
from .plans import PLANS

NOW = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)

# JSON strings, and so claims, can contain lone surrogates.
hostile = st.one_of(
    st.sampled_from(
        ["", "\0", "a", "A", "а", "å", "a\u030a", "1", "-", "1:a", "None", "x" * 9000]
    ),
    st.text(st.characters(exclude_categories=())),
)
issuers = st.none() | st.just(ANY_ISSUER) | hostile
parts = st.tuples(st.sampled_from(KINDS), issuers, hostile)


@given(parts, parts)
@example(("token", "a", "b"), ("token", "ab", ""))
@example(("token", None, "a"), ("token", "", "a"))
@example(("token", "-", "a"), ("token", None, "a"))
@example(("token", None, "a"), ("token", ANY_ISSUER, "a"))
@example(("token", "*", "a"), ("token", ANY_ISSUER, "a"))
@example(("token", None, "\ud83d\ude00"), ("token", None, "\U0001f600"))
def test_keys_are_equal_exactly_when_their_parts_are(
    a: tuple[Kind, Issuer, str], b: tuple[Kind, Issuer, str]
) -> None:
    assert (make_key(*a) == make_key(*b)) == (a == b)
    assert len(make_key(*a)) == 16


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (None, None),
        ("ada", "ada"),
        ("", ""),
        (7, "7"),
        ("7", "7"),
        (1.5, "1.5"),
        (True, "True"),
        ({"b": 1, "a": [2]}, '{"a":[2],"b":1}'),
        (["a"], '["a"]'),
    ],
)
def test_claims_are_compared_as_strings(claim: object, expected: str | None) -> None:
    assert text(claim) == expected


def test_an_integer_subject_equals_its_string() -> None:
    assert lookup_of({"jti": "a", "sub": 7}) == lookup_of({"jti": "a", "sub": "7"})


def test_the_subject_is_read_from_the_identity_claim() -> None:
    assert subject_of({"sub": "a", "uid": "b"}, "uid") == "b"
    assert make_key("subject", ANY_ISSUER, "b") in lookup_of({"uid": "b"}, "uid")[0]


def test_a_token_is_looked_up_under_all_its_keys() -> None:
    claims = {"jti": "j", "iss": "i", "sid": "s", "sub": "u"}
    assert set(lookup_of(claims)[0]) == {
        make_key("token", "i", "j"),
        make_key("session", "i", "s"),
        make_key("session", ANY_ISSUER, "s"),
        make_key("subject", "i", "u"),
        make_key("subject", ANY_ISSUER, "u"),
        make_key("everyone", "i", None),
        make_key("everyone", ANY_ISSUER, None),
    }
    assert set(lookup_of({"jti": "j"})[0]) == {
        make_key("token", None, "j"),
        make_key("everyone", ANY_ISSUER, None),
    }


def test_a_token_without_an_issuer_is_looked_up_without_one() -> None:
    assert set(lookup_of({"jti": "j", "sid": 5, "sub": "u"})[0]) == {
        make_key("token", None, "j"),
        make_key("session", None, "5"),
        make_key("session", ANY_ISSUER, "5"),
        make_key("subject", ANY_ISSUER, "u"),
        make_key("everyone", ANY_ISSUER, None),
    }
    assert issuers_of({}) == (None, ANY_ISSUER)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"sid": "s", "login_at": 1}, "s"),
        ({"sid": "s", "login_at": 1.5}, "s"),
        ({"sid": "s", "login_at": 0}, "s"),
        ({"sid": "", "login_at": 1}, None),
        ({"sid": "s"}, None),
        ({"sid": "s", "login_at": None}, None),
        ({"sid": "s", "login_at": True}, None),
        ({"sid": "s", "login_at": "1"}, None),
        ({"sid": 5, "login_at": 1}, None),
        ({"sid": ["s"], "login_at": 1}, None),
        ({"login_at": 1}, None),
        ({}, None),
    ],
)
def test_a_token_has_a_session_only_with_both_claims(
    claims: dict[str, t.Any], expected: str | None
) -> None:
    assert session_of(claims) == expected
    kept = Retention(SECOND, SECOND, SECOND)
    made = revoke_login({"jti": "j", **claims}, now=NOW, retention=kept)
    assert (made.kind, made.token_id) == (
        ("token", "j") if expected is None else ("session", expected)
    )


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"login_at": 1.5, "iat": 2}, 1.5),
        ({"login_at": 1}, 1),
        ({"iat": 2}, 2),
        ({"login_at": True, "iat": 2}, 2),
        ({"login_at": "1", "iat": 2}, 2),
        ({"login_at": 10**400, "iat": 2}, 2),
        # For example, a login_at in milliseconds would be later than every cutoff.
        ({"login_at": 2000, "iat": 2}, 2),
        ({"login_at": "1"}, None),
        ({}, None),
    ],
)
def test_a_login_begins_at_login_at_or_iat_if_that_is_earlier(
    claims: dict[str, t.Any], expected: float | None
) -> None:
    assert began_at(claims) == expected


@pytest.mark.parametrize("jti", [None, "", 7, [], "absent"])
def test_a_token_without_a_usable_jti_is_keyed_by_its_claims(jti: t.Any) -> None:
    claims = {"sub": "ada", "iat": 1} | ({} if jti == "absent" else {"jti": jti})
    assert token_key(claims) == token_key(dict(reversed(claims.items())))
    assert token_key(claims) != token_key({**claims, "iat": 2})
    # Flask-JWT-Extended adds these claims, so both are the same token.
    assert token_key({"sub": "a"}) == token_key(
        {"sub": "a", "jti": None, "type": "access", "fresh": False}
    )


def revocation(kind: Kind = "subject", **values: t.Any) -> Revocation:
    """Make a revocation with defaults for the values that don't matter."""
    return Revocation(**{"key": b"k" * 16, "kind": kind, "expires_at": None, **values})


@pytest.mark.parametrize("kind", ["token", "session"])
def test_a_revocation_without_a_cutoff_covers_all_tokens(kind: Kind) -> None:
    found = revocation(kind)
    assert covers(found, {})
    assert covers(found, {"iat": (NOW + timedelta(days=999)).timestamp()})


@pytest.mark.parametrize("kind", ["subject", "everyone"])
@pytest.mark.parametrize(
    ("offset", "expected"),
    [(-1, True), (0, True), (0.4, True), (0.5, True), (0.500001, False), (1, False)],
)
def test_a_cutoff_is_exact_for_a_fractional_iat(
    kind: Kind, offset: float, expected: bool
) -> None:
    found = revocation(kind, cutoff=NOW + 0.5 * SECOND)
    assert covers(found, {"iat": NOW.timestamp() + offset}) is expected


def test_an_integer_iat_in_the_second_of_the_cutoff_is_covered() -> None:
    found = revocation(cutoff=NOW + 0.999999 * SECOND)
    assert covers(found, {"iat": int(NOW.timestamp())})
    assert not covers(found, {"iat": int(NOW.timestamp()) + 1})


@pytest.mark.parametrize("claims", [{}, {"iat": None}, {"iat": "soon"}, {"iat": []}])
def test_a_token_without_a_usable_iat_is_covered(claims: dict[str, t.Any]) -> None:
    assert covers(revocation(cutoff=NOW), claims)


@pytest.mark.parametrize("issuer", [ANY_ISSUER, "i"])
def test_the_spared_session_is_not_covered(issuer: Issuer) -> None:
    found = revocation(cutoff=NOW, spared_session=make_key("session", issuer, "s"))
    old = {"login_at": NOW.timestamp() - 1, "iss": "i"}
    assert not covers(found, {**old, "sid": "s"})
    assert not covers(found, {**old, "sid": "s", "iat": NOW.timestamp()})
    assert covers(found, {**old, "sid": "t"})
    assert covers(found, {"iat": NOW.timestamp() - 1, "iss": "i", "sid": "s"})
    assert covers(found, old)


def test_a_session_that_was_revoked_earlier_is_not_spared() -> None:
    found = revocation(
        cutoff=NOW,
        spared_session=make_key("session", ANY_ISSUER, "s"),
        spared_after=NOW - 60 * SECOND,
    )
    later = NOW.timestamp() - 30
    assert covers(found, {"sid": "s", "login_at": NOW.timestamp() - 60, "iat": later})
    assert not covers(found, {"sid": "s", "login_at": NOW.timestamp() - 59})
    assert covers(found, {"sid": "s", "iat": later})


sessions = st.none() | st.sampled_from(
    [make_key("session", ANY_ISSUER, x) for x in "ab"]
)
acts = st.lists(
    st.tuples(
        st.integers(0, 9),
        sessions,
        st.none() | st.integers(0, 9),
        st.none() | st.integers(0, 99),
    ),
    min_size=1,
)


@given(acts)
def test_a_merged_revocation_covers_what_any_of_them_covers(
    given_acts: list[tuple[int, bytes | None, int | None, int | None]],
) -> None:
    made = [
        revocation(
            cutoff=NOW + second * SECOND,
            spared_session=spared,
            # A cutoff can't end a session that began after it.
            spared_after=None if end is None else NOW + min(end, second) * SECOND,
            expires_at=None if expiry is None else NOW + expiry * SECOND,
        )
        for second, spared, end, expiry in given_acts
    ]
    (merged,) = merge(made)
    for second in range(-1, 11):
        for sid in ("a", "b", "c"):
            claims = {"login_at": NOW.timestamp() + second, "sid": sid}
            expected = any(covers(x, claims) for x in made)
            assert covers(merged, claims) is expected
    ends = [x.expires_at for x in made]
    assert merged.expires_at == (
        None if None in ends else max(x for x in ends if x is not None)
    )


def test_no_sequence_of_revocations_restores_a_login() -> None:
    """Not even with refreshes in progress and sessions that are kept."""
    assert len(PLANS) == 8**3 * 5
    wrong = [
        (plan, claims)
        for plan in PLANS
        for claims in plan.tokens()
        if is_ended(plan, claims) is not plan.ends(claims)
    ]
    assert wrong == []


def is_ended(plan: Plan, claims: dict[str, t.Any]) -> bool:
    """Check whether the revocations of a plan cover a token."""
    keys = lookup_of(claims)[0]
    return any(covers(x, claims) for x in merge(plan.revocations()) if x.key in keys)


def test_revocations_without_a_cutoff_merge_into_the_longer_one() -> None:
    old = revocation("session", expires_at=NOW, reason="first")
    new = revocation("session", expires_at=NOW + SECOND, reason="second")
    assert merge([old, new]) == [replace(old, expires_at=NOW + SECOND)]
    ending = revocation("session", cutoff=NOW)
    assert merge([ending, old]) == [replace(old, expires_at=None)]
    other = replace(old, key=b"o" * 16)
    assert merge([old, other]) == [old, other]


def test_never_is_later_than_any_time() -> None:
    assert latest(NOW, NOW + SECOND) == NOW + SECOND
    assert latest(NOW, None) is None
    assert latest(None, NOW) is None


durations = st.timedeltas(timedelta(0), timedelta(days=4000))
retentions = st.builds(
    Retention, durations, durations, st.none() | st.timedeltas(SECOND)
)


@given(retentions, st.floats(0, 9e9) | st.integers(0, 9_000_000_000))
def test_a_revocation_of_a_token_is_kept_until_the_token_expires(
    kept: Retention, exp: float
) -> None:
    expires_at = kept.of_token({"exp": exp})
    # PyJWT accepts a token while int(exp) > now - leeway.
    expired_at = int(exp) + kept.leeway.total_seconds()
    assert expires_at is None or expires_at.timestamp() >= expired_at - 1e-5


@given(retentions, durations)
def test_other_revocations_are_kept_until_every_covered_token_expires(
    kept: Retention, age: timedelta
) -> None:
    expires_at = kept.of_lifetime(NOW)
    if kept.max_lifetime is None:
        assert expires_at is None
    elif expires_at is not None:
        issued_at = NOW - age
        assert expires_at >= issued_at + kept.max_lifetime + kept.leeway


@pytest.mark.parametrize("exp", [None, "x", [], float("nan"), 1e300, 10**400])
def test_a_revocation_of_a_token_without_a_usable_exp_never_expires(exp: t.Any) -> None:
    kept = Retention(timedelta(0), timedelta(0), SECOND)
    assert kept.of_token({"exp": exp}) is None
    assert kept.of_token({}) is None


def test_a_revocation_of_a_session_is_kept_for_the_longest_lifetime() -> None:
    kept = Retention(SECOND, SECOND, timedelta(days=30))
    claims = {"sid": "s", "login_at": 0, "exp": 0}
    made = revoke_login(claims, now=NOW, retention=kept)
    assert (made.kind, made.token_id) == ("session", "s")
    assert made.expires_at == NOW + timedelta(days=30) + 2 * SECOND
    exp = (NOW + timedelta(days=90)).timestamp()
    made = revoke_login({**claims, "exp": exp}, now=NOW, retention=kept)
    assert made.expires_at == NOW + timedelta(days=90) + 2 * SECOND
    assert revoke_one(claims, retention=kept).kind == "token"


@given(st.text(st.characters(exclude_categories=())))
def test_printable_text_is_safe_to_store_and_to_log(value: str) -> None:
    safe = storable(value)
    assert safe is not None
    assert len(safe) <= 255
    assert "\0" not in safe
    assert len(safe.splitlines()) <= 1
    assert safe.encode("utf-8").decode("utf-8") == safe
    assert storable(None) is None


def test_a_postponed_revocation_covers_more_and_is_kept_longer() -> None:
    last = datetime.max.replace(tzinfo=timezone.utc)
    made = [
        Revocation(b"subject", "subject", NOW, cutoff=NOW, reason="why"),
        Revocation(b"session", "session", None),
        Revocation(b"token", "token", last),
    ]
    assert postpone(made, SECOND) == [
        replace(made[0], expires_at=NOW + SECOND, cutoff=NOW + SECOND),
        made[1],
        # A later time can't be represented, so it never expires.
        replace(made[2], expires_at=None),
    ]


def test_the_keys_of_a_user_are_those_of_the_user_and_of_everyone() -> None:
    everyone = [make_key("everyone", x, None) for x in ("a", ANY_ISSUER)]
    assert user_keys("a", None) == everyone
    user = [make_key("subject", x, "1") for x in ("a", ANY_ISSUER)]
    assert user_keys("a", "1") == everyone + user
    assert user_keys(None, "1") == [
        make_key("everyone", ANY_ISSUER, None),
        make_key("subject", ANY_ISSUER, "1"),
    ]
