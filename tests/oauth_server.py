"""A revocation endpoint that fails as a test wants it to."""

from __future__ import annotations

import json
import threading
import typing as t
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs

Reply = tuple[int, dict[str, str], bytes]


class Server:
    """What the endpoint receives, and how it replies."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[tuple[str, dict[str, str], dict[str, list[str]]]] = []
        self.replies: dict[str, Reply] = {"/revoke": (200, {}, b"")}
        self.breaks = 0
        """How many connections are closed without a response."""
        self.delay = 0.0
        """Seconds before each byte of a response."""
        self.is_over = threading.Event()

    def show_metadata(self, path: str, **metadata: t.Any) -> None:
        """Serve metadata of an issuer."""
        known = {"issuer": self.url, "revocation_endpoint": f"{self.url}/revoke"}
        body = json.dumps({**known, **metadata}).encode()
        self.replies[path] = (200, {}, body)

    def paths(self) -> list[str]:
        """Return the paths of all requests."""
        return [path for path, _, _ in self.requests]


@contextmanager
def serving_oauth() -> t.Iterator[Server]:
    """Serve the endpoint."""
    server: Server

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            form = parse_qs(self.rfile.read(size).decode())
            server.requests.append((self.path, dict(self.headers), form))
            if server.breaks:
                server.breaks -= 1
                self.close_connection = True
                return
            status, headers, body = server.replies.get(self.path, (404, {}, b""))
            lines = [f"HTTP/1.1 {status} OK", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            octets = "\r\n".join([*lines, "", ""]).encode() + body
            try:
                if not server.delay:
                    self.wfile.write(octets)
                    return
                for octet in octets:
                    if server.is_over.wait(server.delay):
                        return
                    self.wfile.write(bytes([octet]))
            except OSError:
                pass  # the client has given up

        def log_message(self, *_: t.Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        server = Server(f"http://127.0.0.1:{listener.server_address[1]}")
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.is_over.set()
            listener.shutdown()
            thread.join()
