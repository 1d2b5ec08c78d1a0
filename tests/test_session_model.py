"""Random sequences of events have the same results in a model and in each store."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize
from hypothesis.stateful import invariant
from hypothesis.stateful import rule
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import run_state_machine_as_test

from flask_logout.domain.revocation import merge
from flask_logout.domain.revocation import Revocation
from flask_logout.domain.rotation import is_ended
from flask_logout.domain.rotation import Policy
from flask_logout.domain.rotation import Record
from flask_logout.domain.rotation import REJECTED
from flask_logout.domain.rotation import rotate as rotate_in_theory
from flask_logout.domain.rotation import Rotation
from flask_logout.domain.rotation import Session
from flask_logout.stores.sessions import SessionStore

from .ci import examples
from .sessions import check_and_rotate
from .sessions import COVERING
from .sessions import DAY
from .sessions import end_of
from .sessions import GRACE
from .sessions import keys_of
from .sessions import KINDS
from .sessions import list_all
from .sessions import make_session
from .sessions import NOW
from .sessions import Opened
from .sessions import opened
from .sessions import rotate
from .sessions import rotate_unrevoked
from .sessions import SECOND

SIDS = st.sampled_from("abcd")
# No sum of them is near the grace period, because the test itself takes time.
WAITS = st.sampled_from([0.3 * GRACE, 0.6 * GRACE, 1.2 * GRACE])


@dataclass
class Row:
    """What the model knows about a session."""

    session: Session
    generation: int
    parent: int | None = None
    rotated_at: timedelta | None = None


@dataclass
class Model:
    """A store of sessions in memory, whose clock the test moves."""

    policy: Policy
    now: timedelta = timedelta(0)
    rows: dict[str, Row] = field(default_factory=dict)
    revocations: list[Revocation] = field(default_factory=list)

    def find(self, sid: str) -> Record | None:
        """Find the record of a session."""
        row = self.rows.get(sid)
        if row is None:
            return None
        is_young = (
            row.rotated_at is not None and self.now - row.rotated_at < self.policy.grace
        )
        return Record(row.session.subject_key, row.generation, row.parent, is_young)

    def rotate(self, session: Session, presented: int) -> Rotation:
        """Exchange a refresh token."""
        record = self.find(session.sid)
        rotation = rotate_in_theory(record, session.subject_key, presented, self.policy)
        if rotation.outcome not in {*REJECTED, "repeated"}:
            self.rows[session.sid] = Row(
                session, rotation.generation, presented, self.now
            )
        return rotation

    def list_all(self) -> set[str]:
        """List the active sessions of ``ada``."""
        mine = [
            row.session
            for row in self.rows.values()
            if row.session.subject_key == COVERING[1]
        ]
        return {session.sid for session in mine if self.is_active(session)}

    def is_active(self, session: Session) -> bool:
        """Return whether no revocation covers a session."""
        own = keys_of(session)
        covering = merge(x for x in self.revocations if x.key in own)
        return not is_ended(session, covering)


class Sessions(RuleBasedStateMachine):
    """Compares a store of sessions with the model."""

    stores: t.ClassVar[Opened]

    def __init__(self) -> None:
        super().__init__()
        self.stores.clear()
        self.began = 0
        # The newest generation that an honest client of each session has received.
        self.held: dict[str, int] = {}

    @initialize(grace=st.sampled_from([timedelta(0), GRACE]), late=st.booleans())
    def open(self, grace: timedelta, late: bool) -> None:
        self.model = Model(Policy(grace, late))
        self.store: SessionStore = self.stores.sessions(grace, late_retry=late)

    def session_of(self, sid: str) -> Session:
        row = self.model.rows.get(sid)
        began = NOW + self.began * SECOND
        return row.session if row else make_session(sid, created_at=began)

    @rule(sid=SIDS)
    def start(self, sid: str) -> None:
        self.began += 1
        session = self.session_of(sid)
        self.store.start(session)
        if sid not in self.model.rows:
            self.model.rows[sid] = Row(session, 0)
            self.held[sid] = 0

    @rule(sid=SIDS, is_lost=st.booleans())
    def refresh(self, sid: str, is_lost: bool) -> None:
        """Refresh as an honest client does, which may lose a response."""
        if sid not in self.held:
            return
        rotation = self.present(sid, self.held[sid])
        # Nobody else has used its tokens, so a rejection is due to a lost response.
        if rotation.outcome not in REJECTED and not is_lost:
            self.held[sid] = rotation.generation

    @rule(sid=SIDS)
    def retry(self, sid: str) -> None:
        """Refresh twice with one token, as two tabs do."""
        if sid not in self.held:
            return
        first = self.present(sid, self.held[sid])
        second = self.present(sid, self.held[sid])
        if first.outcome not in REJECTED:
            if self.model.policy.grace:
                assert second == replace_outcome(first, "repeated")
            self.held[sid] = max(first.generation, second.generation)

    @rule(sid=SIDS, back=st.integers(-1, 4), is_theirs=st.booleans())
    def replay(self, sid: str, back: int, is_theirs: bool) -> None:
        """Present any other token of the session, or one of another user."""
        row = self.model.rows.get(sid)
        presented = max(0, (row.generation if row else 1) - back)
        owner = {} if is_theirs else {"subject_key": bytes(16)}
        self.present(sid, presented, **owner)
        self.held.pop(sid, None)

    def present(self, sid: str, presented: int, **values: t.Any) -> Rotation:
        session = replace(self.session_of(sid), **values)
        is_active = self.model.is_active(session)
        if not is_active:
            assert rotate_unrevoked(self.store, session, presented) is None
            self.knows_the_same()
        expected = self.model.rotate(session, presented)
        exchange = check_and_rotate if is_active else rotate
        assert exchange(self.store, session, presented) == expected
        return expected

    @rule(sid=SIDS)
    def log_out(self, sid: str) -> None:
        self.model.revocations.append(end_of(self.session_of(sid)))
        self.stores.revocations.add([self.model.revocations[-1]])

    @rule(sid=SIDS, is_theirs=st.booleans())
    def end(self, sid: str, is_theirs: bool) -> None:
        session = self.session_of(sid)
        row = self.model.rows.get(sid)
        owner = session.subject_key if is_theirs else bytes(16)
        expected = row is not None and row.session.subject_key == owner
        assert self.store.end(end_of(session), owner) == expected
        if expected:
            self.model.revocations.append(end_of(session))

    @rule(sid=SIDS)
    def find_reuse(self, sid: str) -> None:
        ending = end_of(self.session_of(sid))
        expected = ending.key not in {x.key for x in self.model.revocations}
        assert self.store.revoke_once(ending) == expected
        self.model.revocations.append(ending)

    @rule(key=st.sampled_from(COVERING), spared=st.none() | SIDS, late=st.booleans())
    def log_out_everywhere(self, key: bytes, spared: str | None, late: bool) -> None:
        self.began += 1
        kind: t.Any = "subject" if key in COVERING[:2] else "everyone"
        made = Revocation(
            key,
            kind,
            NOW + DAY,
            cutoff=NOW + (self.began + late) * SECOND,
            spared_session=None if spared is None else self.session_of(spared).key,
        )
        self.model.revocations.append(made)
        self.stores.revocations.add([made])

    @rule(by=WAITS)
    def wait(self, by: timedelta) -> None:
        self.model.now += by
        for row in self.model.rows.values():
            if row.rotated_at is not None:
                self.stores.age(row.session, by)

    @rule()
    def purge(self) -> None:
        assert self.store.purge(NOW, batch=10) == 0

    @invariant()
    def knows_the_same(self) -> None:
        if not hasattr(self, "model"):
            return
        for sid in "abcd":
            found = self.store.find(self.session_of(sid).key, subject="ada")
            assert found == self.model.find(sid)
        found_ones = list_all(self.store, limit=2)
        assert {x.sid for x in found_ones} == self.model.list_all()
        order = [(x.created_at, x.key) for x in found_ones]
        assert order == sorted(order, reverse=True)


def replace_outcome(rotation: Rotation, outcome: t.Any) -> Rotation:
    """Return a rotation with another outcome."""
    return rotation._replace(outcome=outcome)


@pytest.fixture(scope="module", params=KINDS)
def stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Opened]:
    """The stores of each kind."""
    with opened(request.param, tmp_path_factory.mktemp("sessions")) as stores:
        yield stores


def test_each_store_does_what_the_model_does(stores: Opened) -> None:
    machine = type("Machine", (Sessions,), {"stores": stores})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples(60),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_an_honest_client_is_never_logged_out(stores: Opened) -> None:
    """It keeps the newest token, and retries within the grace period."""
    stores.clear()
    for late_retry in (False, True):
        store = stores.sessions(GRACE, late_retry=late_retry)
        session = make_session(f"{late_retry}")
        store.start(session)
        held = 0
        for number in range(60):
            waits = [GRACE / 4, GRACE / 2] if number % 3 else [2 * GRACE]
            for wait in waits:
                if number:
                    stores.age(session, wait)
            rotation = rotate(store, session, held)
            assert rotation.outcome not in REJECTED
            # Every second response is lost, and the client retries with the same token.
            again = rotate(store, session, held)
            assert again == Rotation("repeated", rotation.generation)
            held = again.generation
