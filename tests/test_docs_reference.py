"""The reference pages say what the code does."""

from __future__ import annotations

import inspect
import json
import logging
import re
import shlex
import types
import typing as t
import warnings
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask
from flask_jwt_extended import jwt_required
from flask_sqlalchemy import SQLAlchemy

import flask_logout
from flask_logout import audit
from flask_logout import LogoutExtension
from flask_logout import OutcomeUnknownError
from flask_logout import Revocation
from flask_logout.cli.checks import CHECKS
from flask_logout.config import Settings
from flask_logout.config.value_types import LONGEST
from flask_logout.exceptions import RETRY_AFTER

from .commands import run_command
from .conftest import dispose
from .conftest import MakeApp
from .conftest import SECRET
from .openapi_examples import examples
from .openapi_examples import PATHS
from .pages import blocks
from .pages import read
from .pages import run
from .tokens import bearer
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair

with warnings.catch_warnings():
    # On import, it uses a name that its dependency has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import flask_restx

PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)


def squeeze(text: str) -> str:
    """Replace every run of white space with one space."""
    return " ".join(text.split())


def mask(text: str) -> str:
    """Replace white space, times, and identifiers, which differ in every run."""
    text = re.sub(r"\d{4}-\d\d-\d\d[ T][\d:.]+(\+00:00)?", "TIME", text)
    return squeeze(re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text))


# Configuration


def read_settings() -> dict[str, dict[str, str]]:
    """Read what the configuration page says about each config key."""
    page = read("reference/configuration.rst")
    entry = (
        r"^\.\. confval:: (\w+)\n    :type: (.+)\n    :default: (.+)\n\n"
        r"((?:    .+\n|\n)+)"
    )
    return {
        key: {"type": kind, "default": default, "text": squeeze(text), "source": text}
        for key, kind, default, text in re.findall(entry, page, re.MULTILINE)
    }


def name_type(annotation: t.Any) -> str:
    """Name a type as the page does."""
    origin = t.get_origin(annotation)
    if origin is t.Annotated:
        return name_type(t.get_args(annotation)[0])
    if origin in (t.Union, types.UnionType):
        return " or ".join(name_type(x) for x in t.get_args(annotation))
    if origin is frozenset:
        return "set"
    return "None" if annotation is type(None) else str(annotation.__name__)


def test_every_setting_is_documented_in_order() -> None:
    keys = [f"LOGOUT_{name.upper()}" for name in Settings.model_fields]
    assert list(read_settings()) == keys
    assert read("reference/configuration.rst").count("confval::") == len(keys)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_type_default_and_meaning_of_a_setting_are_documented(name: str) -> None:
    field = Settings.model_fields[name]
    documented = read_settings()[f"LOGOUT_{name.upper()}"]
    hint = t.get_type_hints(Settings, include_extras=True)[name]
    assert documented["type"] == name_type(hint)
    assert eval(documented["default"], {"timedelta": timedelta}) == field.default
    assert field.description is not None
    assert documented["text"].startswith(squeeze(field.description))


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_range_of_a_setting_is_documented(name: str) -> None:
    text = read_settings()[f"LOGOUT_{name.upper()}"]["text"]
    for constraint in Settings.model_fields[name].metadata:
        for limit in ("ge", "gt", "le", "lt"):
            bound = getattr(constraint, limit, None)
            if bound in (timedelta(0), LONGEST):
                continue  # The page begins with the range of durations.
            if isinstance(bound, timedelta):
                bound = int(bound.total_seconds())
            assert bound is None or re.search(rf"\b{bound}\b", text)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_example_of_a_setting_is_accepted(name: str, tmp_path: Path) -> None:
    key = f"LOGOUT_{name.upper()}"
    page = read_settings()[key]["source"]
    (example,) = re.findall(r"code-block:: python\n\n((?:        .+\n|\n)+)", page)
    app = Flask("tests", instance_path=str(tmp_path))
    app.config["JWT_SECRET_KEY"] = SECRET
    exec(inspect.cleandoc(example), {"app": app})
    app.config.setdefault("SQLALCHEMY_DATABASE_URI", "sqlite://")
    SQLAlchemy(app)
    LogoutExtension(app)
    setting = getattr(app.extensions["logout"].settings, name)
    assert setting == getattr(Settings.from_app(app), name)
    assert setting != Settings.model_fields[name].default
    dispose(app)


def test_the_names_of_related_settings_exist(make_app: MakeApp) -> None:
    section = read("reference/configuration.rst").partition("Related settings\n")[2]
    names = re.findall(r"`([A-Z_]+)`", re.sub(r":confval:`\w+`", "", section))
    config = make_app().config
    assert len(names) == 9
    assert [name for name in names if name not in config] == []


# Responses


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


def test_every_request_error_is_documented() -> None:
    documented = re.findall(
        r"^`(\w+)`, key `(\w+)`$", read("reference/responses.rst"), re.MULTILINE
    )
    errors = [
        (error["message"], error["key"])
        for endpoint in PATHS
        for _, body in examples(endpoint=endpoint).values()
        if body["data"]
        for error in body["data"]["errors"]
    ]
    assert documented == list(dict.fromkeys(errors))


def test_the_retry_interval_is_documented() -> None:
    assert f"`Retry-After: {RETRY_AFTER}`" in read("reference/responses.rst")


def test_the_setting_for_flask_restx_makes_the_response_a_401(
    make_app: MakeApp,
) -> None:
    app = make_app(TESTING=False)
    run("reference/responses.rst", app=app)

    class Profile(flask_restx.Resource):  # type: ignore[misc]  # has no types
        @jwt_required()
        def get(self) -> dict[str, t.Any]:
            return {}

    flask_restx.Api(app, doc=False).add_resource(Profile, "/profile")
    client, pair = app.test_client(), make_pair(app)
    assert client.get("/profile", headers=bearer(pair.access)).status_code == 200
    assert log_out(client, pair).data == LOGGED_OUT
    response = client.get("/profile", headers=bearer(pair.access))
    assert (response.status_code, response.json) == (
        401,
        {"msg": "Token has been revoked"},
    )


# Command line


def commands_of(app: Flask) -> dict[str, t.Any]:
    """Return the commands of ``flask logout`` by name."""
    group: t.Any = app.cli.commands["logout"]
    return dict(group.commands)


def read_sections() -> dict[str, str]:
    """Split the command line page into the sections of the commands."""
    parts = re.split(r"(?m)^(flask logout .+)\n-+\n", read("reference/cli.rst"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_has_a_section(make_app: MakeApp) -> None:
    commands = commands_of(make_app())
    titles = {
        " ".join(
            [
                f"flask logout {name}",
                *(
                    x.name.upper()
                    for x in command.params
                    if x.param_type_name == "argument"
                ),
            ]
        ): name
        for name, command in commands.items()
    }
    sections = read_sections()
    assert sections.keys() == titles.keys()
    for title, name in titles.items():
        help_text = str(inspect.getdoc(commands[name].callback))
        assert sections[title].strip().startswith(help_text.splitlines()[0])


def test_every_option_is_documented(make_app: MakeApp) -> None:
    page = read("reference/cli.rst")
    everywhere = page.partition("flask logout init\n")[0]
    sections = {title.split()[2]: text for title, text in read_sections().items()}
    for name, command in commands_of(make_app()).items():
        options = {
            x.opts[0]: x.help for x in command.params if x.param_type_name == "option"
        }
        text = sections[name]
        if options.pop("--reason", None):
            assert options.pop("--actor")
        documented = dict(re.findall(r"(?m)^`(--[\w-]+)[^`]*`\n    ((?:.+\n)+)", text))
        assert documented.keys() == options.keys()
        for option, meaning in options.items():
            assert squeeze(documented[option]).startswith(str(meaning))
    for option in ("--reason TEXT", "--actor TEXT"):
        assert f"\n`{option}`\n" in everywhere


def test_every_check_is_documented_in_order() -> None:
    section = read_sections()["flask logout check"]
    assert re.findall(r"(?m)^`([\w ]+)`\n    ", section) == [name for name, _ in CHECKS]


def test_the_commands_print_what_the_page_shows(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flask_logout")
    app = make_app(
        JWT_TOKEN_LOCATION=["headers", "cookies"],
        JWT_REFRESH_COOKIE_PATH="/auth/refresh",
    )
    token = make_pair(app, additional_claims={"jti": str(uuid4())}).access
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()
    transcript = "".join(blocks("reference/cli.rst", "console"))
    shown = re.findall(r"(?m)^\$ (.+)\n((?:(?!\$ ).*\n)*)", transcript)
    assert len(shown) == transcript.count("$ flask") == 13
    for command, output in shown:
        if command == "flask logout sessions ada":
            continue  # It needs another app, see the next test.
        _, *arguments = shlex.split(command.replace("$SID", ""))
        arguments = arguments[arguments.index("logout") + 1 :]
        sent = token if "<" in arguments else "y\n"
        written = ">" in arguments
        for sign in set(arguments) & {"<", ">"}:
            del arguments[arguments.index(sign) :]
        done = run_command(app, *arguments, stdin=sent)
        printed = "" if written else done.stdout + done.stderr
        printed = printed.replace(f"Usage: {app.name} ", "Usage: flask ")
        assert mask(output) == mask(printed)
        assert done.status == ("Error: " in output)
        if arguments == ["init"] and "Created" in output:
            keep_expired(app)


def test_the_sessions_are_printed_as_the_page_shows(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_SESSIONS=True)
    with app.app_context():
        for label in ("laptop", "telephone"):
            LogoutExtension().start_session("ada", label=label)
    transcript = "".join(blocks("reference/cli.rst", "console"))
    command = "$ flask logout sessions ada\n"
    output = transcript.partition(command)[2].partition("$ ")[0]
    assert mask(output) == mask(run_command(app, "sessions", "ada").stdout)


def keep_expired(app: Flask) -> None:
    """Store three revocations that have expired."""
    expired = [Revocation(bytes([x]) * 16, "token", PAST) for x in range(3)]
    with app.app_context():
        app.extensions["logout"].store.add(expired)


# Events


def test_the_receiver_of_the_page_is_called_at_a_logout(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    names = run("reference/events.rst", app=app)
    assert names["log_goodbye"]
    caplog.set_level(logging.INFO)
    assert log_out(app.test_client(), make_pair(app)).data == LOGGED_OUT
    assert "ada logged out" in caplog.messages


def test_every_log_event_is_documented(
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
    audit.log_upstream_failed("identity provider", 503, "it rejected the request")
    audit.log_session("session_created", "1", "ada")
    for outcome in ("repeated", "adopted", "refused"):
        audit.log_refresh(outcome, is_first=False, sid="1", subject="ada")
    audit.log_reuse("1", "ada", 2)
    events = [(x.getMessage().split()[1], x.levelname) for x in caplog.records]
    documented = re.findall(
        r"^`(\w+)`, level `([A-Z]+)`$", read("reference/events.rst"), re.MULTILINE
    )
    assert list(dict.fromkeys(events)) == documented


def test_a_log_line_looks_as_the_page_shows(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app, logout = make_app(), LogoutExtension()
    caplog.set_level(logging.INFO, "flask_logout")
    with app.app_context():
        logout.revoke_user("ada", reason="left the company", actor="ops")
    (line,) = blocks("reference/events.rst", "none")
    assert [mask(line)] == [mask(x) for x in caplog.messages]


def test_a_logout_of_a_session_and_a_token_joins_the_names(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    caplog.set_level(logging.INFO, "flask_logout")
    with_session = make_pair(app, additional_claims=flask_logout.session_claims())
    pair = with_session._replace(access=make_pair(app).access)
    assert log_out(app.test_client(), pair).data == LOGGED_OUT
    (line,) = caplog.messages
    assert line.split()[1] == "authn_token_revoked+session_logout"
    details = json.loads(line.split(maxsplit=2)[2])
    assert (details["reason"], details["actor"]) == ("logout", "ada")


# API


def test_every_public_name_is_documented() -> None:
    pages = read("reference/api.rst") + read("reference/events.rst")
    documented = re.findall(r"^\.\. auto\w+:: (\w+)$", pages, re.MULTILINE)
    assert sorted(documented) == flask_logout.__all__
