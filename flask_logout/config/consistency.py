"""Checks the settings that depend on each other."""

from __future__ import annotations

import typing as t

from ..exceptions import ConfigError
from .errors import PREFIX
from .value_types import show

if t.TYPE_CHECKING:
    from . import Settings


def check_sessions(settings: Settings) -> None:
    """Reject limits of sessions that nothing would enforce."""
    names = {"max_sessions", "session_lifetime"} & settings.model_fields_set
    set_ones = [x for x in sorted(names) if getattr(settings, x) is not None]
    if set_ones and not settings.has_sessions:
        key = PREFIX + set_ones[0].upper()
        raise ConfigError(
            f"Invalid {key}: {show(getattr(settings, set_ones[0]))}. It needs sessions,"
            f" which are off. Set LOGOUT_SESSIONS to True, or remove {key}."
        )


def check_backchannel(settings: Settings) -> None:
    """Reject an endpoint without providers, and providers without the endpoint."""
    is_enabled = "backchannel_logout" in settings.endpoints
    if is_enabled and not settings.backchannel:
        raise ConfigError(
            "The endpoint backchannel_logout needs LOGOUT_BACKCHANNEL, which is empty. Set"
            ' it to a dict such as {"https://idp.example.com": {"client_id": "…",'
            ' "jwks_uri": "https://…"}}.'
        )
    if settings.backchannel and not is_enabled:
        raise ConfigError(
            "Invalid LOGOUT_BACKCHANNEL: it needs the endpoint backchannel_logout. Add"
            ' "backchannel_logout" to LOGOUT_ENDPOINTS, or remove LOGOUT_BACKCHANNEL.'
        )
