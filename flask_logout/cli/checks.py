"""The checks of ``flask logout check``: what is wrong with an app, and what to do."""

from __future__ import annotations

import math
import typing as t
from datetime import timedelta

from flask import current_app

from .. import audit
from .. import blocklist
from .. import clock
from .. import conflicts
from .. import jwt_settings
from ..exceptions import LogoutError
from ..exceptions import StoreUnavailableError
from ..jwt_extended import config
from ..jwt_extended import has_own_key_loader
from ..jwt_settings import LIFETIMES
from ..jwt_settings import read_lifetime
from ..service import LogoutService
from .printing import printable

CLOCK_TOLERANCE = timedelta(seconds=1)
"""How far the store's clock may be from this machine's."""

_SECRET = "the secret (JWT_SECRET_KEY, or else SECRET_KEY)"
# RFC 7518 3.2: at least as long as the hash.
_SECRET_SIZES = {"HS256": 32, "HS384": 48, "HS512": 64}


# What a token contains may be as long as a request.
_LINE_SIZE = 500


class Note(str):
    """A finding that an operator should know but that is not a problem."""


Check = t.Callable[[LogoutService], t.Optional[str]]
"""Returns what is wrong and what to do, in one line, or a :class:`Note`, or ``None``."""


def run(check: Check, service: LogoutService) -> str | None:
    """Run one check on the current app.

    :param check: one of :data:`CHECKS`.
    :param service: the service of the app.
    :returns: what is wrong and what to do, in one line, or ``None``.
    """
    try:
        return check(service)
    # What Flask-JWT-Extended, or our reading of it, makes of a setting that is wrong.
    except (LogoutError, RuntimeError, TypeError) as e:
        return first_line(e)


def first_line(error: Exception) -> str:
    """Cut what an error says to one line; what drivers add is the statement.

    :param error: the error.
    :returns: the first line, without a full stop, safe to print.
    """
    lines = str(error).splitlines() or [type(error).__name__]
    return printable(lines[0][:_LINE_SIZE].rstrip(". "))


def check_hook(service: LogoutService) -> str | None:
    """Check that every protected route asks whether its token is revoked.

    :param service: the service of the app.
    :returns: what is wrong and what to do, or ``None``.
    """
    return blocklist.problem_of(current_app)


def check_route(service: LogoutService) -> str | None:
    """Check that no other route of the app has the URL of the endpoint.

    :param service: the service of the app.
    :returns: what is wrong and what to do, or ``None``.
    """
    return conflicts.problem_of_route(current_app)


def check_errors(service: LogoutService) -> str | None:
    """Check that an API framework leaves the response to a revoked token alone.

    :param service: the service of the app.
    :returns: what is wrong and what to do, or ``None``.
    """
    return conflicts.problem_of_errors(current_app)


def check_store(service: LogoutService) -> str | None:
    """Check that the place where revocations are kept is there, and as it must be.

    :param service: the service of the app.
    :returns: what is wrong and what to do, or ``None``.
    """
    try:
        return "; ".join(service.store.inspect().list_problems()) or None
    except StoreUnavailableError as e:
        return _unreachable(e)


def check_clock(service: LogoutService) -> str | None:
    """Check that this machine and the store agree what time it is.

    :param service: the service of the app.
    :returns: what is wrong and what to do, or ``None``.
    """
    before = clock.now()
    try:
        theirs = service.store.inspect().read_clock()
    except StoreUnavailableError as e:
        return _unreachable(e)
    behind, ahead = before - theirs, theirs - clock.now()
    if max(behind, ahead) < CLOCK_TOLERANCE:
        return None
    seconds = max(behind, ahead).total_seconds()
    return (
        f"the store's clock is {seconds:.1f} seconds"
        f" {'ahead of' if ahead > behind else 'behind'} this machine's: a token that a"
        " machine with a fast clock issued can outlive a log-out-everywhere. Keep both"
        " on NTP."
    )


def check_lifetimes(service: LogoutService) -> str | None:
    """Check that tokens die, and not later than their revocations are forgotten.

    :param service: the service of the app.
    :returns: what is wrong and what to do, or ``None``.
    """
    endless = " and ".join(x for x in LIFETIMES if read_lifetime(x) is None)
    if endless:
        return (
            f"{endless}: such tokens never expire, so their revocations are never"
            " forgotten, and the table only grows. Set a timedelta."
        )
    longest = jwt_settings.retention(timedelta(0), None).max_lifetime
    kept = service.settings.max_token_lifetime
    if longest is not None and kept is not None and kept < longest:
        return (
            f"LOGOUT_MAX_TOKEN_LIFETIME is {kept}, but tokens live for {longest}: the"
            " revocation of a session or a user is forgotten while its tokens still"
            f" live. Set it to {longest} or more, or leave it out."
        )
    return _find_longer_lifetime(service)


def _find_longer_lifetime(service: LogoutService) -> str | None:
    """Find a revocation that was stored for tokens with a longer lifetime."""
    settings, now = service.settings, clock.now()
    kept = jwt_settings.retention(settings.purge_margin, settings.max_token_lifetime)
    end = kept.of_lifetime(now + CLOCK_TOLERANCE)
    try:
        last = service.store.inspect().read_last_expiry()
    except StoreUnavailableError:
        # The check of the store reports it.
        return None
    if last is None or end is None or kept.max_lifetime is None or last <= end:
        return None
    days = math.ceil((kept.max_lifetime + (last - end)) / timedelta(days=1))
    return (
        f"a stored revocation is kept until {last:%Y-%m-%d %H:%M} UTC, but by the present"
        f" settings a new one is kept until {end:%Y-%m-%d %H:%M} UTC. A lifetime was"
        " shortened, or a token was issued with a longer one, so a revocation may be"
        " deleted while its tokens are still valid. Set LOGOUT_MAX_TOKEN_LIFETIME to"
        f" timedelta(days={days}) or more until the last of these tokens has expired."
    )


def check_margin(service: LogoutService) -> str | None:
    """Check that revocations outlast the differences of clocks that are tolerated.

    :param service: the service of the app.
    :returns: what is wrong and what to do, or ``None``.
    """
    margin = service.settings.purge_margin
    leeway = jwt_settings.retention(margin, margin).leeway
    if leeway <= margin:
        return None
    return (
        f"JWT_DECODE_LEEWAY is {leeway}, so clocks may differ by that much, but"
        f" LOGOUT_PURGE_MARGIN is {margin}: a machine whose clock is ahead forgets a"
        " revocation while others still take the token. Set LOGOUT_PURGE_MARGIN to"
        f" {leeway} or more, or the leeway to seconds."
    )


def check_secret(service: LogoutService) -> str | None:
    """Check that the key tokens are verified with is there and hard to guess.

    :param service: the service of the app.
    :returns: what is wrong and what to do, or ``None``.
    """
    # What a loader of the app's own returns depends on the token.
    if has_own_key_loader():
        return None
    key: t.Any = config.decode_key
    least = _SECRET_SIZES.get(config.algorithm, 0)
    if not least:
        return None
    octets = key.encode() if isinstance(key, str) else key
    if not isinstance(octets, bytes):
        kind = type(octets).__name__
        return f"{_SECRET} is of the type {kind}. Make it a string or bytes."
    if len(octets) >= least:
        return None
    return (
        f"{_SECRET} has {len(octets)} bytes: whoever has one token can guess it, and"
        f" forge any. {config.algorithm} needs {least} or more (RFC 7518 3.2): python -c"
        f" 'import secrets; print(secrets.token_hex({least}))'"
    )


def check_audit_log(service: LogoutService) -> str | None:
    """Check that the log lines about revocations go somewhere.

    :param service: the service of the app.
    :returns: what to do if this process discards them, or ``None``.
    """
    if audit.has_handler():
        return None
    return Note(
        "this process discards INFO records of the logger flask_logout, so nothing"
        " records who revoked what. Configure logging before the app is created, for"
        " example with logging.basicConfig(level=logging.INFO)."
    )


def check_cookies(service: LogoutService) -> str | None:
    """Check that browsers send the token cookies to the endpoint.

    :param service: the service of the app.
    :returns: what is wrong and what to do, or ``None``.
    """
    if not (config.jwt_in_cookies and service.settings.endpoints):
        return None
    prefix = service.settings.url_prefix
    paths = {
        "JWT_ACCESS_COOKIE_PATH": config.access_cookie_path,
        "JWT_REFRESH_COOKIE_PATH": config.refresh_cookie_path,
    }
    wrong = {x: y for x, y in paths.items() if not _covers(y, f"{prefix}/logout")}
    if not wrong:
        return None
    values = " and ".join(f"{name} is {path!r}" for name, path in wrong.items())
    choice = f" or to {prefix!r}" if prefix else ""
    return (
        f"{values}, so browsers don't send the cookie to {prefix}/logout and logging out"
        f" fails. Set it to '/'{choice}."
    )


def _covers(cookie_path: str, url: str) -> bool:
    """Whether a cookie is sent to a URL (RFC 6265, section 5.1.4)."""
    return url == cookie_path or url.startswith(cookie_path.rstrip("/") + "/")


def _unreachable(error: StoreUnavailableError) -> str:
    return (
        f"the store did not answer ({first_line(error)}). Start it, or correct"
        " SQLALCHEMY_DATABASE_URI or LOGOUT_STORE_URI."
    )


CHECKS: tuple[tuple[str, Check], ...] = (
    ("blocklist hook", check_hook),
    ("route", check_route),
    ("error responses", check_errors),
    ("store", check_store),
    ("clock", check_clock),
    ("token lifetimes", check_lifetimes),
    ("purge margin", check_margin),
    ("secret", check_secret),
    ("cookies", check_cookies),
    ("audit log", check_audit_log),
)
"""Every check after its name, in the order of the output: hook, route, errors, store,
topology, clock, lifetimes, margin, secret, cookies, audit log."""
