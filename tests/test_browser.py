"""The page of the example app in a browser, on the screens of a phone and of a laptop."""

from __future__ import annotations

import re
import typing as t

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from .chromium import open_browser
from .example_server import copy_example
from .example_server import run_example
from .example_server import Server

WIDTHS = (390, 1280)
ACTIONS = [
    *("Log in", "Call /me", "Refresh", "Log out", "Log out everywhere else"),
    *("Log out everywhere", "Change password, keep me"),
]
REVOKED = '{"msg":"Token has been revoked"}'

# Returns the lowest contrast of a text with its background (WCAG 2.2, 1.4.3), and the text.
CONTRAST = """
const parse = color => color.match(/[\\d.]+/g).map(Number);
const light = color => parse(color).slice(0, 3).map(x => x / 255)
  .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
  .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
const behind = node => {
  for (; node; node = node.parentElement) {
    const color = getComputedStyle(node).backgroundColor;
    if ((parse(color)[3] ?? 1) > 0) return color;
  }
  return "rgb(255, 255, 255)";
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let lowest = [99, ""];
while (walker.nextNode()) {
  const text = walker.currentNode.data.trim(), node = walker.currentNode.parentElement;
  if (!text || ["SCRIPT", "STYLE"].includes(node.tagName)) continue;
  const [a, b] = [light(getComputedStyle(node).color), light(behind(node))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < lowest[0]) lowest = [ratio, text];
}
return lowest;
"""


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
    """Chromium with a new profile."""
    with open_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(server: Server, browser: webdriver.Chrome) -> Page:
    """The page after it was opened on a phone, in light mode. Nobody is logged in."""
    page = Page(browser)
    page.open(server.url)
    page.press("Phone: Log in")
    page.press("Phone: Log out everywhere")
    page.open(server.url)
    return page


class Page:
    """Uses the page like a person."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser
        self.set_width(WIDTHS[0])
        self.set_scheme("light")

    def open(self, url: str) -> None:
        """Open the page, without the errors of the one before."""
        self.browser.get(url)
        self.read_errors()

    def press(self, name: str) -> tuple[str, str, str]:
        """Press a button. Return the heading, the request and the response."""
        count = len(self.find_all("article"))
        self.find_button(name).click()
        self.wait(lambda: len(self.find_all("article")) == count + 1)
        latest = self.find_all("article")[0]
        request, answer = latest.find_elements(By.TAG_NAME, "pre")
        heading = latest.find_element(By.TAG_NAME, "h3").text.replace("\n", " ")
        self.assert_fits()
        return heading, request.text, answer.text

    def wait(self, is_done: t.Callable[[], object]) -> None:
        """Wait until something has happened."""
        WebDriverWait(self.browser, 10).until(lambda _: is_done())

    def wait_for_states(self, phone: str, laptop: str) -> None:
        """Wait until the badges of both devices show these states."""
        self.wait(lambda: self.read_states() == [phone, laptop])

    def wait_for_sessions(self, *labels: str) -> None:
        """Wait until the list shows the sessions with these labels."""
        self.wait(
            lambda: (
                [x.accessible_name.split(",")[0] for x in self.find_all("li button")]
                == [f"End {label}" for label in labels]
            )
        )

    def read_states(self) -> list[str]:
        """Read the badges of both devices."""
        return [x.text for x in self.find_all("#devices h2 b")]

    def read_details(self, device: str) -> list[str]:
        """Read the session, the tokens and the countdown of a device."""
        return [x.text for x in self.find_all(f"[aria-label={device}] dd")]

    def read_status(self) -> str:
        """Read the message in the status region."""
        return self.find_all("[role=status]")[0].text

    def set_width(self, width: int) -> None:
        """Set the width of the screen in pixels."""
        self.width = width
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1}
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**metrics, "mobile": width < 500}
        )

    def set_scheme(self, scheme: str) -> None:
        """Set the preferred color scheme, light or dark."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [feature]}
        )

    def read_contrast(self) -> tuple[float, str]:
        """Return the lowest contrast of a text, and that text."""
        return t.cast("tuple[float, str]", self.browser.execute_script(CONTRAST))

    def assert_fits(self) -> None:
        """Assert that nothing is wider than the screen."""
        widths = "return [innerWidth, document.documentElement.scrollWidth]"
        inner, scrolled = self.browser.execute_script(widths)
        # On a large screen, the scroll bar takes some of the width.
        assert inner == self.width and scrolled <= inner

    def read_errors(self) -> list[str]:
        """Read the errors in the console, except for Chromium's own lines about a 401."""
        entries = t.cast(t.Any, self.browser).get_log("browser")
        rejected = "the server responded with a status of 401 (UNAUTHORIZED)"
        return [x["message"] for x in entries if not x["message"].endswith(rejected)]

    def find_button(self, name: str) -> WebElement:
        """Find a button by its accessible name."""
        [button] = [x for x in self.find_all("button") if x.accessible_name == name]
        return button

    def list_buttons(self) -> list[str]:
        """List the accessible names of the buttons."""
        return [x.accessible_name for x in self.find_all("button")]

    def find_all(self, selector: str) -> list[WebElement]:
        """Find the elements that match a selector."""
        return self.browser.find_elements(By.CSS_SELECTOR, selector)


def test_the_buttons_log_in_and_out_and_show_the_responses(page: Page) -> None:
    heading, request, answer = page.press("Phone: Log in")
    assert heading == "POST /auth/login 200"
    assert request == (
        "X-Device: Phone\nContent-Type: application/json\n"
        '{"username":"ada","password":"analytical-engine"}'
    )
    shown = r'\{"access_token":"(…[\w-]{8})","refresh_token":"(…[\w-]{8})"\}'
    found = re.fullmatch(shown, answer)
    assert found is not None
    page.wait_for_states("active", "logged out")
    bearer = f"Authorization: Bearer {found[1]}"
    me = page.press("Phone: Call /me")
    assert me == ("GET /me 200", bearer, '{"identity":"ada"}')
    heading, request, _ = page.press("Phone: Log out")
    assert heading == "POST /auth/logout 200"
    assert f'{{"refresh_token":"{found[2]}"}}' in request
    page.wait_for_states("revoked", "logged out")
    me = page.press("Phone: Call /me")
    assert me == ("GET /me 401, as expected", bearer, REVOKED)
    heading, _, answer = page.press("Phone: Refresh")
    assert (heading, answer) == ("POST /auth/refresh 401, as expected", REVOKED)
    assert page.read_status() == "POST /auth/refresh: 401, as expected"
    assert page.read_errors() == []


def test_a_card_shows_the_session_and_its_tokens(page: Page) -> None:
    assert page.read_details("Phone") == ["–"] * 4
    page.press("Phone: Log in")
    page.wait_for_states("active", "logged out")
    sid, access, refresh, left = page.read_details("Phone")
    assert re.fullmatch("[0-9a-f]{8}", sid)
    assert re.fullmatch(r"…[\w-]{8}", access)
    assert re.fullmatch(r"…[\w-]{8}, generation 0", refresh)
    assert re.fullmatch(r"1[45]:\d\d", left)
    page.press("Phone: Refresh")
    page.wait(lambda: page.read_details("Phone")[2].endswith("generation 1"))
    assert page.read_details("Phone")[0] == sid
    assert page.read_details("Phone")[1] != access
    assert page.read_errors() == []


def test_the_list_shows_and_ends_sessions(page: Page) -> None:
    page.press("Phone: Log in")
    page.press("Laptop: Log in")
    page.wait_for_states("active", "active")
    page.wait_for_sessions("Laptop", "Phone")
    [name] = [x for x in page.list_buttons() if x.startswith("End Laptop")]
    heading, _, answer = page.press(name)
    assert heading.endswith(" 200")
    assert answer == '{"code":200,"message":"session ended","data":{}}'
    page.wait_for_states("active", "revoked")
    page.wait_for_sessions("Phone")
    assert page.read_errors() == []


@pytest.mark.parametrize(
    ("action", "phone"),
    [
        ("Log out everywhere else", "active"),
        ("Change password, keep me", "active"),
        ("Log out everywhere", "revoked"),
    ],
)
def test_all_other_logins_can_be_ended(page: Page, action: str, phone: str) -> None:
    page.press("Phone: Log in")
    page.press("Laptop: Log in")
    page.wait_for_states("active", "active")
    assert page.press(f"Phone: {action}")[0].endswith(" 200")
    page.wait_for_states(phone, "revoked")
    assert page.press("Laptop: Call /me")[0] == "GET /me 401, as expected"
    assert page.read_errors() == []


@pytest.mark.parametrize("is_first", [True, False])
def test_a_stolen_token_is_noticed(page: Page, is_first: bool) -> None:
    page.press("Laptop: Log in")
    page.find_button("Copy the phone's token").click()
    page.wait(lambda: page.read_status() == "Log in on the phone first.")
    page.press("Phone: Log in")
    page.wait_for_states("active", "active")
    page.find_button("Copy the phone's token").click()
    page.wait(lambda: page.read_status().startswith("The thief has …"))
    acts = ["Refresh as the thief", "Phone: Refresh"]
    first, second = acts if is_first else reversed(acts)
    assert page.press(first)[0] == "POST /auth/refresh 200"
    heading, _, answer = page.press(second)
    assert (heading, answer) == ("POST /auth/refresh 401, as expected", REVOKED)
    page.wait_for_states("reused", "active")
    page.wait_for_sessions("Laptop")
    assert page.read_errors() == []


def test_the_page_works_with_the_keyboard_alone(page: Page) -> None:
    pressed = webdriver.ActionChains(page.browser)
    pressed.send_keys(Keys.TAB, Keys.ENTER).perform()
    page.wait_for_states("active", "logged out")
    names = []
    for _ in range(6):
        webdriver.ActionChains(page.browser).send_keys(Keys.TAB).perform()
        names.append(page.browser.switch_to.active_element.accessible_name)
    assert names == [f"Phone: {action}" for action in ACTIONS[1:]]
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert page.browser.execute_script(outline) == "solid"
    assert page.read_errors() == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_readable_on_every_screen(
    page: Page, width: int, scheme: str
) -> None:
    page.set_width(width)
    page.set_scheme(scheme)
    page.press("Phone: Log in")
    page.press("Laptop: Log in")
    page.press("Laptop: Log out")
    page.wait_for_states("active", "revoked")
    page.assert_fits()
    contrast, text = page.read_contrast()
    assert contrast >= 4.5, text
    sizes = [x.size for x in page.find_all("button")]
    assert all(x["height"] >= 44 and x["width"] >= 44 for x in sizes)
    tops = [x.location["y"] for x in page.find_all("#devices > section")]
    assert (tops[0] == tops[1]) is (width == WIDTHS[1])
    assert page.read_errors() == []


def test_the_buttons_without_a_token_show_why_requests_are_rejected(page: Page) -> None:
    missing = '{"msg":"Missing Authorization Header"}'
    expected = ("GET /me 401, as expected", "(no token)", missing)
    assert page.press("Phone: Call /me") == expected
    buttons = [f"{x}: {y}" for x in ("Phone", "Laptop") for y in ACTIONS]
    assert page.list_buttons() == [
        *buttons,
        "Copy the phone's token",
        "Refresh as the thief",
    ]


def test_the_page_loads_nothing_from_other_sites(server: Server, page: Page) -> None:
    loaded = page.browser.execute_script(
        "return performance.getEntriesByType('resource').map(x => x.name)"
    )
    assert [x for x in loaded if not x.startswith(("data:", server.url))] == []


def test_a_server_that_is_gone_is_explained(
    browser: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("gone")
    copy_example(folder)
    page = Page(browser)
    with run_example(folder) as server:
        page.open(server.url)
    heading, _, answer = page.press("Phone: Log in")
    assert heading == "POST /auth/login no response"
    assert answer == (
        "The server doesn't respond. Start it again: python example_app.py"
    )
