"""The extension class: sets up an app, and is the public Python API."""

from __future__ import annotations

import typing as t
from functools import partial

from flask import Flask
from flask_jwt_extended import JWTManager

from . import blocklist
from . import setup_conflicts
from .cli.commands import logout as commands
from .config import Settings
from .config.jwt_settings import check_settings as check_jwt_settings
from .domain.claims import Claims
from .exceptions import ConfigError
from .extension_revoking import RevokeMethods
from .extension_sessions import SessionMethods
from .registered_loaders import BackchannelLoader
from .registered_loaders import ClientLoader
from .registered_loaders import Loaders
from .revocation_factory import RevocationMaker
from .service import EXTENSION
from .service import get_service
from .service import LogoutService
from .stores.factory import open_store
from .tokens import login_claims
from .tokens.pair import check_access
from .tokens.pair import verify_pair
from .upstreams import Upstream
from .views import make_blueprint
from .views import register_prefix_errors
from .views.errors import register_on_app

if t.TYPE_CHECKING:
    from .backchannel import BackchannelService
    from .metrics import AppMetrics
    from .sessions import SessionService
    from .stores import Store
    from .stores.sqlalchemy import AppDatabase


class LogoutExtension(RevokeMethods, SessionMethods):
    """Add a logout endpoint and token revocation to a Flask app.

    It registers the endpoints in :confval:`LOGOUT_ENDPOINTS`, by default only
    ``POST /auth/logout``, and makes every ``@jwt_required()`` route reject revoked tokens.
    Create the app's ``SQLAlchemy`` and ``JWTManager`` objects first, or the extension
    creates those it needs. One extension can serve several apps, which then share its
    upstreams.

    :param app: the app to initialize. If ``None``, call :meth:`init_app` later.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._upstreams: list[Upstream] = []
        self._loaders = Loaders()
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
        metrics = _open_metrics(app, settings) if settings.metrics else None
        store = open_store(
            settings,
            find_database=partial(_find_database, app, settings.bind_key),
            folder=app.instance_path,
            wrap=metrics.measure if metrics else None,
        )
        if "flask-jwt-extended" not in app.extensions:
            JWTManager(app)
        with app.app_context():
            check_jwt_settings()
        blocklist.install(app, app.extensions["flask-jwt-extended"])
        login_claims.stamp_requests(app)
        make = RevocationMaker(settings, app.config)
        make_service = metrics.make_service if metrics else LogoutService
        app.extensions[EXTENSION] = make_service(
            settings=settings,
            store=store,
            upstreams=self._upstreams,
            config=app.config,
            make=make,
            loaders=self._loaders,
            sessions=_open_sessions(settings, store) if settings.has_sessions else None,
            backchannel=_open_backchannel(settings) if settings.backchannel else None,
        )
        if settings.endpoints:
            app.register_blueprint(
                make_blueprint(settings.url_prefix, settings.endpoints)
            )
        register_on_app(app, jwt_errors=settings.app_wide_errors)
        app.cli.add_command(commands)
        setup_conflicts.watch(app)
        if settings.app_wide_errors:
            register_prefix_errors(app, settings.url_prefix, settings.endpoints)

    def upstream(self, function: Upstream) -> Upstream:
        """Register a callback that ends the login elsewhere. Use it as a decorator.

        Each logout calls it with :class:`LogoutTokens`, after the tokens are verified and
        before they are revoked. If it raises any exception, nothing is revoked. Raise
        :exc:`ExternalAPIError` to send details to the client.

        :param function: the callback, which may be a coroutine function.
        :returns: the callback, unchanged.
        """
        self._upstreams.append(function)
        return function

    def client_loader(self, function: ClientLoader) -> ClientLoader:
        """Register a function that authenticates clients. Use it as a decorator.

        The endpoints ``revoke`` and ``introspect`` call it with the ``client_id`` and the
        ``client_secret`` of a request. They respond with 401 unless it returns ``True``.
        Compare the secret with :func:`hmac.compare_digest`.

        :param function: the function, which may be a coroutine function.
        :returns: the function, unchanged.
        """
        self._loaders.client = function
        return function

    def backchannel_loader(self, function: BackchannelLoader) -> BackchannelLoader:
        """Register a function that says whom to log out. Use it as a decorator.

        The endpoint ``backchannel_logout`` calls it with the claims of a logout token
        that is verified. Apps need it if they issue their own tokens.

        :param function: returns ``{"sid": …}`` to end one login of the app,
            ``{"identity": …}`` to log a user out everywhere, or ``None`` if there is
            nobody to log out. It may be a coroutine function.
        :returns: the function, unchanged.
        """
        self._loaders.backchannel = function
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

    def log_out_everywhere(
        self, access_claims: Claims, *, keep_current: bool = False
    ) -> None:
        """Log out everywhere as the endpoint does. Use this in a route of your own.

        This revokes every login of the token's subject and issuer. Without
        ``keep_current``, it calls the upstreams first, and ``get_jwt()`` returns an empty
        dict afterwards. Flask turns the exceptions below, except :exc:`ValueError`, into
        the documented responses.

        :param access_claims: the claims of the access token, from ``get_jwt()``.
            :confval:`LOGOUT_REQUIRE_FRESH` doesn't apply, so use
            ``@jwt_required(fresh=True)`` if the token must be fresh.
        :param keep_current: whether the login of that token stays valid. It needs the
            claims of :func:`session_claims`.
        :raises ValueError: if the claims are empty or those of a refresh token.
        :raises InvalidRequestError: if ``keep_current`` is ``True``, but the token has no
            session.
        :raises ExternalAPIError: if an upstream failed.
        :raises StoreUnavailableError: if the store can't be reached.
        """
        check_access(access_claims)
        get_service().log_out_everywhere(access_claims, keep_current=keep_current)

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
    from .domain.rotation import Policy
    from .sessions import SessionService

    policy = Policy(settings.rotation_grace, settings.rotation_late_retry)
    return SessionService(settings, store.open_sessions(policy), policy)


def _open_metrics(app: Flask, settings: Settings) -> AppMetrics:
    # Imported here because most apps are not measured.
    from .metrics import AppMetrics

    return AppMetrics(app, has_mirror=bool(settings.max_staleness))


def _open_backchannel(settings: Settings) -> BackchannelService:
    # Imported here because most apps receive no logouts.
    from .backchannel import BackchannelService

    return BackchannelService(settings.backchannel)


def _find_database(app: Flask, bind_key: str | None) -> AppDatabase:
    # Imported here because apps that use Redis don't need SQLAlchemy.
    from .app_database import find_database

    return find_database(app, bind_key)
