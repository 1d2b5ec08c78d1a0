"""An app with login, refresh and logout, and a page to try them on.

Start it with ``python example_app.py`` or with any WSGI server as ``example_app:app``.
"""

from __future__ import annotations

import argparse
import hmac
import os
from contextlib import suppress
from pathlib import Path

from flask import Blueprint
from flask import Flask
from flask import render_template_string
from flask import request
from flask.typing import ResponseReturnValue
from flask_jwt_extended import create_access_token
from flask_jwt_extended import create_refresh_token
from flask_jwt_extended import get_jwt
from flask_jwt_extended import get_jwt_identity
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import OperationalError
from werkzeug.serving import make_server

from flask_logout import LogoutExtension
from flask_logout import session_claims

USERNAME, PASSWORD = "ada", "analytical-engine"

# DEMO ONLY. It is public, so anyone can sign tokens for this app. It is fixed, so that
# tokens stay valid after a restart, unless they are revoked. Create a secret for an app
# of your own with: python -c "import secrets; print(secrets.token_hex(32))"
DEMO_SECRET = "a public demo secret, never use it in an app of your own"

routes = Blueprint("example", __name__)


def create_app() -> Flask:
    """Create the app. Its SQLite file is in the folder ``instance`` beside this file."""
    instance = Path(__file__).resolve().parent / "instance"
    app = Flask(__name__, instance_path=str(instance))
    app.config["JWT_SECRET_KEY"] = os.environ.get("JWT_SECRET_KEY") or DEMO_SECRET
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///example.db"
    db = SQLAlchemy(app)
    JWTManager(app)
    LogoutExtension(app)  # adds POST /auth/logout; every route rejects revoked tokens
    app.register_blueprint(routes)
    # If two workers start at once, the slower one fails because the table exists.
    with app.app_context(), suppress(OperationalError):
        db.create_all()
    return app


@routes.post("/auth/login")
def login() -> ResponseReturnValue:
    """Check the password, and issue an access token and a refresh token."""
    match request.get_json(silent=True):
        case {"username": str(name), "password": str(word)} if _is_known(name, word):
            claims = session_claims()  # both tokens belong to this login
            return {
                "access_token": create_access_token(name, additional_claims=claims),
                "refresh_token": create_refresh_token(name, additional_claims=claims),
            }
    return {"msg": "Wrong user name or password"}, 401


@routes.post("/auth/refresh")
@jwt_required(refresh=True)
def refresh() -> ResponseReturnValue:
    """Issue another access token for the same login."""
    claims = session_claims(get_jwt())
    token = create_access_token(get_jwt_identity(), additional_claims=claims)
    return {"access_token": token}


@routes.get("/me")
@jwt_required()
def me() -> ResponseReturnValue:
    """Return the user whom the access token names."""
    return {"identity": get_jwt_identity()}


@routes.get("/")
def page() -> str:
    """Return a page with a button for each request."""
    return render_template_string(PAGE, username=USERNAME, password=PASSWORD)


def _is_known(username: str, password: str) -> bool:
    # Compare both at once, so that the time doesn't show which of them is wrong.
    given, known = f"{username}\n{password}", f"{USERNAME}\n{PASSWORD}"
    return hmac.compare_digest(given.encode(errors="replace"), known.encode())


app = create_app()


def main() -> None:
    """Serve the app on this machine only. This server is not for production."""
    parser = argparse.ArgumentParser(description="The Flask-Logout example.")
    parser.add_argument("--port", type=int, default=5000, help="default: 5000")
    port = parser.parse_args().port
    if not 0 <= port < 1 << 16:
        parser.error(f"invalid port: {port}")
    try:
        server = make_server("127.0.0.1", port, app, threaded=True)
    except SystemExit:  # werkzeug has printed the reason
        raise SystemExit(f"Try: python example_app.py --port {port + 1}") from None
    url = f"http://127.0.0.1:{server.port}"
    print(f"Open {url} in a browser, or paste these commands into another shell:")
    print(TOUR.replace("http://127.0.0.1:5000", url), flush=True)
    server.serve_forever()


TOUR = r"""
URL=http://127.0.0.1:5000
LOGIN=$(curl --silent --request POST $URL/auth/login \
  --header "Content-Type: application/json" \
  --data '{"username":"ada","password":"analytical-engine"}')
ACCESS_TOKEN=$(cut -d '"' -f 4 <<< "$LOGIN")
REFRESH_TOKEN=$(cut -d '"' -f 8 <<< "$LOGIN")

curl $URL/me --header "Authorization: Bearer $ACCESS_TOKEN"
# {"identity":"ada"}
curl --request POST $URL/auth/logout --header "Authorization: Bearer $ACCESS_TOKEN" \
  --header "Content-Type: application/json" \
  --data "{\"refresh_token\":\"$REFRESH_TOKEN\"}"; echo
# {"code":200,"message":"logout successful","data":{}}
curl $URL/me --header "Authorization: Bearer $ACCESS_TOKEN"
# {"msg":"Token has been revoked"}
curl --request POST $URL/auth/refresh --header "Authorization: Bearer $REFRESH_TOKEN"
# {"msg":"Token has been revoked"}
"""

PAGE = r"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Flask-Logout</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --paper: #f5f4f0; --card: #fff; --ink: #1d1c1a;
  --soft: #5f5b54; --line: #dad6cd; --blue: #1c59c4; --good: #14693a; --bad: #ad2a20 }
@media (prefers-color-scheme: dark) { :root { --paper: #161719; --card: #212327;
  --ink: #ecebe8; --soft: #a9a69f; --line: #3a3d43; --blue: #3a72dd; --good: #1d7a46;
  --bad: #b93a30 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 68rem; padding: 0 1rem 2rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
h1 { margin: 1rem 0 0; font-size: 1.5rem } h2 { font-size: 1rem; margin: 1rem 0 .5rem }
p { margin: .25rem 0 .5rem; color: var(--soft) }
nav { position: sticky; top: 0; display: grid; grid-template-columns: 1fr 1fr; gap: .5rem;
  padding: .5rem 0; background: var(--paper) }
button { min-height: 3rem; border: 0; border-radius: .5rem; background: var(--blue);
  color: #fff; font: inherit; font-weight: 600; cursor: pointer }
button:hover { filter: brightness(1.1) }
:focus-visible { outline: 3px solid var(--ink); outline-offset: 2px }
details, article { margin-bottom: .5rem; padding: 0 .75rem; border: 1px solid var(--line);
  border-radius: .5rem; background: var(--card) }
summary { padding: .6rem 0; font-weight: 600; cursor: pointer }
h3 { display: flex; justify-content: space-between; margin: .6rem 0; font-size: 1rem }
h3 b { padding: 0 .6rem; border-radius: 1rem; background: var(--bad); color: #fff }
h3 b.good { background: var(--good) }
pre { margin: 0; padding: .5rem 0; border-top: 1px solid var(--line); font-size: .85rem;
  white-space: pre-wrap; overflow-wrap: anywhere }
@media (min-width: 48rem) { nav { grid-template-columns: repeat(4, 1fr) }
  main { display: grid; grid-template-columns: 3fr 2fr; gap: 1rem; align-items: start }
  main > :first-child { order: 1 } }
</style>
<h1>Flask-Logout</h1>
<p>Log in as {{ username }}, call /me, then log out. The app then rejects both
tokens, also after you restart it.</p>
<nav aria-label="Requests">
<button id="login">Log in</button><button id="me">Call /me</button>
<button id="refresh">Refresh</button><button id="logout">Log out</button>
</nav>
<p id="status" role="status">No request yet.</p>
<main>
<section aria-label="Tokens"><h2>Tokens</h2>
<details><summary>Access token</summary><pre id="access">none yet</pre></details>
<details><summary>Refresh token</summary><pre id="renewal">none yet</pre></details>
</section>
<section aria-label="Requests and responses"><h2>Requests, newest first</h2>
<div id="log"></div></section>
</main>
<script>
const tokens = {}, find = id => document.getElementById(id);
const cut = text => text.replace(/eyJ[\w.-]{9,}/g, token => token.slice(0, 9) + "…");
const decode = token => token.split(".").slice(0, 2).map((part, index) => {
  const claims = JSON.parse(atob(part.replace(/-/g, "+").replace(/_/g, "/")));
  return ["Header ", "Payload "][index] + JSON.stringify(claims, null, 2);
}).join("\n");

function element(tag, text, ...children) {
  const made = document.createElement(tag);
  made.append(text, ...children);
  return made;
}

async function send(method, path, token, body) {
  const headers = {};
  if (token) headers.Authorization = "Bearer " + token;
  if (body) headers["Content-Type"] = "application/json";
  body = body && JSON.stringify(body);
  let status = "no response", answer = "";
  try {
    const response = await fetch(path, {method, headers, body});
    status = response.status;
    answer = await response.text();
  } catch (error) { answer = String(error); }
  const lines = Object.entries(headers).map(([name, value]) => name + ": " + value);
  const badge = element("b", String(status));
  badge.classList.toggle("good", status === 200);
  find("log").prepend(element("article", element("h3", method + " " + path, badge),
    element("pre", cut([...lines, body || ""].join("\n").trim() || "(no token)")),
    element("pre", cut(answer))));
  const isLogout = path === "/auth/logout" && status === 200;
  const hint = isLogout ? ". Try the old tokens again." : "";
  find("status").textContent = method + " " + path + ": " + status + hint;
  if (status === 200) keep(JSON.parse(answer));
}

// Keep the tokens after a logout, to show that the app rejects them.
function keep({access_token, refresh_token}) {
  tokens.access = access_token || tokens.access;
  tokens.refresh = refresh_token || tokens.refresh;
  if (access_token) find("access").textContent = decode(access_token);
  if (refresh_token) find("renewal").textContent = decode(refresh_token);
}

const user = {username: {{ username|tojson }}, password: {{ password|tojson }}};
find("login").onclick = () => send("POST", "/auth/login", null, user);
find("me").onclick = () => send("GET", "/me", tokens.access);
find("refresh").onclick = () => send("POST", "/auth/refresh", tokens.refresh);
find("logout").onclick = () =>
  send("POST", "/auth/logout", tokens.access, {refresh_token: tokens.refresh});
document.querySelectorAll("details").forEach(
  each => each.open = matchMedia("(min-width: 48rem)").matches);
</script>
"""

if __name__ == "__main__":
    main()
