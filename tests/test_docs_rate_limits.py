"""The page on rate limits, with Flask-Limiter."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from .conftest import add_routes
from .conftest import dispose
from .pages import blocks
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import UNAVAILABLE

LIMIT = "60/minute"
TOO_MANY = b'{"code":429,"data":{},"message":"too many requests"}\n'


class RunPage(t.Protocol):
    """Run the page, changed in some places, and give its names."""

    def __call__(self, replaced: dict[str, str] | None = None) -> dict[str, t.Any]: ...


@pytest.fixture
def run_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[RunPage]:
    monkeypatch.chdir(tmp_path)
    apps: list[Flask] = []

    def run_it(replaced: dict[str, str] | None = None) -> dict[str, t.Any]:
        names: dict[str, t.Any] = {"__name__": "limits"}
        for block in blocks("howto/rate-limits.rst", "python"):
            for old, new in {LIMIT: "2/minute", **(replaced or {})}.items():
                block = block.replace(old, new)
            exec(block, names)
        apps.append(names["app"])
        return names

    yield run_it
    for app in apps:
        dispose(app)


def log_out_thrice(app: Flask) -> list[TestResponse]:
    client = app.test_client()
    return [log_out(client, make_pair(app)) for _ in "123"]


def bodies(responses: list[TestResponse]) -> list[bytes]:
    return [response.data for response in responses]


def test_a_logout_over_the_limit_revokes_nothing(run_page: RunPage) -> None:
    app = run_page()["app"]
    responses = log_out_thrice(app)
    assert bodies(responses) == [LOGGED_OUT, LOGGED_OUT, TOO_MANY]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert 0 < int(responses[2].headers["Retry-After"]) <= 60
    (shown,) = blocks("howto/rate-limits.rst", "json")
    assert shown.strip().encode() == TOO_MANY.strip()


def test_the_tokens_of_a_limited_logout_still_work(run_page: RunPage) -> None:
    names = run_page()
    app, pair = names["app"], make_pair(names["app"])
    add_routes(app)
    log_out_thrice(app)
    assert log_out(app.test_client(), pair).status_code == 429
    assert get_status(app.test_client(), pair) == (200, 200)
    names["limiter"].reset()
    assert log_out(app.test_client(), pair).data == LOGGED_OUT


def test_a_limited_view_has_to_be_put_back(run_page: RunPage) -> None:
    app = run_page({'app.view_functions["logout.logout"] =': "_ ="})["app"]
    assert bodies(log_out_thrice(app)) == [LOGGED_OUT] * 3


def test_the_default_body_is_html(run_page: RunPage) -> None:
    app = run_page({"@app.errorhandler(429)": ""})["app"]
    assert log_out_thrice(app)[2].mimetype == "text/html"


def test_application_limits_do_not_count_logouts(run_page: RunPage) -> None:
    limits = {
        "get_remote_address,\n": 'get_remote_address, application_limits=["1/hour"],'
    }
    app = run_page(limits)["app"]
    add_routes(app)
    client = app.test_client()
    assert [client.get("/open").status_code for _ in "12"] == [200, 429]
    assert bodies(log_out_thrice(app)) == [LOGGED_OUT, LOGGED_OUT, TOO_MANY]


def test_preflights_count_only_for_the_blueprint(run_page: RunPage) -> None:
    app = run_page()["app"]
    assert preflights(app) == [200, 200, 200]
    names = run_page({"(view)": '(app.blueprints["logout"])'})
    assert preflights(names["app"]) == [200, 200, 429]


def preflights(app: Flask) -> list[int]:
    client = app.test_client()
    return [client.options("/auth/logout").status_code for _ in "123"]


def test_a_storage_that_is_down_stops_no_logout(run_page: RunPage) -> None:
    down = {"memory://": "redis://127.0.0.1:1"}
    app = run_page(down)["app"]
    assert bodies(log_out_thrice(app)) == [LOGGED_OUT, LOGGED_OUT, TOO_MANY]
    app = run_page({**down, "in_memory_fallback_enabled=True,": ""})["app"]
    app.config["PROPAGATE_EXCEPTIONS"] = False
    assert [answer.status_code for answer in log_out_thrice(app)] == [500] * 3


def test_headers_raise_the_interval_of_a_503(run_page: RunPage) -> None:
    app = run_page()["app"]
    with app.app_context():
        app.extensions["sqlalchemy"].drop_all()
    response = log_out(app.test_client(), make_pair(app))
    assert response.data == UNAVAILABLE
    assert 5 < int(response.headers["Retry-After"]) <= 60
