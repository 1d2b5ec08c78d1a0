"""The in-memory mirror with a store that fails, and without its package."""

from __future__ import annotations

import subprocess
import sys
import typing as t
from importlib import import_module

import pytest

from flask_logout import ConfigError
from flask_logout import StoreUnavailableError
from flask_logout.stores.mirror import Mirror
from flask_logout.stores.mirror import REBUILD_EVERY
from flask_logout.stores.mirror import RETRY_AFTER

from .mirrors import BOUND
from .mirrors import Clock
from .mirrors import fail
from .mirrors import fill
from .mirrors import finds
from .mirrors import revocation
from .mirrors import stopped
from .mirrors import Watched

MISSING = (
    "LOGOUT_MAX_STALENESS needs the package rbloom, which isn't installed. Run"
    " `pip install 'flask-logout[mirror]'`, or remove LOGOUT_MAX_STALENESS."
)

WITHOUT_RBLOOM = """
import sys
sys.modules["rbloom"] = None
from flask import Flask
from flask_logout import ConfigError, LogoutExtension
app = Flask("app", instance_path=sys.argv[1])
app.config["JWT_SECRET_KEY"] = "a secret of at least thirty-two bytes"
LogoutExtension(app)
app = Flask("app", instance_path=sys.argv[1])
app.config["JWT_SECRET_KEY"] = "a secret of at least thirty-two bytes"
app.config["LOGOUT_MAX_STALENESS"] = 1
try:
    LogoutExtension(app)
except ConfigError as e:
    print(e)
"""


def test_a_check_fails_if_the_store_is_down_at_the_bound(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    with stopped(store.inner):
        assert finds(full_mirror, "a") == []
        with pytest.raises(StoreUnavailableError):
            finds(full_mirror, "old")
        clock.move(BOUND)
        for _ in range(2):
            store.take_calls()
            with pytest.raises(StoreUnavailableError, match="no such table"):
                finds(full_mirror, "a")
            assert store.take_calls() == ["changes"]
        with pytest.raises(StoreUnavailableError):
            full_mirror.add([revocation("never")])
    store.add([revocation("new")])
    assert finds(full_mirror, "a", "new", "never") == ["new"]


def test_a_check_fails_if_the_store_is_down_at_the_start(
    store: Watched, mirror: Mirror
) -> None:
    with stopped(store.inner):
        with pytest.raises(StoreUnavailableError):
            finds(mirror, "a")
        # No page is read from a store that has just failed.
        assert store.take_calls() == ["find 1"]
    fill(mirror)
    assert finds(mirror, "a") == []


def test_a_page_that_fails_does_not_fail_the_check(
    store: Watched, mirror: Mirror, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store.add([revocation("old")])
    store.before_changes = fail
    assert finds(mirror, "old", "a") == ["old"]
    assert finds(mirror, "old", "a") == ["old"]
    assert store.take_calls() == ["find 2", "changes", "find 2"]
    assert caplog.messages == ["cannot fill the in-memory mirror, will retry: too slow"]
    store.before_changes = bool
    clock.move(RETRY_AFTER)
    fill(mirror)
    store.take_calls()
    assert finds(mirror, "old", "a") == ["old"]
    assert store.take_calls() == ["find 1"]


def test_a_failed_page_of_a_rebuild_keeps_the_copy(
    store: Watched, full_mirror: Mirror, clock: Clock
) -> None:
    store.cut = 1
    full_mirror.add([revocation("more")])
    before = full_mirror._copy
    clock.move(REBUILD_EVERY)
    finds(full_mirror, "a")
    for _ in range(3):
        store.before_changes = fail
        clock.move(RETRY_AFTER)
        assert finds(full_mirror, "old", "a") == ["old"]
        assert full_mirror._copy is before
        store.before_changes = bool
        clock.move(RETRY_AFTER)
        assert finds(full_mirror, "old", "a") == ["old"]
    fill(full_mirror)
    assert full_mirror._copy is not before
    assert finds(full_mirror, "old", "more", "a") == ["old", "more"]


def test_an_app_without_rbloom_raises_an_error_that_says_what_to_install(
    tmp_path: t.Any,
) -> None:
    command = [sys.executable, "-c", WITHOUT_RBLOOM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == MISSING


def test_the_module_without_rbloom_raises_a_config_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rbloom", None)
    monkeypatch.delitem(sys.modules, "flask_logout.stores.bloom")
    with pytest.raises(ConfigError) as caught:
        import_module("flask_logout.stores.bloom")
    assert str(caught.value) == MISSING
