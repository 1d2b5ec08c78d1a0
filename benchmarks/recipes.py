"""The apps that are compared: two recipes of Flask-JWT-Extended's documentation, and us.

The recipes are written anew from the page "JWT Revoking / Blocklist" of that
documentation: one with a database table, one with Redis. All apps have the same
protected route and differ in nothing but how they find out that a token is revoked.
"""

from __future__ import annotations

import typing as t
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from itertools import cycle

from flask import Flask
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token
from flask_jwt_extended import get_jwt
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy

from flask_logout import LogoutExtension

Kind = t.Literal[
    "none", "database recipe", "redis recipe", "Flask-Logout", "Flask-Logout, mirror on"
]
KINDS: tuple[Kind, ...] = t.get_args(Kind)
"""No hook, the two recipes, and us: asking at every request, and with the mirror."""

SECRET = "a secret for benchmarks, of thirty-two bytes or more"
LIFETIME = timedelta(hours=12)
STALENESS = timedelta(seconds=1)
"""How stale the mirror may be in the app that has one."""

RECIPE_TABLE = "token_blocklist"
"""The table of the database recipe."""


def make_app(kind: Kind, url: str) -> Flask:
    """Make an app with the routes ``GET /protected`` and, but for "none", a logout.

    The logout of a recipe is ``DELETE /logout``, called once for each token, as the
    documentation has it; ours is ``POST /auth/logout``, called once for both.

    :param kind: how the app finds out that a token is revoked.
    :param url: where it is kept: a SQLAlchemy URL, or one of Redis.
    :returns: the app, its tables created.
    """
    app = Flask("benchmarks")
    app.config["JWT_SECRET_KEY"] = SECRET
    app.config["JWT_ACCESS_TOKEN_EXPIRES"] = LIFETIME
    is_redis = url.startswith("redis")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://" if is_redis else url
    db, jwt = SQLAlchemy(app), JWTManager(app)
    if kind == "database recipe":
        _add_database_recipe(app, db, jwt)
    elif kind == "redis recipe":
        _add_redis_recipe(app, jwt, url)
    elif kind != "none":
        if is_redis:
            app.config["LOGOUT_STORE_URI"] = url
        if kind == "Flask-Logout, mirror on":
            app.config["LOGOUT_MAX_STALENESS"] = STALENESS
        LogoutExtension(app)
    app.add_url_rule("/protected", view_func=protected)
    with app.app_context():
        db.create_all()
    return app


@jwt_required()
def protected() -> dict[str, t.Any]:
    """Answer who has a token."""
    return {}


class Pair(t.NamedTuple):
    """The tokens of one login."""

    access: str
    refresh: str


def make_pair(app: Flask, identity: str = "ada") -> Pair:
    """Log a user in.

    :param app: the app; its tokens are good for every app of this module.
    :param identity: the user.
    :returns: two tokens.
    """
    with app.app_context():
        return Pair(create_access_token(identity), create_refresh_token(identity))


def bearer(token: str) -> dict[str, str]:
    """Make the header that carries a token.

    :param token: the token.
    :returns: headers.
    """
    return {"Authorization": f"Bearer {token}"}


def make_caller(app: Flask, visitors: int = 1) -> t.Callable[[], None]:
    """Make a protected request that can be called again and again.

    :param app: an app of :func:`make_app`.
    :param visitors: how many tokens take turns, each of another user, 1 or more.
    :returns: a function that makes the request and fails unless it is let in.
    """
    client = app.test_client(use_cookies=False)
    with app.app_context():
        tokens = [create_access_token(f"visitor-{i}") for i in range(visitors)]
    headers = cycle([bearer(token) for token in tokens])

    def call() -> None:
        response = client.get("/protected", headers=next(headers))
        if response.status_code != 200:
            raise RuntimeError(f"the request was answered {response.status}")

    return call


def make_logout(app: Flask, kind: Kind, count: int) -> t.Callable[[], None]:
    """Make a logout of both tokens of a fresh pair that can be called again and again.

    :param app: an app of :func:`make_app` with a logout.
    :param kind: which it is.
    :param count: how often it can be called, 1 or more.
    :returns: a function that logs a pair out, by one request or two.
    """
    # Made beforehand: signing them is no part of a logout.
    pairs = iter([make_pair(app, f"user-{i}") for i in range(count)])
    client = app.test_client(use_cookies=False)

    def log_out() -> None:
        pair = next(pairs)
        if kind.endswith("recipe"):
            answers = [client.delete("/logout", headers=bearer(x)) for x in pair]
        else:
            body, headers = {"refresh_token": pair.refresh}, bearer(pair.access)
            answers = [client.post("/auth/logout", headers=headers, json=body)]
        for answer in answers:
            if answer.status_code != 200:
                raise RuntimeError(f"a logout was answered {answer.status}")

    return log_out


def _add_database_recipe(app: Flask, db: SQLAlchemy, jwt: JWTManager) -> None:
    class TokenBlocklist(db.Model):  # type: ignore[name-defined,misc]  # it is made now
        __tablename__ = RECIPE_TABLE
        id = db.Column(db.Integer, primary_key=True)
        jti = db.Column(db.String(36), nullable=False, index=True)
        created_at = db.Column(db.DateTime, nullable=False)

    @jwt.token_in_blocklist_loader
    def check_if_token_revoked(
        _header: dict[str, t.Any], payload: dict[str, t.Any]
    ) -> bool:
        found = db.session.query(TokenBlocklist.id).filter_by(jti=payload["jti"])
        return found.scalar() is not None

    @app.delete("/logout")
    @jwt_required(verify_type=False)
    def modify_token() -> dict[str, t.Any]:
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        db.session.add(TokenBlocklist(jti=get_jwt()["jti"], created_at=now))
        db.session.commit()
        return {"msg": "JWT revoked"}


def _add_redis_recipe(app: Flask, jwt: JWTManager, url: str) -> None:
    from redis import Redis

    blocklist = Redis.from_url(url, decode_responses=True)

    @jwt.token_in_blocklist_loader
    def check_if_token_is_revoked(
        _header: dict[str, t.Any], payload: dict[str, t.Any]
    ) -> bool:
        return blocklist.get(payload["jti"]) is not None

    @app.delete("/logout")
    @jwt_required(verify_type=False)
    def logout() -> dict[str, t.Any]:
        blocklist.setex(get_jwt()["jti"], LIFETIME, "")
        return {"msg": "Access token revoked"}
