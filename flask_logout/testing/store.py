"""The fixtures of the pytest plugin that stop the store, or empty it."""

from __future__ import annotations

import typing as t

import pytest

from .types import CleanUp
from .types import StopStore

if t.TYPE_CHECKING:
    from flask import Flask

    from ..service import LogoutService
    from ..stores import Store
    from ..stores.sessions import SessionStore


@pytest.fixture
def logout_store_unavailable(logout_app: Flask) -> StopStore:
    """Make the store unavailable inside a with block: each check returns 503."""
    from contextlib import contextmanager

    extensions = logout_app.extensions

    @contextmanager
    def stop_store() -> t.Iterator[None]:
        state = extensions["logout"]
        extensions["logout"] = _stop(state)
        try:
            yield
        finally:
            extensions["logout"] = state

    return stop_store


@pytest.fixture
def logout_clean_up(logout_app: Flask) -> t.Iterator[CleanUp]:
    """Delete all revocations after the test, and whenever the test calls this.

    If sessions are enabled, delete all of them as well.
    """
    from .tokens import open_context

    def clean_up() -> None:
        service: LogoutService = logout_app.extensions["logout"]
        with open_context(logout_app):
            for store in service.stores():
                store.inspect().clear()

    yield clean_up
    clean_up()


def _stop(service: LogoutService) -> LogoutService:
    from dataclasses import replace

    store: Store = _StoppedStore()
    sessions = service.sessions
    if sessions is not None:
        stopped: SessionStore = _StoppedSessions()
        sessions = replace(sessions, store=stopped)
    return replace(service, store=store, sessions=sessions)


def _fail(*_: t.Any, **__: t.Any) -> t.NoReturn:
    from ..exceptions import StoreUnavailableError

    raise StoreUnavailableError("the test uses logout_store_unavailable")


class _StoppedStore:
    """A store in which every operation fails, as if it couldn't be reached."""

    add = remember = join = find = changes = purge = open_sessions = inspect = _fail

    def close(self) -> None:
        """Do nothing, because it has no connections."""


class _StoppedSessions:
    """A store of sessions in which every operation fails."""

    start = rotate = rotate_unrevoked = find = list_active = _fail
    end = revoke_once = purge = inspect = _fail
