"""A real browser, without a window."""

from __future__ import annotations

from pathlib import Path

from selenium import webdriver

from .programs import find_program

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def open_browser(profile: Path) -> webdriver.Chrome:
    """Start Chromium. Without it, skip the test, or fail in CI.

    :param profile: the folder of its profile.
    :returns: a context manager that ends it.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = find_program("chromium", "chromium")
    service = webdriver.ChromeService(find_program("chromedriver", "chromium-driver"))
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    return webdriver.Chrome(options, service)
