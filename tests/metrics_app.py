"""A program that serves a measured app, for the test with Prometheus.

Its arguments are the port of the app, that of the numbers, the URL of the store, and the
page that sets up OpenTelemetry.
"""

from __future__ import annotations

import sys
import typing as t

from flask import Flask
from flask import request
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager

from flask_logout import LogoutExtension
from flask_logout.config.value_types import Endpoint

from .pages import blocks

port, metrics_port, store_uri, page = sys.argv[1:]
app = Flask("measured")
endpoints: set[Endpoint] = {"logout", "refresh"}
app.config.update(
    JWT_SECRET_KEY=64 * "x",
    LOGOUT_STORE_URI=store_uri,
    LOGOUT_ENDPOINTS=endpoints,
    LOGOUT_ROTATION_GRACE=0,
    LOGOUT_MAX_STALENESS=0.1,
    LOGOUT_TIMEOUT=0.5,
)
setup, _ = blocks(page, "python")
exec(setup.replace("9464", metrics_port), {"app": app})
JWTManager(app)
logout = LogoutExtension(app)
with app.app_context():
    service = app.extensions["logout"]
    for store in service.stores():
        store.inspect().create()


@app.post("/login")
def login() -> dict[str, str]:
    return logout.start_session(request.get_json())._asdict()


@app.get("/me")
@jwt_required()
def me() -> str:
    return "me"


@app.post("/purge")
def purge() -> dict[str, t.Any]:
    """Delete everything, as if it had expired long ago."""
    from datetime import datetime
    from datetime import timezone

    future = datetime(2100, 1, 1, tzinfo=timezone.utc)
    return {"deleted": [x.purge(future, batch=1000) for x in service.stores()]}


@app.post("/stop")
def stop() -> str:
    """Lose the store."""
    with open(store_uri.removeprefix("sqlite:///"), "wb") as file:
        file.write(b"no database any more" * 1000)
    return "stopped"


if __name__ == "__main__":
    app.run(port=int(port), threaded=True)
