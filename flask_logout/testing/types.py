"""The types of the fixtures of the pytest plugin.

pytest imports this module in every run, so it imports nothing.
"""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from werkzeug.test import TestResponse

    from ..domain.rotation import Session


class TokenPair(t.NamedTuple):
    """An access token and a refresh token. Its ``repr`` doesn't show them."""

    access: str
    """The encoded access token."""

    refresh: str
    """The encoded refresh token."""

    def __repr__(self) -> str:
        return "TokenPair(access=…, refresh=…)"


class MakePair(t.Protocol):
    """The type of ``logout_make_pair`` and the other fixtures that make pairs."""

    def __call__(self, identity: t.Any, /, **claims: t.Any) -> TokenPair:
        """Make a pair of tokens as the app does, with or without an app context.

        :param identity: the identity to pass to ``create_access_token``.
        :param **claims: additional claims of both tokens. They override the claims
            that the app's loaders add.
        :returns: the pair.
        """


class AssertTokens(t.Protocol):
    """The type of ``logout_assert_revoked`` and ``logout_assert_not_revoked``."""

    def __call__(self, token: str, *others: str) -> None:
        """Fail the test if the assertion is false for any of the tokens.

        :param token: an access or refresh token, which may have expired. Pass ``*pair``
            to check both.
        :param *others: more tokens.
        :raises AssertionError: the assertion is false, or a token is not valid in this
            app. The message doesn't contain the token.
        :raises StoreUnavailableError: the store did not answer.
        """


MakeHeaders = t.Callable[[t.Union[TokenPair, str]], dict[str, str]]
"""The type of ``logout_headers``."""

LogOut = t.Callable[[TokenPair], "TestResponse"]
"""The type of ``logout_log_out``."""

StopStore = t.Callable[[], "AbstractContextManager[None]"]
"""The type of ``logout_store_unavailable``."""

CleanUp = t.Callable[[], None]
"""The type of ``logout_clean_up``."""


class StartSession(t.Protocol):
    """The type of ``logout_start_session``."""

    def __call__(
        self,
        identity: t.Any,
        /,
        *,
        label: str | None = None,
        fresh: t.Any = True,
        **claims: t.Any,
    ) -> TokenPair:
        """Log a user in as ``start_session()`` does, with or without an app context.

        :param identity: the identity to pass to ``start_session``.
        :param label: a name for the session.
        :param fresh: whether the access token is fresh, or for how long.
        :param **claims: additional claims of both tokens.
        :returns: the tokens of the session.
        """


ListSessions = t.Callable[[t.Any], "list[Session]"]
"""The type of ``logout_sessions``."""

MakeStale = t.Callable[[TokenPair], TokenPair]
"""The type of ``logout_make_stale``."""
