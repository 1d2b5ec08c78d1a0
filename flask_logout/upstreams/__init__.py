"""What else has to end a login: the upstreams of an app."""

from __future__ import annotations

import logging
import typing as t

from ..exceptions import ExternalAPIError
from ..pair import LogoutTokens

logger = logging.getLogger("flask_logout")

Upstream = t.Callable[[LogoutTokens], object]
"""A callback that ends the login elsewhere. If it raises, nothing is revoked."""


def call(upstream: t.Callable[[LogoutTokens], object], pair: LogoutTokens) -> None:
    """Call an upstream.

    :param upstream: the upstream, as a plain function.
    :param pair: the verified tokens.
    :raises ExternalAPIError: it failed.
    """
    try:
        upstream(pair)
    except ExternalAPIError:
        raise
    except Exception as e:  # the app's code may raise anything
        logger.exception("an upstream failed, nothing was revoked")
        raise ExternalAPIError() from e
