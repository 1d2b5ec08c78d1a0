"""The running example responds to generated requests as its OpenAPI document says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request
from urllib.request import urlopen

import pytest

from flask_logout import openapi
from flask_logout.config.value_types import Endpoint

from .ci import examples
from .tokens import bearer
from .tokens import Pair

ROOT = Path(__file__).parent.parent
# Enough examples for each phase to reach every branch of the endpoint in a few seconds.
MAX_EXAMPLES = examples(30)

SET_UP = "    logout.init_app(app)"
# The upstream refuses to end every login of a user, so that the
# access token stays valid for the next generated request.
SET_UP_ALL = """
    from flask_logout import ExternalAPIError

    def refuse(pair):
        if pair.refresh is None:
            raise ExternalAPIError()

    logout.upstream(refuse)
    logout.init_app(app)"""

# A schema can't describe a valid refresh token. So with a valid access token, a well-formed
# body leads to a 400 like a malformed one, and without it, both lead to a 401. All other
# checks of schemathesis use their defaults.
CONFIG = """\
base-url = "{url}"
headers = {headers}
warnings = false

[checks.positive_data_acceptance]
expected-statuses = {statuses}

[checks.negative_data_rejection]
expected-statuses = {statuses}
"""


class Example(t.NamedTuple):
    """The running example app."""

    url: str
    login: dict[str, str]
    log: Path


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Example]:
    """The example app in a process of its own, with a new data directory."""
    folder = tmp_path_factory.mktemp("example")
    script = Path(shutil.copy(ROOT / "example_app.py", folder))
    found = re.search(
        r'^USERNAME, PASSWORD = "(.+)", "(.+)"$', script.read_text(), re.M
    )
    assert found is not None
    source = script.read_text()
    assert source.count(SET_UP) == 1
    script.write_text(source.replace(SET_UP, SET_UP_ALL))
    login = {"username": found[1], "password": found[2]}
    log = folder / "stderr"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, str(script), "--port", "0"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            yield Example(find_url(process.stdout), login, log)
        finally:
            process.terminate()


def find_url(lines: t.Iterable[str] | None) -> str:
    """Read the address that the example prints when it is ready."""
    for line in lines or ():
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found is not None:
            return found[0]
    raise AssertionError("the example did not start")


def log_in(example: Example) -> Pair:
    """Log in, and return a pair of tokens."""
    request = Request(
        f"{example.url}/auth/login",
        json.dumps(example.login).encode(),
        {"Content-Type": "application/json"},
    )
    with urlopen(request) as response:
        body = json.load(response)
    return Pair(body["access_token"], body["refresh_token"])


def get_status(example: Example, access_token: str) -> int:
    """Return the status of the protected route."""
    try:
        with urlopen(Request(f"{example.url}/me", headers=bearer(access_token))) as me:
            return t.cast(int, me.status)
    except HTTPError as e:
        with e:
            return e.code


def run(
    folder: Path,
    example: Example,
    *options: str,
    document: dict[str, t.Any],
    access_token: str | None,
    statuses: list[int],
) -> str:
    """Run schemathesis with all its checks, and return its output."""
    headers = "{}"
    if access_token is not None:
        headers = f'{{ Authorization = "Bearer {access_token}" }}'
    config, described = folder / "schemathesis.toml", folder / "openapi.json"
    config.write_text(
        CONFIG.format(url=example.url, headers=headers, statuses=statuses)
    )
    described.write_text(json.dumps(document))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)]
    command += ["run", str(described), "--checks", "all", "--no-color", *options]
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in example.log.read_text()
    return result.stdout


@pytest.mark.parametrize(
    ("is_logged_in", "endpoints", "statuses"),
    [
        (True, ["logout"], [400]),
        # Whether the upstream or the validation rejects a request, the status is 400.
        (True, ["logout_all"], [200, 400]),
        (False, ["logout", "logout_all"], [401]),
    ],
)
def test_all_generated_requests_get_documented_responses(
    example: Example,
    tmp_path: Path,
    is_logged_in: bool,
    endpoints: list[Endpoint],
    statuses: list[int],
) -> None:
    pair = log_in(example)
    said = run(
        tmp_path,
        example,
        f"--max-examples={MAX_EXAMPLES}",
        document=openapi(endpoints=endpoints),
        access_token=pair.access if is_logged_in else None,
        statuses=statuses,
    )
    assert re.search(r"✅ Examples\n.*✅ Coverage\n.*✅ Fuzzing", said)
    is_accepted = '"POST /auth/logout/all HTTP/1.1" 200' in example.log.read_text()
    assert is_accepted or 200 not in statuses
    assert get_status(example, pair.access) == 200


def test_the_documented_request_logs_out(example: Example, tmp_path: Path) -> None:
    pair, document = log_in(example), openapi()
    # Only one request, because a second one with these tokens is rejected.
    del document["components"]["schemas"]["LogoutRequest"]["properties"][
        "refresh_token"
    ]["examples"]
    body = document["paths"]["/auth/logout"]["post"]["requestBody"]
    body["content"]["application/json"]["examples"]["logout"]["value"] = {
        "refresh_token": pair.refresh
    }
    said = run(
        tmp_path,
        example,
        "--phases=examples",
        document=document,
        access_token=pair.access,
        statuses=[200],
    )
    assert "✅ Examples" in said
    # The check "ignored_auth" also sends it without a token and with an invalid one.
    log = example.log.read_text().partition('"POST /auth/logout HTTP/1.1" 200')[2]
    assert log.count('" 401 -') == 2
    assert get_status(example, pair.access) == 401
