"""The page of the example app in a browser, with the screen of a phone."""

from __future__ import annotations

import json
import typing as t

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from .chromium import open_browser
from .example_server import copy_example
from .example_server import run_example
from .example_server import Server

PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Server]:
    """The running example app."""
    folder = tmp_path_factory.mktemp("browser")
    copy_example(folder)
    with run_example(folder) as server:
        yield server


@pytest.fixture(scope="module")
def browser(
    tmp_path_factory: pytest.TempPathFactory,
) -> t.Iterator[webdriver.Chrome]:
    """Chromium with a new profile and the screen of a phone."""
    with open_browser(tmp_path_factory.mktemp("profile")) as browser:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        yield browser


@pytest.fixture
def page(server: Server, browser: webdriver.Chrome) -> Page:
    """The page after it was opened, in light mode."""
    return Page(browser, server.url)


class Page:
    """Uses the page like a person."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser = browser
        self.set_scheme("light")
        self.read_errors()
        browser.get(url)

    def press(self, name: str) -> tuple[str, str, str]:
        """Press a button. Return the heading, the request and the response."""
        count = len(self._find_all("article"))
        self._find_button(name).click()
        wait = WebDriverWait(self.browser, 10)
        wait.until(lambda _: len(self._find_all("article")) == count + 1)
        latest = self._find_all("article")[0]
        request, answer = latest.find_elements(By.TAG_NAME, "pre")
        heading = latest.find_element(By.TAG_NAME, "h3").text.replace("\n", " ")
        self.assert_fits()
        return heading, request.text, answer.text

    def read_tokens(self) -> list[str]:
        """Open the folded parts, and read the two decoded tokens."""
        for each in self._find_all("details:not([open]) summary"):
            each.click()
        self.assert_fits()
        return [x.text for x in self._find_all("details pre")]

    def read_status(self) -> str:
        """Read the message in the status region."""
        return self._find_all("[role=status]")[0].text

    def set_scheme(self, scheme: str) -> None:
        """Set the preferred color scheme, light or dark."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [feature]}
        )

    def read_background(self) -> str:
        """Read the background color of the page."""
        return self._find_all("body")[0].value_of_css_property("background-color")

    def assert_fits(self) -> None:
        """Assert that nothing is wider than the screen."""
        widths = "return [innerWidth, document.documentElement.scrollWidth]"
        assert self.browser.execute_script(widths) == [360, 360]

    def read_errors(self) -> list[str]:
        """Read the errors in the console, except for Chromium's own lines about a 401."""
        entries = t.cast(t.Any, self.browser).get_log("browser")
        rejected = "the server responded with a status of 401 (UNAUTHORIZED)"
        return [x["message"] for x in entries if not x["message"].endswith(rejected)]

    def list_buttons(self) -> list[str]:
        """List the accessible names of the buttons."""
        return [x.accessible_name for x in self._find_all("button")]

    def read_sizes(self) -> list[tuple[int, int]]:
        """Read the width and height of each button."""
        return [(x.size["width"], x.size["height"]) for x in self._find_all("button")]

    def _find_all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def _find_button(self, name: str) -> WebElement:
        [button] = [x for x in self._find_all("button") if x.accessible_name == name]
        return button


def test_the_buttons_log_in_and_out_and_show_the_responses(page: Page) -> None:
    heading, request, answer = page.press("Log in")
    assert heading == "POST /auth/login 200"
    assert request == (
        "Content-Type: application/json\n"
        '{"username":"ada","password":"analytical-engine"}'
    )
    assert answer == '{"access_token":"eyJhbGciO…","refresh_token":"eyJhbGciO…"}'
    bearer = "Authorization: Bearer eyJhbGciO…"
    assert page.press("Call /me") == ("GET /me 200", bearer, '{"identity":"ada"}')
    assert page.press("Refresh") == (
        "POST /auth/refresh 200",
        bearer,
        '{"access_token":"eyJhbGciO…"}',
    )
    pair = f'{bearer}\nContent-Type: application/json\n{{"refresh_token":"eyJhbGciO…"}}'
    assert page.press("Log out") == (
        "POST /auth/logout 200",
        pair,
        '{"code":200,"message":"logout successful","data":{}}',
    )
    assert page.read_status() == "POST /auth/logout: 200. Try the old tokens again."
    revoked = '{"msg":"Token has been revoked"}'
    assert page.press("Call /me") == ("GET /me 401", bearer, revoked)
    assert page.press("Refresh") == ("POST /auth/refresh 401", bearer, revoked)
    assert page.press("Log out") == (
        "POST /auth/logout 401",
        pair,
        '{"code":401,"message":"invalid token","data":{}}',
    )
    assert page.read_status() == "POST /auth/logout: 401"
    assert page.press("Log in")[0] == "POST /auth/login 200"
    assert page.press("Call /me")[0] == "GET /me 200"
    assert page.read_errors() == []


def test_the_page_shows_decoded_tokens(page: Page) -> None:
    assert page.read_tokens() == ["none yet", "none yet"]
    page.press("Log in")
    access, refresh = page.read_tokens()
    for token, kind in [(access, "access"), (refresh, "refresh")]:
        header, payload = token.removeprefix("Header ").split("\nPayload ")
        assert json.loads(header) == {"alg": "HS256", "typ": "JWT"}
        claims = json.loads(payload)
        assert (claims["sub"], claims["type"]) == ("ada", kind)
    page.press("Refresh")
    refreshed, same = page.read_tokens()
    assert refreshed != access
    assert same == refresh
    page.press("Log out")
    assert page.read_tokens() == [refreshed, refresh]
    assert page.read_errors() == []


def test_the_buttons_without_a_token_show_why_requests_are_rejected(page: Page) -> None:
    missing = '{"msg":"Missing Authorization Header"}'
    assert page.press("Call /me") == ("GET /me 401", "(no token)", missing)
    assert page.press("Refresh") == ("POST /auth/refresh 401", "(no token)", missing)
    assert page.press("Log out")[0] == "POST /auth/logout 401"
    assert page.read_errors() == []


def test_the_page_works_with_touch_screen_readers_and_dark_mode(page: Page) -> None:
    page.assert_fits()
    assert page.list_buttons() == ["Log in", "Call /me", "Refresh", "Log out"]
    assert all(width >= 150 and height >= 48 for width, height in page.read_sizes())
    light = page.read_background()
    page.set_scheme("dark")
    assert page.read_background() != light
    assert page.read_errors() == []


def test_the_page_loads_nothing_from_other_sites(server: Server, page: Page) -> None:
    loaded = page.browser.execute_script(
        "return performance.getEntriesByType('resource').map(x => x.name)"
    )
    assert [x for x in loaded if not x.startswith("data:")] == []
    assert page.browser.current_url == f"{server.url}/"
