"""The documentation runs, and says what the code says."""

from __future__ import annotations

import inspect
import json
import logging
import re
import types
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest

import flask_logout
from flask_logout import audit
from flask_logout import LogoutExtension
from flask_logout import OutcomeUnknownError
from flask_logout.config import Settings
from flask_logout.config_values import LONGEST
from flask_logout.exceptions import RETRY_AFTER

from .conftest import MakeApp
from .pages import blocks
from .pages import list_pages
from .pages import read
from .pages import run
from .test_openapi import examples
from .tokens import get_status
from .tokens import make_pair


def settings() -> dict[str, dict[str, str]]:
    """Read what the documentation says of each key."""
    entries = re.split(
        r"^\.\. confval:: ", read("reference/configuration.rst"), flags=re.M
    )[1:]
    said = {}
    for entry in entries:
        key, kind, default, text = re.fullmatch(
            r"(\w+)\n    :type: (.+)\n    :default: (.+)\n\n((?:.*\n)+)", entry
        ).groups()  # type: ignore[union-attr]  # None would fail the test as well
        said[key] = {"type": kind, "default": default, "text": squeeze(text)}
    return said


def squeeze(text: str) -> str:
    """Make every stretch of white space one space."""
    return " ".join(text.split())


def name_type(annotation: t.Any) -> str:
    """Name a type as the documentation does."""
    origin = t.get_origin(annotation)
    if origin is t.Annotated:
        return name_type(t.get_args(annotation)[0])
    if origin in (t.Union, types.UnionType):
        return " or ".join(name_type(x) for x in t.get_args(annotation))
    return "None" if annotation is type(None) else str(annotation.__name__)


def test_every_python_block_is_found() -> None:
    # The blocks of that page have captions: test_testing.py runs them as files.
    for page in set(list_pages()) - {"howto/testing.rst"}:
        count = read(page).count("code-block:: python")
        assert (page, len(blocks(page, "python"))) == (page, count)


def test_a_test_runs_the_python_blocks_of_every_page() -> None:
    tests = "".join(
        path.read_text() for path in Path(__file__).parent.glob("test_*.py")
    )
    with_code = [page for page in list_pages() if blocks(page, "python")]
    assert len(with_code) > 2
    assert [page for page in with_code if f'"{page}"' not in tests] == []


def test_each_login_can_end_the_others(make_app: MakeApp) -> None:
    app = make_app()
    with app.app_context():
        log_in = run("explanation/how-it-works.rst", logout=LogoutExtension())
        first, second = (
            make_pair(app, additional_claims=log_in["claims_of_only_session"]("ada"))
            for _ in "12"
        )
        assert get_status(app.test_client(), first) == (401, 401)
        assert get_status(app.test_client(), second) == (200, 200)


def test_every_setting_is_documented_in_order() -> None:
    keys = [f"LOGOUT_{name.upper()}" for name in Settings.model_fields]
    assert list(settings()) == keys


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_documented_as_it_is(name: str) -> None:
    field, said = Settings.model_fields[name], settings()[f"LOGOUT_{name.upper()}"]
    hint = t.get_type_hints(Settings, include_extras=True)[name]
    assert said["type"] == name_type(hint)
    default = eval(said["default"], {"timedelta": timedelta})
    assert (type(default), default) == (type(field.default), field.default)
    assert field.description is not None
    assert said["text"].startswith(squeeze(field.description))


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_range_is_documented(name: str) -> None:
    said = settings()[f"LOGOUT_{name.upper()}"]["text"]
    for constraint in Settings.model_fields[name].metadata:
        for limit in ("ge", "gt", "le", "lt"):
            bound = getattr(constraint, limit, None)
            if bound in (timedelta(0), LONGEST):
                continue  # The page begins with the range of durations.
            if isinstance(bound, timedelta):
                bound = int(bound.total_seconds())
            assert bound is None or re.search(rf"\b{bound}\b", said)


def test_the_documented_bodies_are_those_of_the_endpoint() -> None:
    documented = [
        json.loads(block) for block in blocks("reference/responses.rst", "json")
    ]
    names = [
        "logged_out",
        "required",
        "external_api_error",
        "invalid_token",
        "content_too_large",
        "service_unavailable",
    ]
    assert documented == [examples()[name][1] for name in names]


def test_every_error_of_the_body_is_documented() -> None:
    rows = re.findall(
        r"^`(\w+)` +`(\w+)` ", read("reference/responses.rst"), re.MULTILINE
    )
    errors = [body["data"]["errors"] for _, body in examples().values() if body["data"]]
    assert rows == [(e["message"], e["key"]) for found in errors for e in found]


def test_the_retry_interval_is_documented() -> None:
    assert f"`Retry-After: {RETRY_AFTER}`" in read("reference/responses.rst")


def test_every_public_name_is_in_the_api_page() -> None:
    documented = re.findall(
        r"^\.\. auto\w+:: (\w+)$", read("reference/api.rst"), re.MULTILINE
    )
    assert sorted(documented) == flask_logout.__all__


def test_every_command_is_in_the_api_page(make_app: MakeApp) -> None:
    group: t.Any = make_app().cli.commands["logout"]
    documented = re.findall(
        r"^`flask logout (\w+)(.*)`\n    (.+)$", read("reference/api.rst"), re.MULTILINE
    )
    assert documented == [
        (
            name,
            "".join(f" {x.name.upper()}" for x in arguments_of(command)),
            str(inspect.getdoc(command.callback)).splitlines()[0],
        )
        for name, command in group.commands.items()
    ]


def arguments_of(command: t.Any) -> list[t.Any]:
    """List what a command takes beside its options."""
    return [x for x in command.params if x.param_type_name == "argument"]


def test_every_event_of_the_log_is_in_the_api_page(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app, logout = make_app(), LogoutExtension()
    caplog.set_level(logging.INFO, "flask_logout")
    with app.app_context():
        logout.revoke_token({"jti": "1", "type": "access"})
        logout.revoke_session("1")
        logout.revoke_user("ada")
        logout.revoke_everyone()
        app.extensions["sqlalchemy"].drop_all()
    assert get_status(app.test_client(), make_pair(app)) == (503, 503)
    with app.app_context():
        written = app.extensions["logout"].make.of_session("1")
    audit.log_outcome_unknown(written, OutcomeUnknownError("connection lost"))
    audit.log_logout_incomplete("ada", 1)
    events = [(x.getMessage().split()[1], x.levelname) for x in caplog.records]
    documented = re.findall(
        r"^`(\w+)` +(INFO|ERROR) ", read("reference/api.rst"), flags=re.MULTILINE
    )
    assert list(dict.fromkeys(events)) == documented


def test_every_test_that_the_security_page_names_exists() -> None:
    named = re.findall(r"`(test_\w+)`", read("explanation/security.rst"))
    code = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    existing = set(re.findall(r"^def (test_\w+)", code, re.M))
    assert len(named) > 30
    assert [name for name in named if name not in existing] == []
