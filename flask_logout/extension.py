"""The extension class: sets up an app, and is the public Python API."""

from __future__ import annotations

import typing as t
from functools import partial

from flask import Flask
from flask_jwt_extended import JWTManager

from . import blocklist
from . import login_claims
from . import setup_conflicts
from . import tokens
from .claims import Claims
from .cli.commands import logout as commands
from .config import Settings
from .exceptions import ConfigError
from .jwt_settings import check_settings as check_jwt_settings
from .pair import check_access
from .pair import verify_pair
from .revocation_maker import RevocationMaker
from .service import EXTENSION
from .service import get_service
from .service import LogoutService
from .session_api import SessionMethods
from .stores.factory import open_store
from .upstreams import Upstream
from .views import make_blueprint
from .views import register_prefix_errors
from .views.errors import register_on_app

if t.TYPE_CHECKING:
    from .sessions import SessionService
    from .stores import AppSession
    from .stores import Store
    from .stores.sqlalchemy import AppDatabase


class LogoutExtension(SessionMethods):
    """Add a logout endpoint and token revocation to a Flask app.

    It registers ``POST /auth/logout``, and makes every ``@jwt_required()`` route reject
    revoked tokens. Create the app's ``SQLAlchemy`` and ``JWTManager`` objects first, or
    the extension creates those it needs. One extension can serve several apps, which
    then share its upstreams.

    :param app: the app to initialize. If ``None``, call :meth:`init_app` later.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._upstreams: list[Upstream] = []
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Initialize the extension for an app. Set the app's configuration first.

        :param app: the app to initialize.
        :raises ConfigError: if a setting is invalid, or the app can't be set up. The
            message says why, and how to fix it.
        """
        if EXTENSION in app.extensions:
            raise ConfigError(
                "This app already has a LogoutExtension. Initialize it only once."
            )
        setup_conflicts.check_free(app)
        settings = Settings.from_app(app)
        store = open_store(
            settings,
            find_database=partial(_find_database, app, settings.bind_key),
            folder=app.instance_path,
        )
        if "flask-jwt-extended" not in app.extensions:
            JWTManager(app)
        with app.app_context():
            check_jwt_settings()
        blocklist.install(app, app.extensions["flask-jwt-extended"])
        login_claims.stamp_requests(app)
        make = RevocationMaker(settings, app.config)
        sessions = _open_sessions(settings, store) if settings.has_sessions else None
        app.extensions[EXTENSION] = LogoutService(
            settings, store, self._upstreams, app.config, make, sessions
        )
        if settings.endpoints:
            app.register_blueprint(make_blueprint(settings.url_prefix))
        register_on_app(app, jwt_errors=settings.app_wide_errors)
        app.cli.add_command(commands)
        setup_conflicts.watch(app)
        if settings.app_wide_errors:
            register_prefix_errors(app, settings.url_prefix)

    def upstream(self, function: Upstream) -> Upstream:
        """Register a callback that ends the login elsewhere. Use it as a decorator.

        Each logout calls it with :class:`LogoutTokens`, after both tokens are verified and
        before they are revoked. If it raises any exception, nothing is revoked. Raise
        :exc:`ExternalAPIError` to send details to the client.

        :param function: the callback, which may be a coroutine function.
        :returns: the callback, unchanged.
        """
        self._upstreams.append(function)
        return function

    def log_out(self, access_claims: Claims, refresh_token: str | None = None) -> None:
        """Log out as the endpoint does. Use this in a logout route of your own.

        This verifies the refresh token, calls the upstreams, and revokes both tokens in
        one statement. ``get_jwt()`` then returns an empty dict until the request ends.
        Flask turns the exceptions below, except :exc:`ValueError`, into the documented
        responses. They mean that nothing is revoked, unless it is an
        :exc:`OutcomeUnknownError`.

        :param access_claims: the claims of the access token, from ``get_jwt()``.
        :param refresh_token: the encoded refresh token of the same user. ``None`` is
            valid only if :confval:`LOGOUT_REQUIRE_REFRESH_TOKEN` is ``False``.
        :raises ValueError: if the claims are empty or those of a refresh token.
        :raises InvalidRequestError: if the refresh token is missing or invalid.
        :raises ExternalAPIError: if an upstream failed.
        :raises StoreUnavailableError: if the store can't be reached.
        """
        service = get_service()
        check_access(access_claims)
        body = {} if refresh_token is None else {"refresh_token": refresh_token}
        service.log_out(verify_pair(service.settings, access_claims, body))

    def revoke_token(
        self,
        claims: Claims,
        *,
        session: AppSession | bool | None = None,
        reason: str | None = None,
        actor: str | None = None,
    ) -> None:
        """Revoke one token, such as a refresh token that a view has just rotated.

        Other tokens of the same login stay valid, unless ``session`` is ``True``.

        :param claims: the token's claims, from ``get_jwt()`` or ``decode_token()``.
        :param session: ``True`` revokes every token of its login, if it has one, see
            :func:`session_claims`. For ``db.session``, see :meth:`revoke_user`.
        :param reason: why, for the stored record, up to 255 characters.
        :param actor: who revokes it, for the stored record, up to 255 characters.
        :raises StoreUnavailableError: if the store can't be reached.
        """
        service = get_service()
        make = service.make.of_logins if session is True else service.make.of_token
        session = None if isinstance(session, bool) else session
        service.revoke(make(claims), session=session, reason=reason, actor=actor)

    def revoke_session(
        self,
        sid: str,
        *,
        session: AppSession | None = None,
        reason: str | None = None,
        actor: str | None = None,
    ) -> None:
        """Revoke every token of one login, including those of later refreshes.

        This covers every token with this ``sid``, even if the app uses that claim for
        something other than a login.

        :param sid: the ``sid`` claim of the login's tokens, see :func:`session_claims`.
        :param session: ``db.session`` or ``None``, as in :meth:`revoke_user`.
        :param reason: why, for the stored record, up to 255 characters.
        :param actor: who revokes it, for the stored record, up to 255 characters.
        :raises ValueError: if the ``sid`` is empty.
        :raises TypeError: if the ``sid``, reason or actor isn't a string.
        :raises StoreUnavailableError: if the store can't be reached.
        """
        service = get_service()
        revocations = service.make.of_session(sid)
        service.revoke(revocations, session=session, reason=reason, actor=actor)

    def revoke_user(
        self,
        identity: t.Any,
        *,
        keep_session: str | None = None,
        session: AppSession | None = None,
        reason: str | None = None,
        actor: str | None = None,
    ) -> None:
        """Log a user out everywhere (ASVS 5.0 7.4).

        This revokes every login whose request has begun, so a login in progress that has
        read the old password is revoked, too. Afterwards, the same request can log the
        user in again, unless you pass ``session``.

        :param identity: the identity, as passed to ``create_access_token``. The app's
            ``user_identity_loader`` is applied to it.
        :param keep_session: the ``sid`` from :func:`session_claims` of one login to keep,
            such as the current one when the password changes (ASVS 5.0 7.4.3).
        :param session: ``db.session``, to revoke when the app commits. The cutoff is
            then the time of the commit. To log the user in again in this request, pass
            the new login's ``sid`` as ``keep_session``. Roll back if this method or the
            commit raises. If the commit raises :exc:`OutcomeUnknownError`, it succeeded,
            but checks may miss the revocation. If ``None``, the revocation is committed
            before this returns.
        :param reason: why, for the stored record, up to 255 characters.
        :param actor: who logs the user out, for the record, up to 255 characters.
        :raises ValueError: if no valid token can carry the identity.
        :raises TypeError: if the identity isn't JSON, or an argument has the wrong type.
        :raises ConfigError: if ``session`` uses another database than the revocations.
        :raises StoreUnavailableError: if the store can't be reached.
        """
        service, subject = get_service(), tokens.subject_for(identity)
        revocations = service.make.of_subject(subject, keep_session=keep_session)
        service.revoke(revocations, session=session, reason=reason, actor=actor)

    def revoke_everyone(
        self,
        *,
        session: AppSession | None = None,
        reason: str | None = None,
        actor: str | None = None,
    ) -> None:
        """Log out every user, for example after a data breach.

        :param session: ``db.session`` or ``None``, as in :meth:`revoke_user`.
        :param reason: why, for the stored record, up to 255 characters.
        :param actor: who revokes them, for the stored record, up to 255 characters.
        :raises StoreUnavailableError: if the store can't be reached.
        """
        service = get_service()
        revocations = service.make.of_everyone()
        service.revoke(revocations, session=session, reason=reason, actor=actor)

    def is_revoked(self, claims: Claims) -> bool:
        """Check whether a token is revoked, with at most one round trip to the store.

        If sessions are enabled, a refresh token needs another one. If it has been used,
        this ends its session.

        :param claims: the claims of a verified token.
        :returns: ``True`` if the token must be rejected.
        :raises StoreUnavailableError: if the store can't be reached. Reject the token.
        """
        service = get_service()
        if service.is_revoked(claims):
            return True
        return service.sessions is not None and service.sessions.is_stale(claims)

    def purge(self) -> int:
        """Delete expired revocations, in batches.

        :returns: how many were deleted.
        :raises StoreUnavailableError: if the store can't be reached. Try again later.
        """
        return sum(get_service().purge())


def _open_sessions(settings: Settings, store: Store) -> SessionService:
    # Imported here because most apps have no sessions.
    from .rotation import Policy
    from .sessions import SessionService

    policy = Policy(settings.rotation_grace, settings.rotation_late_retry)
    return SessionService(settings, store.open_sessions(policy), policy)


def _find_database(app: Flask, bind_key: str | None) -> AppDatabase:
    # Imported here because apps that use Redis don't need SQLAlchemy.
    from .app_database import find_database

    return find_database(app, bind_key)
