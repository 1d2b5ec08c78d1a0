"""An app with login, refresh, logout and sessions, and a page to try them on.

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
from flask_jwt_extended import get_jwt
from flask_jwt_extended import get_jwt_identity
from flask_jwt_extended import jwt_required
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import OperationalError
from werkzeug.serving import make_server

from flask_logout import LogoutExtension

USERNAME, PASSWORD = "ada", "analytical-engine"

# DEMO ONLY. It is public, so anyone can sign tokens for this app. It is fixed, so that
# tokens stay valid after a restart, unless they are revoked. Create a secret for an app
# of your own with: python -c "import secrets; print(secrets.token_hex(32))"
DEMO_SECRET = "a public demo secret, never use it in an app of your own"

logout = LogoutExtension()
routes = Blueprint("example", __name__)


def create_app() -> Flask:
    """Create the app. Its SQLite file is in the folder ``instance`` beside this file."""
    instance = Path(__file__).resolve().parent / "instance"
    app = Flask(__name__, instance_path=str(instance))
    app.config["JWT_SECRET_KEY"] = os.environ.get("JWT_SECRET_KEY") or DEMO_SECRET
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///example.db"
    db = SQLAlchemy(app)
    JWTManager(app)
    app.config["LOGOUT_ENDPOINTS"] = {"logout", "logout_all", "sessions"}
    # DEMO ONLY. Without a grace period, the page shows at once that a refresh token was
    # used twice. Keep the default of 30 seconds in an app of your own.
    app.config["LOGOUT_ROTATION_GRACE"] = 0
    logout.init_app(app)  # adds the endpoints; every route rejects revoked tokens
    app.register_blueprint(routes)
    # If two workers start at once, the slower one fails because the table exists.
    with app.app_context(), suppress(OperationalError):
        db.create_all()
    return app


@routes.post("/auth/login")
def login() -> ResponseReturnValue:
    """Check the password, and start a session with an access and a refresh token."""
    match request.get_json(silent=True):
        case {"username": str(name), "password": str(word)} if _is_known(name, word):
            device = request.headers.get("X-Device")
            return logout.start_session(name, label=device)._asdict()
    return {"msg": "Wrong user name or password"}, 401


@routes.post("/auth/refresh")
@jwt_required(refresh=True)
def refresh() -> ResponseReturnValue:
    """Exchange the refresh token for a new pair of tokens."""
    return logout.refresh_session()._asdict()


@routes.post("/password")
@jwt_required()
def change_password() -> ResponseReturnValue:
    """End all other logins, as an app does when the password changes."""
    sid = get_jwt().get("sid")
    logout.revoke_user(get_jwt_identity(), keep_session=sid, reason="password changed")
    return {"msg": "All other logins have ended"}


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
  --soft: #5f5b54; --line: #8d8880; --blue: #1c59c4; --good: #14693a; --bad: #ad2a20 }
@media (prefers-color-scheme: dark) { :root { --paper: #161719; --card: #212327;
  --ink: #ecebe8; --soft: #b5b2ab; --line: #6d7078; --blue: #2f66d0; --good: #1d7a46;
  --bad: #b93a30 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 0 1rem 2rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif }
h1 { margin: 1rem 0 0; font-size: 1.5rem } h2 { margin: 1rem 0 .5rem; font-size: 1.1rem }
p { margin: .25rem 0 .5rem; color: var(--soft) }
.grid { display: grid; gap: 1rem; margin-bottom: 1rem }
.card { padding: 0 .75rem .75rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card) }
.card h2, h3 { display: flex; justify-content: space-between; align-items: center;
  margin: .6rem 0; font-size: 1rem }
.buttons { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem }
.buttons > :last-child:nth-child(odd) { grid-column: 1 / -1 }
button { min-height: 3rem; padding: .25rem .5rem; border: 0; border-radius: .5rem;
  background: var(--blue); color: #fff; font: inherit; font-weight: 600; cursor: pointer }
button:hover { filter: brightness(1.1) }
:focus-visible { outline: 3px solid var(--ink); outline-offset: 2px }
b { padding: 0 .6rem; border-radius: 1rem; background: #5f5b54; color: #fff }
b.good { background: var(--good) } b.bad { background: var(--bad) }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .75rem; margin: 0 0 .75rem }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
ul { margin: 0; padding: 0; list-style: none }
li { display: flex; justify-content: space-between; align-items: center; gap: .5rem;
  padding: .25rem 0; border-top: 1px solid var(--line); overflow-wrap: anywhere }
article { margin-bottom: .5rem }
pre { margin: 0; padding: .5rem 0; border-top: 1px solid var(--line); font-size: .85rem;
  white-space: pre-wrap; overflow-wrap: anywhere }
@media (min-width: 48rem) { .grid { grid-template-columns: 1fr 1fr; align-items: start } }
</style>
<h1>Flask-Logout</h1>
<p>Log in as {{ username }} on two devices, then end one login or all of them. The app
rejects the tokens of a login that has ended, also after you restart it.</p>
<p id="status" role="status">No request yet.</p>
<div class="grid" id="devices"></div>
<div class="grid">
<section class="card" aria-label="Sessions"><h2>Where {{ username }} is logged in</h2>
<ul id="sessions"><li>Nowhere yet.</li></ul></section>
<section class="card" aria-label="Stolen token"><h2>A stolen refresh token</h2>
<p>A thief copies the refresh token of the phone. Whoever of the two refreshes second is
noticed, and the session ends for both. This example has no grace period, so a second use
is noticed at once.</p>
<div class="buttons"><button id="steal">Copy the phone's token</button>
<button id="use">Refresh as the thief</button></div></section>
</div>
<section aria-label="Requests and responses"><h2>Requests, newest first</h2>
<div id="log"></div></section>
<script>
const user = {username: {{ username|tojson }}, password: {{ password|tojson }}};
const find = id => document.getElementById(id);
const tail = token => "…" + token.slice(-8);
const cut = text => text.replace(/eyJ[\w.-]{9,}/g, tail);
const decode = token => JSON.parse(atob(token.split(".")[1].replace(/-/g, "+")
  .replace(/_/g, "/")));
const thief = {};

function element(tag, text, ...children) {
  const made = document.createElement(tag);
  made.append(text, ...children);
  return made;
}

// Send a request, and show it. An expected rejection is shown as a success.
async function send(method, path, {token, body, device, expected = []} = {}) {
  const headers = {};
  if (token) headers.Authorization = "Bearer " + token;
  if (device) headers["X-Device"] = device;
  if (body) headers["Content-Type"] = "application/json";
  body = body && JSON.stringify(body);
  let status = 0, text = "";
  try {
    const response = await fetch(path, {method, headers, body});
    status = response.status;
    text = await response.text();
  } catch { text = "The server doesn't respond. Start it again: python example_app.py"; }
  const isExpected = status === 200 || expected.includes(status);
  const words = status === 0 ? "no response"
    : status === 200 ? "200" : status + (isExpected ? ", as expected" : "");
  const badge = element("b", words);
  badge.className = isExpected ? "good" : "bad";
  const lines = Object.entries(headers).map(([name, value]) => name + ": " + value);
  const entry = element("article", element("h3", method + " " + path, badge),
    element("pre", cut([...lines, body || ""].join("\n").trim() || "(no token)")),
    element("pre", cut(text)));
  entry.className = "card";
  find("log").prepend(entry);
  find("status").textContent = `${method} ${path}: ${words}`;
  let data = null;
  try { data = JSON.parse(text); } catch { /* not JSON */ }
  return {status, data};
}

class Device {
  constructor(name) {
    Object.assign(this, {name, tokens: null, state: "logged out"});
    this.badge = element("b", "");
    this.shown = {};
    const list = element("dl", "");
    for (const title of ["Session", "Access token", "Refresh token", "Expires in"]) {
      list.append(element("dt", title), this.shown[title] = element("dd", "–"));
    }
    const buttons = element("div", "");
    buttons.className = "buttons";
    for (const [label, act] of [["Log in", this.logIn], ["Call /me", this.callMe],
      ["Refresh", () => this.refreshOnce(this.tokens)], ["Log out", this.logOut],
      ["Log out everywhere else", () => this.logOutAll(true)],
      ["Log out everywhere", () => this.logOutAll(false)],
      ["Change password, keep me", this.changePassword]]) {
      const button = element("button", label);
      button.setAttribute("aria-label", `${name}: ${label}`);
      button.onclick = async () => { await act.call(this); await update(); };
      buttons.append(button);
    }
    const card = element("section", element("h2", name, this.badge), list, buttons);
    card.className = "card";
    card.setAttribute("aria-label", name);
    find("devices").append(card);
    this.show();
  }

  get access() { return this.tokens && this.tokens.access_token; }

  get rejected() { return ["active", "reused"].includes(this.state) ? [] : [401]; }

  async logIn() {
    const {status, data} = await send("POST", "/auth/login",
      {body: user, device: this.name});
    if (status === 200) Object.assign(this, {tokens: data, state: "active"});
  }

  async callMe() {
    await send("GET", "/me", {token: this.access, expected: this.rejected});
  }

  // One refresh at a time. A caller that waited gets the newest tokens.
  async refreshOnce(used) {
    return navigator.locks.request("refresh " + this.name, async () => {
      if (this.tokens !== used) return;
      for (const isRetry of [false, true]) {
        const {status, data} = await send("POST", "/auth/refresh", {
          token: used && used.refresh_token,
          expected: thief.used ? [401] : this.rejected,
        });
        if (status === 200) this.tokens = data;
        if (status === 401 && thief.used && this.name === "Phone") this.state = "reused";
        if (status !== 0 || isRetry) return;
      }
    });
  }

  async logOut() {
    const body = {refresh_token: this.tokens ? this.tokens.refresh_token : ""};
    await send("POST", "/auth/logout",
      {token: this.access, body, expected: this.rejected});
  }

  async logOutAll(keep_current) {
    await send("POST", "/auth/logout/all",
      {token: this.access, body: {keep_current}, expected: this.rejected});
  }

  async changePassword() {
    await send("POST", "/password", {token: this.access, expected: this.rejected});
  }

  // Ask without showing the request whether the tokens are still accepted.
  async check() {
    if (!this.tokens || this.state === "reused") return;
    const headers = {Authorization: "Bearer " + this.access};
    try {
      const {status} = await fetch("/me", {headers});
      this.state = status === 200 ? "active" : "revoked";
    } catch { /* the next request shows that the server doesn't respond */ }
  }

  show() {
    this.badge.textContent = this.state;
    this.badge.className = {active: "good", revoked: "bad", reused: "bad"}[this.state] || "";
    if (!this.tokens) return;
    const {sid} = decode(this.access), {refresh_token} = this.tokens;
    this.shown.Session.textContent = sid.slice(0, 8);
    this.shown["Access token"].textContent = tail(this.access);
    this.shown["Refresh token"].textContent =
      `${tail(refresh_token)}, generation ${decode(refresh_token).generation}`;
  }

  tick() {
    if (!this.tokens) return;
    const left = Math.max(0, Math.round(decode(this.access).exp - Date.now() / 1000));
    const seconds = String(left % 60).padStart(2, "0");
    this.shown["Expires in"].textContent = `${Math.floor(left / 60)}:${seconds}`;
  }
}

const devices = ["Phone", "Laptop"].map(name => new Device(name));

async function update() {
  for (const device of devices) await device.check();
  for (const device of devices) { device.show(); device.tick(); }
  const active = devices.find(device => device.state === "active");
  const items = [];
  if (active) {
    const headers = {Authorization: "Bearer " + active.access};
    try {
      const response = await fetch("/auth/sessions", {headers});
      for (const session of (await response.json()).data.sessions) {
        const button = element("button", "End");
        const name = `${session.label || "unnamed"}, ${session.id.slice(0, 8)}`;
        button.setAttribute("aria-label", `End ${name}`);
        button.onclick = async () => {
          await send("DELETE", "/auth/sessions/" + session.id, {token: active.access});
          await update();
        };
        items.push(element("li", name, button));
      }
    } catch { /* the next request shows that the server doesn't respond */ }
  }
  find("sessions").replaceChildren(...items.length ? items
    : [element("li", "Nowhere, or no device can tell.")]);
}

find("steal").onclick = () => {
  const [phone] = devices;
  Object.assign(thief, {token: phone.tokens && phone.tokens.refresh_token, used: false});
  find("status").textContent = thief.token
    ? `The thief has ${tail(thief.token)}.` : "Log in on the phone first.";
};
find("use").onclick = async () => {
  const [phone] = devices;
  const isSecond = phone.tokens && phone.tokens.refresh_token !== thief.token;
  const {status} = await send("POST", "/auth/refresh",
    {token: thief.token, expected: isSecond ? [401] : []});
  thief.used = Boolean(thief.token);
  if (status === 401 && isSecond) phone.state = "reused";
  await update();
};
setInterval(() => devices.forEach(device => device.tick()), 1000);
</script>
"""

if __name__ == "__main__":
    main()
