"""What the endpoints for other systems share: forms, clients, and OAuth error responses."""

from __future__ import annotations

import json
import typing as t
from functools import wraps
from urllib.parse import unquote_plus

from flask import current_app
from flask import request
from flask import Response
from werkzeug.exceptions import RequestEntityTooLarge

from ..exceptions import ConfigError
from ..exceptions import LogoutError
from ..exceptions import RETRY_AFTER
from ..exceptions import StoreUnavailableError
from ..service import get_service
from ..setup_conflicts import NO_CLIENT_LOADER
from .access import limit_body

Form = t.Mapping[str, str]
"""The parameters of a request, each of them once and not empty."""

P = t.ParamSpec("P")


class OAuthError(LogoutError):
    """The request is rejected with an error code of OAuth (RFC 6749 5.2).

    :param error: the error code.
    :param description: the cause, for the developer of the client.
    :param status: the HTTP status.
    """

    def __init__(  # noqa: B042
        self, error: str, description: str, status: int = 400
    ) -> None:
        super().__init__(description)
        self.error = error
        self.status = status


def respond(
    view: t.Callable[P, Response], *, unavailable: int = 503
) -> t.Callable[P, Response]:
    """Turn the exceptions of a view into the responses of the standard.

    :param view: the view.
    :param unavailable: the status if the store can't be reached.
    """

    @wraps(view)
    def run(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return view(*args, **kwargs)
        except OAuthError as e:
            return _make_error_response(e)
        except RequestEntityTooLarge:
            too_large = OAuthError("invalid_request", "The body is too large", 413)
            return _make_error_response(too_large)
        except StoreUnavailableError:
            down = "The store did not respond"
            return _make_error_response(
                OAuthError("temporarily_unavailable", down, unavailable)
            )

    return run


def make_response(body: t.Mapping[str, t.Any] | None = None) -> Response:
    """Make a response with JSON or an empty body, which caches must not store."""
    response = Response("" if body is None else json.dumps(body), status=200)
    response.headers["Content-Type"] = "application/json"
    if body is None:
        del response.headers["Content-Type"]
    response.cache_control.no_store = True
    return response


def read_form() -> Form:
    """Read the parameters of the request (RFC 6749 3.2).

    :raises OAuthError: if it isn't a form, or repeats a parameter.
    """
    limit_body(get_service().settings.max_token_length)
    if request.mimetype != "application/x-www-form-urlencoded":
        raise OAuthError(
            "invalid_request", "Expected the type application/x-www-form-urlencoded"
        )
    if any(len(values) > 1 for values in request.form.listvalues()):
        raise OAuthError("invalid_request", "A parameter occurs more than once")
    return {name: value for name, value in request.form.items() if value}


def read_token(form: Form, name: str) -> str:
    """Return the token in a form.

    :raises OAuthError: if it is missing.
    """
    if name not in form:
        raise OAuthError("invalid_request", f"The parameter {name} is missing")
    return form[name]


def authenticate_client(form: Form, *, is_required: bool = False) -> str | None:
    """Authenticate the client of a request (RFC 6749 2.3.1).

    :param form: the parameters of the request.
    :param is_required: whether the endpoint can't be used without a client.
    :returns: the id of the client, or ``None`` if the app has no client loader.
    :raises OAuthError: if the credentials are missing or wrong.
    :raises ConfigError: if a client is required, but the app has no client loader.
    """
    loader = get_service().loaders.client
    if loader is None:
        if is_required:
            raise ConfigError(NO_CLIENT_LOADER)
        return None
    check = current_app.ensure_sync(loader)
    for client_id, secret in _list_credentials(form):
        # An app that looks up the secret may find "" for an unknown client.
        if client_id and secret and check(client_id, secret) is True:
            return client_id
    raise OAuthError("invalid_client", "Client authentication failed", 401)


def _list_credentials(form: Form) -> list[tuple[str, str]]:
    sent = request.authorization
    if sent is None or sent.type != "basic":
        return [(form.get("client_id", ""), form.get("client_secret", ""))]
    if "client_secret" in form:
        raise OAuthError(
            "invalid_request", "The client uses more than one authentication method"
        )
    raw = (sent.username or "", sent.password or "")
    # RFC 6749 wants both to be encoded as in a form, but some clients don't do that.
    decoded = (unquote_plus(raw[0]), unquote_plus(raw[1]))
    found = list(dict.fromkeys([decoded, raw]))
    return [x for x in found if form.get("client_id", x[0]) == x[0]]


def _make_error_response(error: OAuthError) -> Response:
    response = make_response({"error": error.error, "error_description": str(error)})
    response.status_code = error.status
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="logout"'
    if error.status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response
