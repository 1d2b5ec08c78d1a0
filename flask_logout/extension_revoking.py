"""The methods of the extension that revoke tokens, sessions, and users."""

from __future__ import annotations

import typing as t

from . import tokens
from .domain.claims import Claims
from .service import get_service

if t.TYPE_CHECKING:
    from .stores import AppSession


class RevokeMethods:
    """The ``revoke_*`` methods of :class:`.LogoutExtension`."""

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
