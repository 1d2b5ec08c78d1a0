"""What rotation adds to a refresh, compared with rotation written by hand.

An app without rotation, one that reads and then writes a row for each refresh token, and
this package take turns on one server, in one process. The ratio is our median overhead
divided by that of the rotation by hand; "low" and "high" hold nine in ten resamplings.
With --delay, a proxy makes the way to the server longer.
"""

from __future__ import annotations

import typing as t
from uuid import uuid4

import redis
from flask import abort
from flask import Flask
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token
from flask_jwt_extended import decode_token
from flask_jwt_extended import get_jti
from flask_jwt_extended import get_jwt
from flask_jwt_extended import get_jwt_identity
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy

from flask_logout import LogoutExtension

from .databases import DATABASES
from .databases import new_database
from .databases import port_of
from .databases import with_port
from .delay import delayed
from .measuring import alternate
from .measuring import overheads
from .measuring import ratio
from .measuring import spread
from .recipes import bearer
from .recipes import SECRET
from .reporting import make_parser
from .reporting import report
from .reporting import Row

KINDS = ("none", "by hand", "Flask-Logout, own view", "Flask-Logout, endpoint")
"""Without rotation, the rotation by hand, and us: in a view of the app, and the endpoint."""

TARGET = 0.5
"""The most that our overhead may be, as a part of that of the rotation by hand."""

Tokens = dict[str, str]


def make_app(kind: str, url: str) -> Flask:
    """Make an app with the routes ``POST /login`` and ``POST /refresh``.

    :param kind: one of :data:`KINDS`.
    :param url: the SQLAlchemy URL of its database.
    :returns: the app, its tables created.
    """
    app = Flask("benchmarks")
    is_redis = url.startswith("redis:")
    key = "LOGOUT_STORE_URI" if is_redis else "SQLALCHEMY_DATABASE_URI"
    app.config.update({"JWT_SECRET_KEY": SECRET, key: url, "LOGOUT_PURGE_EVERY": 0})
    jwt = JWTManager(app)
    db = None if is_redis else SQLAlchemy(app)
    if kind.startswith("Flask-Logout"):
        app.config["LOGOUT_ENDPOINTS"] = {"refresh"}
        # Otherwise only the first of many refreshes in a row would rotate.
        app.config["LOGOUT_ROTATION_GRACE"] = 0
        start, refresh = _use_extension(LogoutExtension(app))
    elif kind == "by hand":
        start, refresh = _write_by_hand(db, jwt) if db else _write_in_redis(url, jwt)
    else:
        start, refresh = _issue, _issue
    app.add_url_rule("/login", view_func=lambda: start("ada"), methods=["POST"])
    protected = jwt_required(refresh=True)(lambda: refresh(get_jwt_identity()))
    app.add_url_rule("/refresh", "refresh", protected, methods=["POST"])
    if db is not None:
        with app.app_context():
            db.create_all()
    return app


def make_caller(app: Flask, kind: str) -> t.Callable[[], None]:
    """Make a refresh that can be called again and again.

    :param app: an app of :func:`make_app`.
    :param kind: its kind.
    :returns: a function that presents the newest refresh token.
    """
    client = app.test_client(use_cookies=False)
    tokens = [client.post("/login").get_json()["refresh_token"]]
    url = "/auth/refresh" if kind.endswith("endpoint") else "/refresh"

    def call() -> None:
        response = client.post(url, headers=bearer(tokens[0]))
        if response.status_code != 200:
            raise RuntimeError(f"the refresh was answered {response.status}")
        body = response.get_json()
        tokens[0] = body.get("data", body)["refresh_token"]

    return call


def _issue(identity: str) -> Tokens:
    return {
        "access_token": create_access_token(identity),
        "refresh_token": create_refresh_token(identity),
    }


Views = tuple[t.Callable[[str], Tokens], t.Callable[[str], Tokens]]


def _use_extension(logout: LogoutExtension) -> Views:
    return (
        lambda identity: logout.start_session(identity)._asdict(),
        lambda _: logout.refresh_session()._asdict(),
    )


def _write_by_hand(db: SQLAlchemy, jwt: JWTManager) -> Views:
    """Keep a row for each refresh token: read it, mark it as used, and add the next one."""
    model: t.Any = db.Model

    class RefreshToken(model):  # type: ignore[misc]
        id = db.Column(db.Integer, primary_key=True)
        jti = db.Column(db.String(36), nullable=False, unique=True)
        family = db.Column(db.String(36), nullable=False, index=True)
        is_used = db.Column(db.Boolean, nullable=False, default=False)
        is_revoked = db.Column(db.Boolean, nullable=False, default=False)

    def read(jti: str) -> t.Any:
        return db.session.query(RefreshToken).filter_by(jti=jti).scalar()

    @jwt.token_in_blocklist_loader
    def is_revoked(_: t.Any, claims: dict[str, t.Any]) -> bool:
        if claims["type"] != "refresh":
            return False
        row = read(claims["jti"])
        return row is None or row.is_revoked

    def start(identity: str) -> Tokens:
        tokens = _issue(identity)
        jti = decode_token(tokens["refresh_token"])["jti"]
        db.session.add(RefreshToken(jti=jti, family=jti))
        db.session.commit()
        return tokens

    def refresh(identity: str) -> Tokens:
        row = read(get_jwt()["jti"])
        if row.is_used:
            family = db.session.query(RefreshToken).filter_by(family=row.family)
            family.update({"is_revoked": True})
            db.session.commit()
            abort(401)
        tokens = _issue(identity)
        row.is_used = True
        jti = t.cast(str, get_jti(tokens["refresh_token"]))
        db.session.add(RefreshToken(jti=jti, family=row.family))
        db.session.commit()
        return tokens

    return start, refresh


def _write_in_redis(url: str, jwt: JWTManager) -> Views:
    """Keep a key for each refresh token: read it, mark it as used, and add the next one."""
    client, lifetime = redis.Redis.from_url(url), 30 * 86400

    @jwt.token_in_blocklist_loader
    def is_revoked(_: t.Any, claims: dict[str, t.Any]) -> bool:
        if claims["type"] != "refresh":
            return False
        return bool(client.exists(f"revoked:{claims['family']}"))

    def issue(identity: str, family: str) -> Tokens:
        claims = {"family": family}
        tokens = {
            "access_token": create_access_token(identity),
            "refresh_token": create_refresh_token(identity, additional_claims=claims),
        }
        jti = get_jti(tokens["refresh_token"])
        client.set(f"refresh:{jti}", "new", ex=lifetime)
        return tokens

    def start(identity: str) -> Tokens:
        return issue(identity, uuid4().hex)

    def refresh(identity: str) -> Tokens:
        claims = get_jwt()
        key, family = f"refresh:{claims['jti']}", claims["family"]
        if client.get(key) != b"new":
            client.set(f"revoked:{family}", "", ex=lifetime)
            abort(401)
        client.set(key, "used", ex=lifetime)
        return issue(identity, family)

    return start, refresh


def measure(database: str, url: str, *, rounds: int, delay_ms: float = 0) -> list[Row]:
    """Measure on one database.

    :param database: its name.
    :param url: where it is, empty.
    :param rounds: how many rounds, 1 or more.
    :param delay_ms: what the network adds to a round trip, in milliseconds.
    :returns: a line for the rotation by hand and one for us.
    """
    callers = {kind: make_caller(make_app(kind, url), kind) for kind in KINDS}
    samples = alternate(callers, rounds=rounds, calls=5)
    base = overheads(samples, "by hand", "none")
    lines: list[Row] = []
    for kind in KINDS[1:]:
        overhead = overheads(samples, kind, "none")
        quotient = ratio(overhead, base)
        target = None if kind == "by hand" else TARGET
        lines.append(
            {
                "database": database,
                "delay_ms": delay_ms,
                "rotation": kind,
                "request_us": spread(samples[kind]).median * 1e6,
                "overhead_us": spread(overhead).median * 1e6,
                "ratio": quotient.median,
                "ratio_low": quotient.low,
                "ratio_high": quotient.high,
                "target": target,
                "met": None if target is None else quotient.median <= target,
            }
        )
    return lines


def _measure_at(name: str, url: str, rounds: int, delay_ms: float) -> list[Row]:
    if not delay_ms:
        return measure(name, url, rounds=rounds)
    with delayed(port_of(url), delay_ms) as port:
        distant = with_port(url, port)
        return measure(name, distant, rounds=rounds, delay_ms=delay_ms)


def main() -> None:
    """Run the benchmark."""
    parser = make_parser(__doc__)
    choices = (*DATABASES, "Redis")
    parser.add_argument("--database", choices=choices, action="append")
    parser.add_argument("--rounds", type=int, default=200, help="default: 200")
    parser.add_argument("--delay", type=float, default=0, help="ms, default: 0")
    options = parser.parse_args()
    if options.delay and "SQLite" in (options.database or ()):
        parser.error("no network leads to SQLite, so --delay can't be used")
    servers = choices[1:] if options.delay else choices
    lines: list[Row] = []
    for name in options.database or servers:
        with new_database(name) as url:
            if url is not None:
                lines += _measure_at(name, url, options.rounds, options.delay)
    report("refresh", lines, options.json)


if __name__ == "__main__":
    main()
