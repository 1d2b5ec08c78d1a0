"""The pages of the group "Start" do what they say."""

from __future__ import annotations

import difflib
import re
import shutil
import typing as t
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask import session
from flask.testing import FlaskClient
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy
from werkzeug.exceptions import InternalServerError

from flask_logout import session_claims

from .conftest import add_routes
from .conftest import dispose
from .conftest import MakeApp
from .conftest import SECRET
from .flask_run import Server
from .flask_run import Shell
from .pages import DOCS
from .pages import read
from .pages import run
from .proxy import free_port
from .tokens import bearer
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import Pair

TUTORIAL = "start/tutorial.rst"
STEPS = DOCS / "start" / "tutorial"
URL = "http://127.0.0.1:5000"
INSTALLATION = [
    "mkdir logout-tutorial",
    "cd logout-tutorial",
    "python3 -m venv .venv",
    ". .venv/bin/activate",
    "pip install flask-logout",
]


def read_sections(page: str) -> dict[str, str]:
    """Return the sections of a page by heading."""
    parts = re.split(r"^(.+)\n[-=]+\n", read(page), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def list_commands(block: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output it shows."""
    block = re.sub(r"^ +", "", block, flags=re.M)
    found = re.findall(r"^\$ (.+\n(?:> .+\n)*)((?:(?!\$ ).+\n)*)", block + "\n", re.M)
    return [(re.sub(r"^> ", "", x, flags=re.M).strip(), y.strip()) for x, y in found]


def list_actions(section: str) -> t.Iterator[tuple[str, str]]:
    """List what a section tells the reader to do, in order."""
    actions = re.finditer(
        r"^\.\. literalinclude:: (?P<file>.+)"
        r"|^\.\. code-block:: console\n\n(?P<console>(?: +.+\n)+)",
        section,
        re.M,
    )
    for action in actions:
        assert action.lastgroup is not None
        yield action.lastgroup, action[action.lastgroup]


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    sections = read_sections(TUTORIAL)
    steps = [name for name in sections if name.startswith("Step ")]
    assert len(steps) == len(list(STEPS.glob("*.py"))) == 6
    done = 0
    with Server(tmp_path) as server, Shell(tmp_path) as shell:
        for step in steps:
            for kind, text in list_actions(sections[step]):
                if kind == "file":
                    shutil.copy(DOCS / "start" / text, tmp_path / "app.py")
                    continue
                for command, shown in list_commands(text):
                    if command == "flask run":
                        server.restart()
                        continue
                    output = mask(shell.run(command.replace(URL, server.url)))
                    assert (step, command, output) == (step, command, mask(shown))
                    done += 1
    prompts = sum(section.count("    $ ") for section in sections.values())
    assert prompts == done + len(INSTALLATION) + read(TUTORIAL).count("$ flask run\n")


def mask(output: str) -> str:
    """Replace what differs each time: tokens and instants."""
    output = re.sub(r"eyJ[\w.-]+", "eyJ…", output)
    return re.sub(r"\d{4}-\d\d-\d\d [\d:.]+\+00:00", "2026-01-01", output)


def test_the_tutorial_begins_with_nothing_but_a_package() -> None:
    (action,) = list_actions(read_sections(TUTORIAL)["Tutorial"])
    assert [command for command, _ in list_commands(action[1])] == INSTALLATION


@pytest.mark.parametrize("step", range(2, 7))
def test_the_new_lines_of_a_step_are_highlighted(step: int) -> None:
    before, after = (
        (STEPS / f"step{x}.py").read_text().splitlines() for x in (step - 1, step)
    )
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    changed = [x for tag, *_, i, j in matcher.get_opcodes() for x in new(tag, i, j)]
    changed = [x for x in changed if after[x - 1]]
    shown = re.search(
        rf"tutorial/step{step}\.py\n    :emphasize-lines: (.+)", read(TUTORIAL)
    )
    assert shown is not None
    assert spread(shown[1]) == changed


def new(tag: str, start: int, stop: int) -> range:
    """Return the numbers of the lines that an edit adds."""
    return range(0) if tag == "equal" else range(start + 1, stop + 1)


def spread(ranges: str) -> list[int]:
    """Return the numbers in a list such as ``1,3-5``."""
    bounds = [x.partition("-") for x in ranges.split(",")]
    return [n for x, _, y in bounds for n in range(int(x), int(y or x) + 1)]


def test_the_quickstart_adds_logout_to_an_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = run("start/quickstart.rst")["app"]
    client, current, other = app.test_client(), *make_logins(app)
    assert client.post("/password", headers=bearer(current.access)).data == b"{}\n"
    assert client.post("/password", headers=bearer(other.access)).data == REJECTED
    assert log_out(client, current).data == LOGGED_OUT
    assert client.post("/password", headers=bearer(current.access)).data == REJECTED
    dispose(app)


def make_logins(app: Flask) -> tuple[Pair, Pair]:
    """Log ada in twice."""
    with app.app_context():
        claims = session_claims(), session_claims()
    first, second = (make_pair(app, additional_claims=x) for x in claims)
    return first, second


JWT_REVOKED = b'{"msg":"JWT revoked"}\n'
ACCEPTED = b'{"identity":"ada"}\n'
REJECTED = b'{"msg":"Token has been revoked"}\n'


class Recipe(t.NamedTuple):
    """An app with the blocklist from the page."""

    app: Flask
    db: SQLAlchemy
    jwt: JWTManager
    table: t.Any

    @property
    def client(self) -> FlaskClient:
        """A client without cookies."""
        return self.app.test_client(use_cookies=False)

    def me(self, token: str) -> tuple[int, bytes]:
        """Send an access token to a protected route."""
        response = self.client.get("/me", headers=bearer(token))
        return response.status_code, response.data

    def refresh(self, token: str) -> tuple[int, bytes]:
        """Send a refresh token to the route for refresh tokens."""
        response = self.client.post("/refresh", headers=bearer(token))
        return response.status_code, response.data

    def log_out(self, token: str) -> tuple[int, bytes]:
        """Revoke a token as the recipe does."""
        response = self.client.delete("/logout", headers=bearer(token))
        return response.status_code, response.data


@pytest.fixture
def recipe(tmp_path: Path) -> t.Iterator[Recipe]:
    """The recipe on a SQLite file."""
    made = make_recipe(f"sqlite:///{tmp_path / 'app.db'}")
    with made.app.app_context():
        made.db.create_all()
    yield made
    dispose(made.app)


def make_recipe(url: str) -> Recipe:
    """Make an app with the blocklist from the page and two protected routes."""
    app = Flask("recipe")
    app.config["JWT_SECRET_KEY"] = SECRET
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db, jwt = SQLAlchemy(app), JWTManager(app)
    names = run("start/why.rst", app=app, db=db, jwt=jwt)
    add_routes(app)
    return Recipe(app, db, jwt, names["TokenBlocklist"])


def test_recipe_revokes_one_token_per_request(recipe: Recipe) -> None:
    pair = make_pair(recipe.app)
    assert recipe.log_out(pair.access) == (200, JWT_REVOKED)
    assert recipe.me(pair.access) == (401, REJECTED)
    assert recipe.refresh(pair.refresh) == (200, ACCEPTED)
    assert recipe.log_out(pair.refresh) == (200, JWT_REVOKED)
    assert recipe.refresh(pair.refresh) == (401, REJECTED)


def test_recipe_leaves_tokens_from_earlier_refreshes(recipe: Recipe) -> None:
    earlier, pair = make_pair(recipe.app).access, make_pair(recipe.app)
    assert [recipe.log_out(x) for x in pair] == [(200, JWT_REVOKED)] * 2
    assert recipe.me(earlier) == (200, ACCEPTED)


def test_recipe_fails_after_two_simultaneous_logouts(recipe: Recipe) -> None:
    token, both_checked = make_pair(recipe.app).access, Barrier(2)
    sa.event.listen(recipe.db.session, "before_flush", lambda *_: both_checked.wait(60))
    with ThreadPoolExecutor(2) as pool:
        responses = list(pool.map(recipe.log_out, [token] * 2))
    assert responses == [(200, JWT_REVOKED)] * 2
    assert recipe.me(token) == (500, internal_server_error())


def test_recipe_stores_no_users(recipe: Recipe) -> None:
    assert recipe.table.__table__.columns.keys() == ["id", "jti", "created_at"]


def test_recipe_accepts_a_token_again_when_its_row_is_deleted(recipe: Recipe) -> None:
    pair = make_pair(recipe.app)
    assert [recipe.log_out(x) for x in pair] == [(200, JWT_REVOKED)] * 2
    lifetime = recipe.app.config["JWT_ACCESS_TOKEN_EXPIRES"]
    assert lifetime == timedelta(minutes=15)
    with recipe.app.app_context():
        now = recipe.db.session.query(recipe.table).first().created_at
        with time_machine.travel(now + lifetime + timedelta(minutes=1), tick=False):
            assert recipe.refresh(pair.refresh) == (401, REJECTED)
            recipe.db.session.query(recipe.table).filter(
                recipe.table.created_at < now + timedelta(minutes=1)
            ).delete()
            recipe.db.session.commit()
            assert recipe.refresh(pair.refresh) == (200, ACCEPTED)


def test_recipe_responds_with_html_if_the_database_is_down() -> None:
    recipe = make_recipe(f"postgresql+psycopg://127.0.0.1:{free_port()}/app")
    response = recipe.me(make_pair(recipe.app).access)
    assert response == (500, internal_server_error())
    dispose(recipe.app)


def test_recipe_starts_a_transaction_and_the_extension_does_not(
    recipe: Recipe, make_app: MakeApp
) -> None:
    bodies = []
    for app in (recipe.app, make_app()):
        db = app.extensions["sqlalchemy"]
        view = jwt_required()(lambda db=db: {"begun": db.session().in_transaction()})
        app.add_url_rule("/begun", view_func=view, endpoint="begun")
        headers = bearer(make_pair(app).access)
        bodies.append(app.test_client().get("/begun", headers=headers).data)
    assert bodies == [b'{"begun":true}\n', b'{"begun":false}\n']


def test_recipe_is_switched_off_by_another_loader(recipe: Recipe) -> None:
    token = make_pair(recipe.app).access
    assert recipe.log_out(token) == (200, JWT_REVOKED)
    assert recipe.me(token) == (401, REJECTED)
    recipe.jwt.token_in_blocklist_loader(lambda header, payload: False)
    assert recipe.me(token) == (200, ACCEPTED)


def test_a_copy_of_a_flask_session_stays_valid_after_a_logout() -> None:
    app = Flask("sessions")
    app.secret_key = SECRET

    @app.post("/login")
    def log_in() -> dict[str, t.Any]:
        session["name"] = "ada"
        return {}

    @app.post("/logout")
    def log_out() -> dict[str, t.Any]:
        session.clear()
        return {}

    @app.get("/me")
    def me() -> dict[str, t.Any]:
        return {"name": session.get("name")}

    client, thief = app.test_client(), app.test_client()
    client.post("/login")
    copy = client.get_cookie("session")
    assert copy is not None
    thief.set_cookie("session", copy.value)
    client.post("/logout")
    assert client.get("/me").data == b'{"name":null}\n'
    assert thief.get("/me").data == b'{"name":"ada"}\n'


def internal_server_error() -> bytes:
    """Return the page that Flask sends if a view raises."""
    return InternalServerError().get_body().encode()
