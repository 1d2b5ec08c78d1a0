"""Describe in OpenAPI where a client sends its tokens."""

from __future__ import annotations

import typing as t

_Json = dict[str, t.Any]


Token = t.Literal["access", "refresh"]
"""The type of a token that authorizes a request."""


def make_schemes(
    token: Token,
    headers: bool,
    cookies: bool,
    cookie_name: str,
    csrf_header_name: str | None,
) -> list[_Json]:
    """Return the security schemes of a token, one group for each location.

    :param token: which token.
    :param headers: whether the app accepts it in the ``Authorization`` header.
    :param cookies: whether the app accepts it in a cookie.
    :param cookie_name: the name of that cookie.
    :param csrf_header_name: the header with the CSRF token that the app requires with
        the cookie, or ``None`` if it requires none.
    :returns: groups of schemes by name. A request must satisfy all schemes of one group.
    :raises ValueError: ``headers`` and ``cookies`` are both ``False``.
    """
    if not (headers or cookies):
        raise ValueError(
            "Invalid headers and cookies: both are False. Expected at least one of them"
            " to be True, because every endpoint needs a token."
        )
    name = token.capitalize()
    bearer: _Json = {
        f"Logout{name}Token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": f"The {token} token of the user.",
        }
    }
    cookie: _Json = {
        f"Logout{name}Cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie_name,
            "description": f"The {token} token of the user.",
        }
    }
    if csrf_header_name is not None:
        cookie["LogoutCSRFToken" if token == "access" else "LogoutRefreshCSRFToken"] = {
            "type": "apiKey",
            "in": "header",
            "name": csrf_header_name,
            "description": f"The `csrf` claim of the {token} token in the cookie.",
        }
    return [bearer] * headers + [cookie] * cookies


def add_refresh_cookie(operation: _Json, name: str) -> None:
    """Describe the refresh token in a cookie.

    :param operation: the operation, which this function changes.
    :param name: the name of the cookie.
    """
    operation["parameters"] = [
        {
            "name": name,
            "in": "cookie",
            "description": "The refresh token. It is used if the body has none.",
            "schema": {"type": "string"},
        }
    ]


def add_set_cookies(operation: _Json) -> None:
    """Describe the response that sets the cookies of new tokens.

    :param operation: the operation, which this function changes.
    """
    operation["responses"]["200"]["headers"]["Set-Cookie"] = {
        "description": "Sets the cookies of the new tokens.",
        "schema": {"type": "string"},
    }


def add_unset_cookies(operation: _Json, codes: t.Collection[str]) -> None:
    """Describe the responses that unset cookies.

    :param operation: the operation, which this function changes.
    :param codes: the statuses of these responses.
    """
    for code in codes:
        operation["responses"][code]["headers"]["Set-Cookie"] = {
            "description": "Unsets the cookies of this request whose tokens are revoked"
            " or expired.",
            "schema": {"type": "string"},
        }


def read_locations(config: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the arguments of :func:`.openapi` that match the config of an app.

    OpenAPI has no security scheme for a token in the body. An app that accepts tokens
    only there, or only in the query string, is described as if it accepted them in a
    header.

    :param config: the config of the app.
    :returns: keyword arguments of :func:`.openapi`.
    """
    locations = config["JWT_TOKEN_LOCATION"]
    has_csrf = (
        config["JWT_COOKIE_CSRF_PROTECT"] and "POST" in config["JWT_CSRF_METHODS"]
    )
    return {
        "headers": "headers" in locations or "cookies" not in locations,
        "cookies": "cookies" in locations,
        "access_cookie_name": config["JWT_ACCESS_COOKIE_NAME"],
        "refresh_cookie_name": config["JWT_REFRESH_COOKIE_NAME"],
        "csrf_header_name": config["JWT_ACCESS_CSRF_HEADER_NAME"] if has_csrf else None,
        "refresh_csrf_header_name": (
            config["JWT_REFRESH_CSRF_HEADER_NAME"] if has_csrf else None
        ),
    }
