"""Add logout and token revocation to Flask apps that use Flask-JWT-Extended.

Where things are, from top to bottom. ``pyproject.toml`` lists all layers:

``extension``, with ``extension_revoking`` and ``extension_sessions``
    The public class, which sets up an app.

``views``, ``cli``
    The endpoints and the commands.

``service``, ``sessions``, ``backchannel``, ``blocklist``
    What an app does: it revokes and checks tokens, keeps sessions, and receives logouts.

``tokens``, ``config``, ``reporting``
    Decoding and making tokens, settings, and what is logged and signaled.

``stores``
    Where revocations and sessions are stored, with one package for each engine.

``domain``
    The rules. They know no framework and no engine.

The packages ``metrics``, ``openapi_document``, ``testing``, and ``upstreams`` are optional.
"""

from __future__ import annotations

import typing as t
from importlib import import_module

if t.TYPE_CHECKING:
    from .domain.revocation import Revocation as Revocation
    from .domain.rotation import Session as Session
    from .exceptions import ConfigError as ConfigError
    from .exceptions import ExternalAPIError as ExternalAPIError
    from .exceptions import InvalidRequestError as InvalidRequestError
    from .exceptions import LogoutError as LogoutError
    from .exceptions import OutcomeUnknownError as OutcomeUnknownError
    from .exceptions import StoreUnavailableError as StoreUnavailableError
    from .extension import LogoutExtension as LogoutExtension
    from .openapi_document import openapi as openapi
    from .schemas import ErrorItem as ErrorItem
    from .signals import logged_out as logged_out
    from .signals import reuse_detected as reuse_detected
    from .signals import revocation_unknown as revocation_unknown
    from .signals import revoked as revoked
    from .signals import session_refreshed as session_refreshed
    from .signals import session_started as session_started
    from .signals import store_unavailable as store_unavailable
    from .signals import upstream_failed as upstream_failed
    from .standalone_checker import Checker as Checker
    from .tokens import RefreshRejectedError as RefreshRejectedError
    from .tokens.login_claims import session_claims as session_claims
    from .tokens.minting import TokenPair as TokenPair
    from .tokens.pair import LogoutTokens as LogoutTokens

_MODULES = {
    "Checker": "standalone_checker",
    "ConfigError": "exceptions",
    "ErrorItem": "schemas",
    "ExternalAPIError": "exceptions",
    "InvalidRequestError": "exceptions",
    "LogoutError": "exceptions",
    "LogoutExtension": "extension",
    "LogoutTokens": "tokens.pair",
    "OutcomeUnknownError": "exceptions",
    "RefreshRejectedError": "tokens",
    "Revocation": "domain.revocation",
    "Session": "domain.rotation",
    "StoreUnavailableError": "exceptions",
    "TokenPair": "tokens.minting",
    "logged_out": "signals",
    "openapi": "openapi_document",
    "reuse_detected": "signals",
    "revocation_unknown": "signals",
    "revoked": "signals",
    "session_claims": "tokens.login_claims",
    "session_refreshed": "signals",
    "session_started": "signals",
    "store_unavailable": "signals",
    "upstream_failed": "signals",
}

__all__ = sorted(_MODULES)


# Import public names lazily. pytest imports this package on every run because of the
# plugin in flask_logout.testing, which must stay fast and must not fail.
def __getattr__(name: str) -> t.Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value
