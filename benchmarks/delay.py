"""A TCP proxy that makes the network slow, in a process of its own.

It prints its port, then passes on what comes, each way half of the delay later. Loopback
only; it ends with its terminal or when it is terminated.
"""

from __future__ import annotations

import argparse
import asyncio
import selectors
import socket
import subprocess
import sys
import typing as t
from contextlib import contextmanager

from .databases import ended

_CHUNK = 1 << 16


@contextmanager
def delayed(port: int, delay_ms: float) -> t.Iterator[int]:
    """Lend a port on loopback behind which a server is so much farther away."""
    if not delay_ms:
        yield port
        return
    command = [sys.executable, "-m", "benchmarks.delay", str(port), str(delay_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with t.cast("t.IO[str]", process.stdout) as stdout, ended(process):
        yield int(stdout.readline())


async def _serve(to_port: int, delay: float) -> None:
    async def accept(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", to_port)
        for stream in (writer, back):
            _send_at_once(stream)
        await asyncio.gather(
            _pass_on(reader, back, delay), _pass_on(there, writer, delay)
        )

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _send_at_once(stream: asyncio.StreamWriter) -> None:
    connection = stream.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float
) -> None:
    """Pass one direction on: what came first is due first, so the order is kept."""
    loop = asyncio.get_running_loop()
    try:
        while chunk := await reader.read(_CHUNK):
            loop.call_later(delay, writer.write, chunk)
    except ConnectionError:
        pass
    loop.call_later(delay, writer.close)


def main() -> None:
    """Run the proxy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="the port of the server")
    parser.add_argument("delay_ms", type=float, help="added to each round trip")
    options = parser.parse_args()
    # The default selector counts in whole milliseconds, this one in microseconds.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    try:
        loop.run_until_complete(_serve(options.port, options.delay_ms / 2000))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
