"""The methods of the extension for sessions."""

from __future__ import annotations

import typing as t

from flask import g
from flask_jwt_extended import get_jwt

from . import tokens
from .service import get_service
from .views import cookies

if t.TYPE_CHECKING:
    from .domain.claims import Claims
    from .domain.rotation import Session
    from .tokens.minting import TokenPair


class SessionMethods:
    """Starts, refreshes and lists sessions."""

    def start_session(
        self,
        identity: t.Any,
        *,
        label: str | None = None,
        fresh: t.Any = True,
        additional_claims: Claims | None = None,
    ) -> TokenPair:
        """Log a user in: make an access and a refresh token of a new session.

        If the app uses cookies, the response to this request sets them. While
        :confval:`LOGOUT_SESSIONS` is off, the tokens are the same, but nothing is stored.

        :param identity: the identity, as for ``create_access_token``.
        :param label: a name for the session, such as that of the device, up to 255
            characters.
        :param fresh: whether the access token is fresh, or a ``timedelta`` for how long.
        :param additional_claims: more claims for both tokens.
        :returns: the tokens.
        :raises ValueError: if ``additional_claims`` has a claim of Flask-Logout.
        :raises TypeError: if the label isn't a string.
        :raises StoreUnavailableError: if the store can't be reached. Nobody is logged in.
        """
        from .tokens import minting

        sessions = get_service().sessions
        if sessions is None:
            plan = minting.plan_login(identity, additional_claims, None)
            pair = minting.mint(plan, fresh=fresh)
        else:
            pair = sessions.start(
                identity,
                label=label,
                fresh=fresh,
                additional_claims=additional_claims,
            )
        cookies.set_pair(pair)
        return pair

    def refresh_session(  # noqa: DOC503  the service raises the others
        self, *, additional_claims: Claims | None = None
    ) -> TokenPair:
        """Exchange the refresh token of this request for new tokens.

        Call it in a view with ``@jwt_required(refresh=True)``. If the app uses cookies,
        the response sets them. Each refresh token can be exchanged once, and again within
        :confval:`LOGOUT_ROTATION_GRACE`. Any later use ends its session. While
        :confval:`LOGOUT_SESSIONS` is off, nothing is stored or compared.

        :param additional_claims: more claims for both tokens. Claims of the refresh token
            are not copied, except those of :func:`session_claims`.
        :returns: the tokens. The access token is not fresh.
        :raises RuntimeError: if the request has no verified refresh token.
        :raises ValueError: if ``additional_claims`` has a claim of Flask-Logout.
        :raises RefreshRejectedError: if the refresh token has been used, or its session
            is over. Flask-JWT-Extended responds as it does to a revoked token.
        :raises StoreUnavailableError: if the store can't be reached.
        """
        from .tokens import minting

        claims = get_jwt()
        if claims.get("type") != "refresh":
            raise RuntimeError(
                "refresh_session() needs a refresh token. Call it in a view with"
                " @jwt_required(refresh=True)."
            )
        sessions = get_service().sessions
        if sessions is None:
            plan = minting.plan_refresh(claims, additional_claims, None)
            pair = minting.mint(plan)
        else:
            pair = sessions.refresh(
                claims,
                checked_at=g.get("logout_checked_at"),
                additional_claims=additional_claims,
            )
        cookies.set_pair(pair)
        return pair

    def sessions_of(  # noqa: DOC503  the service raises the other
        self, identity: t.Any
    ) -> list[Session]:
        """List the active sessions of a user, newest first.

        :param identity: the identity, as passed to :meth:`start_session`. The app's
            ``user_identity_loader`` is applied to it.
        :returns: the sessions that have neither expired nor been revoked.
        :raises RuntimeError: if :confval:`LOGOUT_SESSIONS` is off.
        :raises StoreUnavailableError: if the store can't be reached.
        """
        sessions = get_service().sessions
        if sessions is None:
            raise RuntimeError(
                "sessions_of() needs sessions, which are off. Set LOGOUT_SESSIONS to True."
            )
        return sessions.list_of(tokens.subject_for(identity))
