"""The extension: wires the rooms of this package to an app, and is its Python API."""

from __future__ import annotations

import typing as t
from functools import partial

from flask import Flask
from flask_jwt_extended import JWTManager

from . import blocklist
from . import conflicts
from . import login
from . import tokens
from .claims import Claims
from .cli.commands import logout as commands
from .config import Settings
from .exceptions import ConfigError
from .jwt_settings import check_settings as check_jwt_settings
from .making import RevocationMaker
from .pair import check_access
from .pair import verify_pair
from .service import EXTENSION
from .service import get_service
from .service import LogoutService
from .stores.factory import open_store
from .upstreams import Upstream
from .views import answer_strays
from .views import make_blueprint
from .views.errors import register_on_app

if t.TYPE_CHECKING:
    from .stores import AppSession
    from .stores.sqlalchemy import AppDatabase


class LogoutExtension:
    """Give an app that uses Flask-JWT-Extended a logout that is true.

    It registers ``POST /auth/logout`` and refuses revoked tokens on every route. Create
    the ``SQLAlchemy`` and the ``JWTManager`` of the app first; where one is missing it
    is created. One object serves any number of apps, and keeps nothing about them.

    :param app: the app to set up at once; ``None``: call :meth:`init_app` later.
    :raises ConfigError: see :meth:`init_app`.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._upstreams: list[Upstream] = []
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set up an app, which has been configured.

        :param app: the app.
        :raises ConfigError: the app was set up before, a setting is wrong, the
            blocklist loader of the app is a coroutine function, or its database is of a
            kind that is not supported; the message names the remedy.
        """
        if EXTENSION in app.extensions:
            raise ConfigError(
                "this app has a LogoutExtension already. Call LogoutExtension(app) or"
                " init_app(app) once per app."
            )
        conflicts.check_free(app)
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
        login.stamp_requests(app)
        make = RevocationMaker(settings, app.config)
        app.extensions[EXTENSION] = LogoutService(
            settings, store, self._upstreams, app.config, make
        )
        if settings.endpoints:
            app.register_blueprint(make_blueprint(settings.url_prefix))
        register_on_app(app, jwt_errors=settings.app_wide_errors)
        app.cli.add_command(commands)
        conflicts.watch(app)
        if settings.app_wide_errors:
            answer_strays(app, settings.url_prefix)

    def upstream(self, function: Upstream) -> Upstream:
        """Register what else must forget the tokens of a logout; a decorator.

        It is called with :class:`LogoutTokens` after both tokens have been verified and
        before they are revoked. Raise :exc:`ExternalAPIError` in it to tell the client
        why it failed; after any exception nothing is revoked.

        :param function: the callable, a coroutine function included.
        :returns: the callable.
        """
        self._upstreams.append(function)
        return function

    def log_out(self, access_claims: Claims, refresh_token: str | None = None) -> None:
        """Log out as the endpoint does, for an app that has a route of its own.

        It verifies the refresh token, calls the upstreams, and revokes both tokens in one
        statement. If it raises, Flask-Logout has revoked nothing, with one exception:
        after an :exc:`OutcomeUnknownError` the tokens may be revoked. Each exception but
        the first has a documented response, which Flask sends unless the app catches it.
        Afterwards ``get_jwt()`` returns an empty dict in this request.

        :param access_claims: the claims of the access token, from ``get_jwt()``.
        :param refresh_token: the encoded refresh token of the same user; ``None``: there
            is none, which ``LOGOUT_REQUIRE_REFRESH_TOKEN = False`` allows.
        :raises ValueError: the claims are empty or those of a refresh token.
        :raises InvalidRequestError: the refresh token is missing or not acceptable.
        :raises ExternalAPIError: an upstream failed.
        :raises StoreUnavailableError: the store did not answer.
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
        """Revoke one token, and no other token of its login.

        So a view that rotates refresh tokens can revoke the one that it has received.

        :param claims: the claims of the token, of ``get_jwt()`` or ``decode_token()``.
        :param session: ``True``: revoke every token of its login, as a logout does,
            if it belongs to one, see :func:`session_claims`. ``db.session``: see
            :meth:`revoke_user`.
        :param reason: why, for the record, up to 255 characters.
        :param actor: who does it, for the record, up to 255 characters.
        :raises StoreUnavailableError: the store did not answer; nothing is revoked.
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
        """Revoke every token of one login, those of later refreshes included.

        It applies to every token that has this ``sid``, also if an app sets that claim
        to something else than a login.

        :param sid: the ``sid`` claim of its tokens, see :func:`session_claims`.
        :param session: see :meth:`revoke_user`.
        :param reason: why, for the record, up to 255 characters.
        :param actor: who does it, for the record, up to 255 characters.
        :raises ValueError: the ``sid`` is empty.
        :raises TypeError: the ``sid``, the reason or the actor is not a string.
        :raises StoreUnavailableError: the store did not answer; nothing is revoked.
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
        """Log a user out everywhere: end every login that began up to now (ASVS 7.4).

        A login begins when its request does, see :func:`session_claims`. So a login
        that has read the old password ends too. After this call, the same request can
        log the user in again, unless you pass ``session``.

        :param identity: what ``create_access_token`` takes: it passes through the app's
            ``user_identity_loader``.
        :param keep_session: the ``sid`` of the one login that stays, for a password
            change (ASVS 5.0 7.4.3). It must be a ``sid`` of :func:`session_claims`.
            ``None``: none stays.
        :param session: ``db.session``: the app commits the revocation, or rolls it
            back, together with its own change. The cutoff is the moment of the commit,
            and the revocation is logged and signalled after it. To log the same user in
            again in this request, pass the ``sid`` of the new login as
            ``keep_session``. If the store does not answer, this method or the commit
            raises, and you have to roll back. The commit raises
            :exc:`OutcomeUnknownError` if it has succeeded, but checks may miss the
            revocation. ``None``: it is committed when this returns.
        :param reason: why, for the record, up to 255 characters.
        :param actor: who does it, for the record, up to 255 characters.
        :raises ValueError: the identity is ``None``, or a dict or list that PyJWT does
            not accept as a ``sub`` claim.
        :raises TypeError: the identity can't be encoded to JSON, or another argument is
            of the wrong type.
        :raises ConfigError: the session is connected to another database than the
            revocations, or they are in none of the app's.
        :raises StoreUnavailableError: the store did not answer; nothing is revoked.
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
        """End every login of every user that began up to now: the panic button.

        :param session: see :meth:`revoke_user`.
        :param reason: why, for the record, up to 255 characters.
        :param actor: who does it, for the record, up to 255 characters.
        :raises StoreUnavailableError: the store did not answer; nothing is revoked.
        """
        service = get_service()
        revocations = service.make.of_everyone()
        service.revoke(revocations, session=session, reason=reason, actor=actor)

    def is_revoked(self, claims: Claims) -> bool:
        """Tell whether a token is revoked under any of its keys, in one round trip.

        :param claims: the claims of a verified token.
        :returns: ``True``: refuse it.
        :raises StoreUnavailableError: the store did not answer: refuse it too.
        """
        return get_service().is_revoked(claims)

    def purge(self) -> int:
        """Forget every revocation that no living token needs, in batches.

        :returns: how many were forgotten.
        :raises StoreUnavailableError: the store did not answer; call it again later.
        """
        return sum(get_service().purge())


def _find_database(app: Flask, bind_key: str | None) -> AppDatabase:
    # Imported here because an app that uses Redis needs no SQLAlchemy.
    from .app_database import find_database

    return find_database(app, bind_key)
