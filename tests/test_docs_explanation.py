"""The pages that explain: their diagrams, their claims, and how they fit on a phone."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import typing as t
from importlib.util import find_spec
from pathlib import Path

import pytest
from flask import Flask
from flask_jwt_extended import JWTManager
from selenium import webdriver
from selenium.webdriver.common.by import By

import flask_logout
from flask_logout import ExternalAPIError
from flask_logout import LogoutExtension
from flask_logout import LogoutTokens
from flask_logout import session_claims

from .chromium import open_browser
from .ci import skip_or_fail
from .conftest import add_routes
from .conftest import dispose
from .conftest import MakeApp
from .conftest import SECRET
from .pages import DOCS
from .pages import read
from .tokens import bearer
from .tokens import claims_of
from .tokens import get_status
from .tokens import INVALID_TOKEN
from .tokens import log_out
from .tokens import LOGGED_OUT
from .tokens import make_pair
from .tokens import tampered
from .tokens import UNAVAILABLE

DIAGRAMS = DOCS / "_static" / "diagrams"
SOURCES = sorted(path.stem for path in DIAGRAMS.glob("*.txt"))
PLOTS = sorted(path.stem for path in (DOCS / "_static").glob("*.svg"))
WIDTHS = [390, 1280]
# WCAG 2.2, success criterion 1.4.3.
CONTRAST = 4.5


def load_diagrams() -> dict[str, t.Any]:
    """Load the script that draws the diagrams."""
    return runpy.run_path(str(DOCS / "diagrams.py"))


def find_images(page: str) -> dict[str, str]:
    """Read the images of a page, each with its alternative text."""
    found = re.findall(
        r"\.\. image:: /_static/(\S+)\n(?: +:class: .*\n)? +:alt: ((?:.+\n)+)",
        read(page),
    )
    return {name: " ".join(alt.split()) for name, alt in found}


def contrast(first: str, second: str) -> float:
    """Compute the contrast of two colors, as WCAG 2.2 defines it."""
    dark, light = sorted(map(_luminance, (first, second)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", SOURCES)
def test_a_diagram_is_what_its_source_gives(name: str) -> None:
    drawn = load_diagrams()["draw"]((DIAGRAMS / f"{name}.txt").read_text())
    assert (DIAGRAMS / f"{name}.svg").read_text() == drawn


@pytest.mark.parametrize("scheme", ["LIGHT", "DARK"])
def test_a_diagram_is_readable_in_the_light_and_in_the_dark(scheme: str) -> None:
    colors = load_diagrams()[scheme]
    pairs = [
        (front, back)
        for front in ("text", "line", "good", "bad")
        for back in ("page", "box")
        if contrast(colors[front], colors[back]) < CONTRAST
    ]
    assert pairs == []


@pytest.mark.parametrize("name", PLOTS)
def test_the_text_of_a_plot_is_readable_on_its_background(name: str) -> None:
    svg = (DOCS / "_static" / f"{name}.svg").read_text()
    background = re.search(r'id="patch_1">\s*<path d="[^"]*" style="fill: (.+?)"', svg)
    assert background is not None
    colors = set(re.findall(r"<text [^>]*fill: (#\w{6})", svg))
    assert colors
    low = [x for x in colors if contrast(x, background[1]) < CONTRAST]
    assert low == []


def test_each_diagram_and_plot_is_shown_with_a_text_that_states_its_content() -> None:
    diagrams = find_images("explanation/how-it-works.rst")
    plots = find_images("explanation/performance.rst")
    assert sorted(diagrams) == [f"diagrams/{name}.svg" for name in SOURCES]
    assert sorted(plots) == [f"{name}.svg" for name in PLOTS]
    short = [x for x, alt in (diagrams | plots).items() if len(alt) < 100]
    assert short == []


@pytest.mark.parametrize("name", PLOTS)
def test_the_numbers_of_an_alternative_text_are_in_the_plot_or_its_table(
    name: str,
) -> None:
    alt = find_images("explanation/performance.rst")[f"{name}.svg"]
    shown = "".join(
        (DOCS / "_static" / f"{name}.{kind}").read_text() for kind in ("svg", "txt")
    )
    numbers = re.findall(r"\d[\d,.]*\d|\d", alt)
    assert len(numbers) > 2
    assert [x for x in numbers if x not in shown] == []


def test_no_page_speaks_of_names_inside_the_benchmarks() -> None:
    tables = "".join(x.read_text() for x in (DOCS / "_static").glob("*.txt"))
    assert '"Flask-Logout"' in tables
    assert '"Flask-Logout, mirror on"' in tables
    assert re.findall("strict|mirrored", tables) == []


def test_a_logout_takes_the_documented_steps_in_order(make_app: MakeApp) -> None:
    app = make_app()
    problems: list[object] = [ExternalAPIError(details={"status": 502})]

    def end_session(pair: LogoutTokens) -> None:
        for problem in problems:
            raise t.cast(Exception, problem)

    app.extensions["logout"].upstreams.append(end_session)
    client, pair = app.test_client(), make_pair(app)
    bad = pair._replace(access=tampered(pair.access))
    no_body = client.post("/auth/logout", headers=bearer(pair.access), data="{")
    foreign = pair._replace(refresh=make_pair(app, "eve").refresh)
    assert [
        client.post("/auth/logout", headers=bearer(bad.access), data="{").status_code,
        no_body.get_json()["data"]["errors"][0]["message"],
        log_out(client, foreign).get_json()["data"]["errors"][0]["message"],
        log_out(client, pair).get_json()["data"]["details"],
    ] == [401, "invalid_json", "wrong_subject", {"status": 502}]
    assert get_status(client, pair) == (200, 200)
    problems.clear()
    assert log_out(client, pair).data == LOGGED_OUT
    assert get_status(client, pair) == (401, 401)
    steps = re.findall(r"^#\.  (.+)", read("explanation/how-it-works.rst"), re.M)
    assert [x.split()[1] for x in steps] == [
        *("verifies", "validates", "verifies", "calls", "revokes", "writes")
    ]


def test_the_timeline_of_log_out_everywhere_is_true(make_app: MakeApp) -> None:
    app = make_app()
    client = app.test_client()
    with app.app_context():
        laptop, phone, browser = (session_claims() for _ in "123")
        LogoutExtension().revoke_user("ada", keep_session=browser["sid"])
        refreshed = session_claims(phone)
        new = session_claims()
    verdicts = {
        name: get_status(client, make_pair(app, additional_claims=claims))[0]
        for name, claims in {
            "Laptop": laptop,
            "Phone": refreshed,
            "This browser": browser,
            "New login": new,
        }.items()
    }
    source = (DIAGRAMS / "log-out-everywhere.txt").read_text()
    drawn = re.findall(r"^login: \d+, (.+?), (\w+),", source, re.M)
    codes = {"accepted": 200, "rejected": 401}
    assert verdicts == {name: codes[verdict] for name, verdict in drawn}


def test_each_alert_is_a_record_that_the_package_logs() -> None:
    alerts = re.findall(
        r"^`(.+?)`, level `(?:ERROR|WARNING)`$",
        read("explanation/operations.rst"),
        re.M,
    )
    folder = Path(flask_logout.__file__).parent
    code = "".join(path.read_text() for path in folder.rglob("*.py"))
    assert len(alerts) == 6
    assert [x for x in alerts if x.rstrip(" …") not in code] == []


def test_the_troubleshooting_section_quotes_what_the_app_says(
    make_app: MakeApp,
) -> None:
    app = make_app(PROPAGATE_EXCEPTIONS=True)
    JWTManager(app)
    with pytest.raises(flask_logout.ConfigError) as caught:
        app.test_client().get("/open")
    quoted = re.findall(r'traceback says "(.+?)"', read("explanation/operations.rst"))
    assert [x in str(caught.value) for x in quoted] == [True]


def test_the_glossary_is_in_alphabetical_order() -> None:
    terms = re.findall(r"^    (\S.*)$", read("explanation/glossary.rst"), re.M)
    assert len(terms) > 20
    assert terms == sorted(terms)


def test_the_faq_asks_questions() -> None:
    asked = re.findall(r"^(\S.+)\n    \S", read("explanation/faq.rst"), re.M)
    assert len(asked) >= 12
    assert [x for x in asked if not x.endswith("?")] == []


def test_a_second_logout_is_a_401(make_app: MakeApp) -> None:
    app = make_app()
    client, pair = app.test_client(), make_pair(app)
    answers = [log_out(client, pair).data for _ in "12"]
    assert answers == [LOGGED_OUT, INVALID_TOKEN]


def test_a_logout_with_cookies_needs_the_csrf_token_of_the_access_cookie(
    make_app: MakeApp,
) -> None:
    app = make_app(JWT_TOKEN_LOCATION=["cookies"])
    client, pair = app.test_client(), make_pair(app)
    client.set_cookie("access_token_cookie", pair.access)
    client.set_cookie("refresh_token_cookie", pair.refresh)
    assert client.post("/auth/logout").data == INVALID_TOKEN
    proof = {"X-CSRF-TOKEN": claims_of(pair.access)["csrf"]}
    assert client.post("/auth/logout", headers=proof).data == LOGGED_OUT


def test_an_app_without_a_database_keeps_revocations_in_a_file(tmp_path: Path) -> None:
    app = Flask("tests", instance_path=str(tmp_path))
    app.config["JWT_SECRET_KEY"] = SECRET
    LogoutExtension(app)
    add_routes(app)
    client, pair = app.test_client(), make_pair(app)
    assert log_out(client, pair).data == LOGGED_OUT
    assert get_status(client, pair) == (401, 401)
    assert (tmp_path / "logout.db").exists()
    dispose(app)


def test_without_its_table_routes_with_a_token_are_a_503(make_app: MakeApp) -> None:
    app = make_app()
    client, headers = app.test_client(), bearer(make_pair(app).access)
    db = app.extensions["sqlalchemy"]
    with app.app_context():
        db.drop_all()
        rejected = client.get("/me", headers=headers)
        assert rejected.data == UNAVAILABLE
        assert rejected.headers["Retry-After"] == "5"
        assert client.get("/open").status_code == 200
        db.create_all()
    assert client.get("/me", headers=headers).status_code == 200


def test_tokens_from_before_the_extension_can_be_revoked(make_app: MakeApp) -> None:
    old = Flask("old")
    old.config["JWT_SECRET_KEY"] = SECRET
    JWTManager(old)
    pair, other, third = (make_pair(old) for _ in "123")
    app = make_app()
    client = app.test_client()
    assert log_out(client, pair).data == LOGGED_OUT
    assert get_status(client, pair) == (401, 401)
    assert get_status(client, other) == (200, 200)
    with app.app_context():
        LogoutExtension().revoke_user("ada")
    assert get_status(client, third) == (401, 401)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as HTML."""
    if find_spec("sphinx") is None:
        skip_or_fail("Sphinx is not installed: pip install -e '.[test]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(DOCS)]
    subprocess.run([*command, str(folder)], check=True, cwd=DOCS.parent)
    return folder


@pytest.fixture(scope="module")
def browser(
    tmp_path_factory: pytest.TempPathFactory,
) -> t.Iterator[webdriver.Chrome]:
    """Chromium, with a profile of its own."""
    with open_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def set_width(browser: webdriver.Chrome, width: int) -> None:
    """Make the window as wide as a screen."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_screen(
    browser: webdriver.Chrome, site: Path, width: int
) -> None:
    set_width(browser, width)
    too_wide = {}
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        browser.get(page.as_uri())
        found = browser.execute_script("return document.documentElement.scrollWidth")
        if found > width:
            too_wide[str(page.relative_to(site))] = found
    assert too_wide == {}


@pytest.mark.parametrize("name", SOURCES)
def test_the_words_of_a_diagram_fit(browser: webdriver.Chrome, name: str) -> None:
    browser.get((DIAGRAMS / f"{name}.svg").as_uri())
    texts = browser.find_elements(By.TAG_NAME, "text")
    boxes = "return arguments[0].map(x => x.getBBox()).map(x => [x.x, x.x + x.width])"
    places = browser.execute_script(boxes, texts)
    assert len(places) > 5
    outside = [
        text.text
        for text, (left, right) in zip(texts, places, strict=True)
        if left < 0 or right > 360
    ]
    assert outside == []
