"""An identity provider's keys, served over HTTP, and the logout tokens that it signs."""

from __future__ import annotations

import json
import threading
import time
import typing as t
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

EVENT = "http://schemas.openid.net/event/backchannel-logout"


@lru_cache
def make_key(number: int) -> rsa.RSAPrivateKey:
    """Make a key, which takes a while. All providers have the same keys."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def make_pem(number: int) -> str:
    """Return a private key in PEM format."""
    octets = make_key(number).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return octets.decode()


class Provider:
    """Signs logout tokens, and serves its keys."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.jwks_uri = f"{self.issuer}/jwks"
        self.fetches = 0
        self.reply: bytes | None = None
        """What is served instead of the keys."""
        self.status = 200
        self.delay = 0.0
        """Seconds before the response."""
        self.headers: dict[str, str] = {}
        self.keys: dict[str | None, rsa.RSAPrivateKey] = {}
        self.add_key("first")

    def add_key(self, kid: str | None) -> None:
        """Add a key, which signs from now on."""
        self.kid = kid
        self.keys[kid] = make_key(len(self.keys))

    def show_keys(self) -> bytes:
        """Return the public keys as JSON."""
        shown = []
        for kid, key in self.keys.items():
            found = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
            shown.append(found if kid is None else {**found, "kid": kid})
        return json.dumps({"keys": shown}).encode()

    def claims(self, **changes: t.Any) -> dict[str, t.Any]:
        """Return the claims of a logout token. A change to ``None`` removes one."""
        now = int(time.time())
        made = {
            "iss": self.issuer,
            "aud": "app",
            "iat": now,
            "exp": now + 120,
            "jti": uuid4().hex,
            "events": {EVENT: {}},
            **changes,
        }
        return {name: value for name, value in made.items() if value is not None}

    def sign(self, **changes: t.Any) -> str:
        """Make a logout token."""
        headers = {"typ": "logout+jwt"}
        if self.kid is not None:
            headers["kid"] = self.kid
        key = self.keys[self.kid]
        return jwt.encode(self.claims(**changes), key, "RS256", headers)


@contextmanager
def serving_keys() -> t.Iterator[Provider]:
    """Serve the keys of a provider."""
    provider: Provider

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.fetches += 1
            time.sleep(provider.delay)
            body = provider.show_keys() if provider.reply is None else provider.reply
            self.send_response(provider.status)
            for name, value in provider.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                pass  # the client has read enough

        def log_message(self, *_: t.Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider = Provider(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
