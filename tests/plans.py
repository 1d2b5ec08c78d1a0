"""All sequences of three revocations, and which tokens each must revoke."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from itertools import product

from flask_logout import Revocation
from flask_logout.domain.revocation import Retention
from flask_logout.domain.revocation import revoke_login
from flask_logout.domain.revocation import revoke_one
from flask_logout.domain.revocation_keys import make_key

NOW = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=timezone.utc)
FOREVER = Retention(timedelta(0), timedelta(0), None)

# When each session begins, in seconds. Its first token is issued then. Later tokens come
# from refreshes that passed their check before a revocation.
BEGINNINGS = {"a": 0, "b": 1, "c": 3, "d": 5, "e": 7}
REFRESHED_AT = (3, 5, 8)

# The cutoffs of the three revocations, in any order, because clocks may differ.
CUTOFFS = [(2, 4, 6), (2, 2, 2), (2, 2, 4), (4, 2, 6), (6, 4, 2)]


class Act(t.NamedTuple):
    """A call that revokes a token of ``a``, a session, a user, or everyone."""

    kind: str
    sid: str | None = None


ACTS = [
    Act("token"),
    Act("session", "a"),
    Act("session", "b"),
    Act("subject"),
    Act("subject", "a"),
    Act("subject", "b"),
    Act("subject", "c"),
    Act("everyone"),
]


@dataclass(frozen=True)
class Plan:
    """Three calls and their times. Each plan has an issuer, so that they can share a store."""

    issuer: str
    acts: tuple[Act, ...]
    cutoffs: tuple[int, ...]

    def revocations(self) -> list[Revocation]:
        """Make the revocations, in the order of the calls."""
        return [
            self._revoke(act, NOW + timedelta(seconds=at))
            for act, at in zip(self.acts, self.cutoffs, strict=True)
        ]

    def tokens(self) -> list[dict[str, t.Any]]:
        """Make the claims of every token that exists in the end."""
        return [
            self._claims(sid, minted_at)
            for sid, began in BEGINNINGS.items()
            for minted_at in {began, *REFRESHED_AT}
            if minted_at >= began
        ]

    def ends(self, claims: dict[str, t.Any]) -> bool:
        """Check whether any of the calls must revoke a token."""
        return any(
            self._ends(act, at, claims)
            for act, at in zip(self.acts, self.cutoffs, strict=True)
        )

    def _ends(self, act: Act, at: int, claims: dict[str, t.Any]) -> bool:
        has_begun = BEGINNINGS[claims["sid"]] <= at
        is_ended: dict[str, bool] = {
            "token": claims["jti"] == "a 0",
            "session": claims["sid"] == act.sid,
            "subject": has_begun and claims["sid"] != act.sid,
            "everyone": has_begun,
        }
        return is_ended[act.kind]

    def _claims(self, sid: str, minted_at: int) -> dict[str, t.Any]:
        start = NOW.timestamp()
        return {
            "iss": self.issuer,
            "sub": "ada",
            "sid": sid,
            "jti": f"{sid} {minted_at}",
            "login_at": start + BEGINNINGS[sid],
            "iat": start + minted_at,
        }

    def _revoke(self, act: Act, at: datetime) -> Revocation:
        if act.kind == "token":
            return revoke_one(self._claims("a", 0), retention=FOREVER)
        if act.kind == "session":
            claims = self._claims(act.sid or "", 0)
            return revoke_login(claims, now=at, retention=FOREVER)
        if act.kind == "everyone":
            key = make_key("everyone", self.issuer, None)
            return Revocation(key, "everyone", cutoff=at)
        return Revocation(
            make_key("subject", self.issuer, "ada"),
            "subject",
            cutoff=at,
            spared_session=self._key_of(act.sid) if act.sid else None,
            subject="ada",
        )

    def _key_of(self, sid: str) -> bytes:
        return make_key("session", self.issuer, sid)


PLANS = [
    Plan(f"{number}", acts, cutoffs)
    for number, (acts, cutoffs) in enumerate(product(product(ACTS, repeat=3), CUTOFFS))
]
SOME_PLANS = [
    PLANS[number * len(CUTOFFS) + number % len(CUTOFFS)]
    for number in range(len(ACTS) ** 3)
]
"""One plan for each sequence of calls, for slow tests."""
