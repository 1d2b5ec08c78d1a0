"""The client of the how-to, against an app that is served."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from flask import request
from flask import Response
from flask_jwt_extended import create_access_token
from flask_jwt_extended import get_jwt
from flask_jwt_extended import get_jwt_identity
from flask_jwt_extended import jwt_required

from flask_logout import session_claims

from .conftest import MakeApp
from .pages import run
from .proxy import free_port
from .serving import serve
from .tokens import expired
from .tokens import get_status
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair

PAGE = run("howto/clients.rst")

LOGGED_OUT_ON_REFRESH = [
    ("POST /auth/logout", 401),
    ("POST /auth/refresh", 200),
    ("POST /auth/logout", 200),
]


class Served(t.NamedTuple):
    """An app that is served, and what it has answered."""

    app: Flask
    url: str
    answers: list[tuple[str, int]]

    def connect(self, pair: Pair) -> t.Any:
        """Make the client of the page."""
        return PAGE["Client"](self.url, pair.access, pair.refresh)

    def status(self, pair: Pair) -> tuple[int, int]:
        """Tell how the app responds to both tokens."""
        return get_status(self.app.test_client(), pair)


@pytest.fixture
def served(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Served]:
    """An app with a refresh, on a port of its own."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    app, answers = make_app(), list[tuple[str, int]]()

    @app.post("/auth/refresh")
    @jwt_required(refresh=True)
    def renew() -> dict[str, t.Any]:
        claims = session_claims(get_jwt())
        token = create_access_token(get_jwt_identity(), additional_claims=claims)
        return {"access_token": token}

    @app.after_request
    def note(response: Response) -> Response:
        answers.append((f"{request.method} {request.path}", response.status_code))
        return response

    with serve(app) as port:
        yield Served(app, f"http://127.0.0.1:{port}", answers)


def tokens_of(client: t.Any) -> tuple[str | None, str | None]:
    """Read which tokens a client keeps."""
    return client.access, client.refresh


def test_the_client_logs_out(served: Served) -> None:
    pair = make_pair(served.app)
    client = served.connect(pair)
    assert client.call("GET", "/me") == (200, {"identity": "ada"})
    assert client.log_out() is True
    assert tokens_of(client) == (None, None)
    assert served.answers == [("GET /me", 200), ("POST /auth/logout", 200)]
    assert served.status(pair) == (401, 401)


def test_the_client_refreshes_once(served: Served) -> None:
    pair = Pair(expired(served.app).access, make_pair(served.app).refresh)
    client = served.connect(pair)
    assert client.call("GET", "/me") == (200, {"identity": "ada"})
    assert served.answers == [
        ("GET /me", 401),
        ("POST /auth/refresh", 200),
        ("GET /me", 200),
    ]
    assert client.access != pair.access


def test_the_client_gives_up_with_its_refresh_token(served: Served) -> None:
    client = served.connect(expired(served.app))
    assert client.call("GET", "/me") == (401, {"msg": "Token has expired"})
    assert served.answers == [("GET /me", 401), ("POST /auth/refresh", 401)]
    assert tokens_of(client) == (None, None)


def test_the_client_logs_out_with_an_expired_access_token(served: Served) -> None:
    pair = Pair(expired(served.app).access, make_pair(served.app).refresh)
    client = served.connect(pair)
    assert client.log_out() is True
    assert served.answers == LOGGED_OUT_ON_REFRESH
    assert served.status(pair) == (401, 401)


def test_an_expired_access_token_logs_out_within_the_grace(make_app: MakeApp) -> None:
    app = make_app(LOGOUT_EXPIRED_ACCESS_GRACE=120)
    pair = Pair(expired(app).access, make_pair(app).refresh)
    assert log_out(app.test_client(), pair).data == LOGGED_OUT


def test_the_client_repeats_a_logout_whose_answer_was_lost(served: Served) -> None:
    pair = make_pair(served.app)
    assert log_out(served.app.test_client(), pair).data == LOGGED_OUT
    client = served.connect(pair)
    assert client.log_out() is True
    assert tokens_of(client) == (None, None)


def test_the_client_keeps_its_tokens_after_a_503(served: Served) -> None:
    app, pair = served.app, make_pair(served.app)
    db, client = app.extensions["sqlalchemy"], served.connect(pair)
    with app.app_context():
        db.drop_all()
    for send in (client.log_out, lambda: client.call("GET", "/me")):
        with pytest.raises(PAGE["TryLater"]) as info:
            send()
        assert info.value.seconds == 5
    assert tokens_of(client) == tuple(pair)
    with app.app_context():
        db.create_all()
    assert client.log_out() is True
    assert served.status(pair) == (401, 401)


def test_the_client_keeps_its_tokens_offline(served: Served) -> None:
    pair = make_pair(served.app)
    client = served.connect(pair)
    client.url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(PAGE["TryLater"]) as info:
        client.log_out()
    assert info.value.seconds == 60
    assert tokens_of(client) == tuple(pair)
    client.url = served.url
    assert client.log_out() is True


def test_the_client_keeps_its_tokens_after_a_400(served: Served) -> None:
    pair = make_pair(served.app)
    client = served.connect(Pair(pair.access, make_pair(served.app, "bob").refresh))
    assert client.log_out() is False
    assert served.answers == [("POST /auth/logout", 400)]
    assert served.status(pair) == (200, 200)
