"""The checks of ``flask logout check``, which report problems and how to fix them."""

from __future__ import annotations

import math
import typing as t
from datetime import timedelta

from flask import current_app

from .. import audit
from .. import blocklist
from .. import clock
from .. import setup_conflicts
from ..config import jwt_settings
from ..config.jwt_settings import LIFETIMES
from ..config.jwt_settings import read_lifetime
from ..config.value_types import show_type
from ..exceptions import LogoutError
from ..exceptions import StoreUnavailableError
from ..jwt_extended import config
from ..jwt_extended import has_own_key_loader
from ..purging import current_app_object
from ..service import LogoutService
from .cookie_check import check_cookies
from .printing import printable

CLOCK_TOLERANCE = timedelta(seconds=1)
"""The largest difference between two clocks that is not reported."""

_SIGNING_KEY = "signing key (JWT_SECRET_KEY or SECRET_KEY)"
# RFC 7518, section 3.2: a key is at least as long as the hash.
_KEY_SIZES = {"HS256": 32, "HS384": 48, "HS512": 64}

# An error may quote a token, which may be as long as a request.
_LINE_SIZE = 500


class Note(str):
    """A finding that is not a problem."""


Check = t.Callable[[LogoutService], t.Optional[str]]
"""Returns a problem and how to fix it, in one line, or a :class:`Note`, or ``None``."""


def run(check: Check, service: LogoutService) -> str | None:
    """Run one check on the current app."""
    try:
        return check(service)
    # Invalid JWT_* settings raise these exceptions.
    except (LogoutError, RuntimeError, TypeError) as e:
        return f"{first_line(e)}."


def first_line(error: Exception) -> str:
    """Return the first line of an error message, safe to print, without a full stop.

    Database drivers put the SQL statement on the other lines.
    """
    lines = str(error).splitlines() or [type(error).__name__]
    return printable(lines[0][:_LINE_SIZE].rstrip(". "))


def check_hook(service: LogoutService) -> str | None:
    """Check that the blocklist loader of Flask-Logout is installed."""
    return blocklist.problem_of(current_app)


def check_route(service: LogoutService) -> str | None:
    """Check that the endpoints can be reached, and have the loaders that they need."""
    app = current_app_object()
    problem = setup_conflicts.problem_of_route(app)
    return problem or setup_conflicts.problem_of_loaders(app)


def check_errors(service: LogoutService) -> str | None:
    """Check that no API framework turns the 401 for a revoked token into a 500."""
    return setup_conflicts.problem_of_errors(current_app)


def check_store(service: LogoutService) -> str | None:
    """Check that the store can be reached and has the right tables and settings."""
    try:
        found = [x for y in service.stores() for x in y.inspect().list_problems()]
        return " ".join(found) or None
    except StoreUnavailableError as e:
        return _unreachable(e)


def check_clock(service: LogoutService) -> str | None:
    """Check that the clocks of this machine and of the store agree."""
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
        f"The store's clock is {seconds:.1f} seconds"
        f" {'ahead of' if ahead > behind else 'behind'} this machine's. If the clocks of"
        ' two workers differ, "log out everywhere" can miss tokens that were issued before'
        " it. Keep all clocks on NTP."
    )


def check_lifetimes(service: LogoutService) -> str | None:
    """Check that tokens expire before their revocations are deleted."""
    endless = " and ".join(x for x in LIFETIMES if read_lifetime(x) is None)
    if endless:
        return (
            f"Some tokens never expire because of {endless}, so revocations are never"
            " deleted and the table only grows. Set a timedelta."
        )
    longest = jwt_settings.retention(timedelta(0), None).max_lifetime
    kept = service.settings.max_token_lifetime
    if longest is not None and kept is not None and kept < longest:
        return (
            f"LOGOUT_MAX_TOKEN_LIFETIME is {kept}, but tokens are valid for {longest}, so"
            " the revocation of a session or a user is deleted while its tokens are still"
            f" valid. Set it to {longest} or more, or remove it."
        )
    return _find_longer_lifetime(service)


def _find_longer_lifetime(service: LogoutService) -> str | None:
    settings, now = service.settings, clock.now()
    kept = jwt_settings.retention(settings.purge_margin, settings.max_token_lifetime)
    end = kept.of_lifetime(now + CLOCK_TOLERANCE)
    try:
        last = service.store.inspect().read_last_expiry()
    except StoreUnavailableError:  # check_store() reports it
        return None
    if last is None or end is None or kept.max_lifetime is None or last <= end:
        return None
    days = math.ceil((kept.max_lifetime + (last - end)) / timedelta(days=1))
    return (
        f"A stored revocation is kept until {last:%Y-%m-%d %H:%M} UTC, but with the present"
        f" settings a new one is kept only until {end:%Y-%m-%d %H:%M} UTC. A lifetime was"
        " shortened, or a token was issued with a longer one, so a revocation may be"
        " deleted while its tokens are still valid. Set LOGOUT_MAX_TOKEN_LIFETIME to"
        f" timedelta(days={days}) or more until the last of these tokens has expired."
    )


def check_margin(service: LogoutService) -> str | None:
    """Check that the purge margin covers the clock differences that the app allows."""
    margin = service.settings.purge_margin
    leeway = jwt_settings.retention(margin, margin).leeway
    if leeway <= margin:
        return None
    return (
        f"JWT_DECODE_LEEWAY allows clocks to differ by {leeway}, but LOGOUT_PURGE_MARGIN is"
        f" only {margin}. A worker whose clock is ahead can delete a revocation while other"
        f" workers still accept the token. Set LOGOUT_PURGE_MARGIN to {leeway} or more, or"
        " JWT_DECODE_LEEWAY to a few seconds."
    )


def check_signing_key(service: LogoutService) -> str | None:
    """Check that the signing key is set and hard to guess."""
    # The key that an app's loader returns may depend on the token.
    if has_own_key_loader():
        return None
    key: t.Any = config.decode_key
    least = _KEY_SIZES.get(config.algorithm, 0)
    if not least:
        return None
    octets = key.encode() if isinstance(key, str) else key
    if not isinstance(octets, bytes):
        return f"Invalid {_SIGNING_KEY}: {show_type(key)}. Expected a string or bytes."
    if len(octets) >= least:
        return None
    return (
        f"The {_SIGNING_KEY} has only {len(octets)} bytes, so anyone who has a token may"
        f" guess the key and forge tokens. {config.algorithm} needs {least} bytes or more"
        " (RFC 7518, section 3.2). Make a key with: python -c 'import secrets;"
        f" print(secrets.token_hex({least}))'"
    )


def check_audit_log(service: LogoutService) -> str | None:
    """Check that a log handler receives the audit log."""
    if audit.has_handler():
        return None
    return Note(
        "This process discards INFO records of the logger flask_logout, so nothing"
        " records who revoked what. Configure logging before the app is created, for"
        " example with logging.basicConfig(level=logging.INFO)."
    )


def _unreachable(error: StoreUnavailableError) -> str:
    return (
        f"The store can't be reached ({first_line(error)}). Start it, or correct"
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
    ("signing key", check_signing_key),
    ("cookies", check_cookies),
    ("audit log", check_audit_log),
)
"""The name and the function of each check, in the order of the output."""
