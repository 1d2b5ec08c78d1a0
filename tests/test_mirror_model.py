"""No sequence of events makes an in-memory mirror exceed its bound."""

from __future__ import annotations

import itertools
import math
import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition
from hypothesis.stateful import rule
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import run_state_machine_as_test

from flask_logout import LogoutExtension
from flask_logout import StoreUnavailableError
from flask_logout.stores import bloom as copy_module
from flask_logout.stores.mirror import Mirror
from flask_logout.stores.mirror import PAUSE
from flask_logout.stores.sqlalchemy import pages
from flask_logout.stores.sqlalchemy import SQLAlchemyStore

from .ci import examples
from .conftest import dispose
from .conftest import SECRET
from .mirrors import BOUND
from .mirrors import Clock
from .mirrors import fill
from .mirrors import finds
from .mirrors import revocation
from .mirrors import Watched

NAMES = st.integers(0, 60)


class Sides(RuleBasedStateMachine):
    """Compares a mirror with its store through random sequences of events."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(copy_module, "MIN_CAPACITY", 8)
        # A false positive would query the store and hide a fault of the mirror.
        self.patch.setattr(copy_module, "FALSE_POSITIVES", 1e-9)
        self.patch.setattr(pages, "PAGE_SIZE", 3)
        self.patch.setattr(pages, "OVERLAP", timedelta(0))
        self.app = Flask("sides")
        self.app.config.update(
            SQLALCHEMY_DATABASE_URI="sqlite://", JWT_SECRET_KEY=SECRET
        )
        SQLAlchemy(self.app)
        LogoutExtension(self.app)
        self.context = self.app.app_context()
        self.context.push()
        self.store = t.cast(SQLAlchemyStore, self.app.extensions["logout"].store)
        self.store.inspect().create()
        self.clock = Clock()
        self.watched = Watched(self.store)
        bound = timedelta(seconds=BOUND)
        self.mirror = Mirror(self.watched, max_staleness=bound, clock=self.clock)
        fill(self.mirror)
        self.fresh = itertools.count(100)
        self.is_down = False
        self.due_from: dict[object, float] = {}
        """The instant from which the mirror must find each revocation."""

    def teardown(self) -> None:
        self.context.pop()
        dispose(self.app)
        self.patch.undo()

    @precondition(lambda self: not self.is_down)
    @rule(names=st.lists(NAMES, min_size=1, max_size=12, unique=True))
    def revoke_here(self, names: list[int]) -> None:
        self.mirror.add([revocation(name) for name in names])
        self.due_from.update((name, -math.inf) for name in names)

    @precondition(lambda self: not self.is_down)
    @rule(names=st.lists(NAMES, min_size=1, max_size=12, unique=True))
    def revoke_elsewhere(self, names: list[int]) -> None:
        self.store.add([revocation(name) for name in names])
        for name in names:
            self.due_from.setdefault(name, self.clock.now + BOUND)

    @precondition(lambda self: not self.is_down)
    @rule(names=st.lists(st.integers(61, 99), min_size=1, max_size=9, unique=True))
    def revoke_expired(self, names: list[int]) -> None:
        past = datetime(2000, 1, 1, tzinfo=timezone.utc)
        self.store.add([revocation(name, past) for name in names])

    @precondition(lambda self: not self.is_down)
    @rule(batch=st.integers(1, 20))
    def purge(self, batch: int) -> None:
        self.mirror.purge(datetime.now(timezone.utc), batch=batch)

    @precondition(lambda self: not self.is_down)
    @rule()
    def clear(self) -> None:
        self.mirror.inspect().clear()
        self.due_from.clear()

    @rule(by=st.sampled_from([0.1, 1.0, BOUND / 2, BOUND, 60.0, 3600.0]))
    def wait(self, by: float) -> None:
        self.clock.move(by)

    @rule()
    def stop_or_start(self) -> None:
        names = [self.store.table.name, "away"]
        old, new = reversed(names) if self.is_down else names
        self.store.engine.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))
        self.is_down = not self.is_down

    @rule(cut=st.sampled_from([0, 1, 5]), restarts_scan=st.booleans())
    def change_pages(self, cut: int, restarts_scan: bool) -> None:
        self.watched.cut, self.watched.restarts_scan = cut, restarts_scan

    @rule(times=st.integers(1, 15))
    def serve(self, times: int) -> None:
        for _ in range(times):
            self.check([0, 30, 60, 99])
            self.clock.move(PAUSE)

    @rule(names=st.lists(NAMES, min_size=1, max_size=4, unique=True))
    def check(self, names: list[int]) -> None:
        due = {x for x in names if self.due_from.get(x, math.inf) <= self.clock.now}
        try:
            found = set(finds(self.mirror, *names))
        except StoreUnavailableError:
            assert self.is_down
            return
        assert due <= found
        assert found <= self.due_from.keys() | set(range(61, 100))

    @precondition(lambda self: not self.is_down)
    @rule(by=st.sampled_from([BOUND / 2, BOUND, BOUND * 1.04]), stops=st.booleans())
    def check_new(self, by: float, stops: bool) -> None:
        """Check for names that were never revoked before."""
        names = [next(self.fresh), next(self.fresh)]
        self.check(names)
        self.revoke_elsewhere(names)
        self.wait(by)
        if stops:
            self.stop_or_start()
        self.check(names)

    @rule()
    def check_everything(self) -> None:
        self.check([*range(61)])


def test_no_revoked_token_is_accepted_beyond_the_bound() -> None:
    run_state_machine_as_test(
        Sides,
        settings=settings(
            max_examples=examples(40), stateful_step_count=50, deadline=None
        ),
    )
