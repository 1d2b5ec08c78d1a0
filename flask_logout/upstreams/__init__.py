"""Calls the upstreams, which end a login in other systems."""

from __future__ import annotations

import logging
import typing as t

from ..exceptions import ExternalAPIError
from ..tokens.pair import LogoutTokens

logger = logging.getLogger("flask_logout")

Upstream = t.Callable[[LogoutTokens], object]
"""A callback that ends the login elsewhere. If it raises an exception, nothing is revoked."""


def call(upstream: Upstream, pair: LogoutTokens) -> None:
    """Call an upstream, and turn any exception into :exc:`.ExternalAPIError`.

    :param upstream: the upstream, as a synchronous function.
    :param pair: the verified tokens.
    :raises ExternalAPIError: if the upstream failed.
    """
    try:
        upstream(pair)
    except ExternalAPIError:
        raise
    except Exception as e:  # the app's code may raise anything
        logger.exception("An upstream failed, so nothing was revoked.")
        raise ExternalAPIError() from e
