"""Checks that browsers send the token cookies to the endpoints."""

from __future__ import annotations

from ..config.value_types import Endpoint
from ..jwt_extended import config
from ..service import LogoutService


def check_cookies(service: LogoutService) -> str | None:
    """Check that browsers send the token cookies to the endpoints."""
    if not config.jwt_in_cookies:
        return None
    prefix = service.settings.url_prefix
    paths = {"ACCESS": config.access_cookie_path, "REFRESH": config.refresh_cookie_path}
    choice = f" or to {prefix!r}" if prefix else ""
    for endpoint, (path, cookies, action) in _COOKIES.items():
        url = f"{prefix}{path}"
        wrong = " and ".join(
            f"JWT_{x}_COOKIE_PATH is {paths[x]!r}"
            for x in cookies
            if not _covers(paths[x], url)
        )
        if wrong and endpoint in service.settings.endpoints:
            return (
                f"{wrong}, so browsers don't send the cookie to {url} and {action} fails."
                f" Set it to '/'{choice}."
            )
    return None


_COOKIES: dict[Endpoint, tuple[str, tuple[str, ...], str]] = {
    "logout": ("/logout", ("ACCESS", "REFRESH"), "logging out"),
    "logout_all": ("/logout/all", ("ACCESS",), "logging out"),
    "refresh": ("/refresh", ("REFRESH",), "refreshing"),
    "sessions": ("/sessions", ("ACCESS",), "listing sessions"),
}
"""The path of each endpoint, the cookies that it needs, and what fails without them."""


def _covers(cookie_path: str, url: str) -> bool:
    """Whether browsers send a cookie to a URL (RFC 6265, section 5.1.4)."""
    return url == cookie_path or url.startswith(cookie_path.rstrip("/") + "/")
