"""What is new in Redis, read without a gap: all that is live, then the streams."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import replace

from .. import Page
from .client import Client
from .records import Names

PAGE = 5000
"""How many keys, or entries of a stream, a page has, about."""

Entry = tuple[bytes, dict[bytes, bytes]]
"""An entry of a stream: its id, and the keys that it names, each with nothing."""

_NOTHING: Entry = (b"0-1", {b"": b""})
"""The entry that every stream begins with, and that names nothing."""


@dataclass(frozen=True)
class _Scan:
    """How far all that is live has been read."""

    nodes: t.Sequence[str]
    """The servers that are left, the present one first."""

    position: int = 0
    """The server's own cursor."""

    run: str | None = None
    """Which start of the server gave the cursor: it means nothing to another."""


@dataclass(frozen=True)
class _Cursor:
    """What a reader has seen."""

    seen: t.Sequence[Entry]
    """The last entry of each stream; those after it are still to be read."""

    scan: _Scan | None = None
    """What is to be read before; ``None``: nothing."""


class Changes:
    """Reads page by page what was kept.

    :param client: the client.
    :param names: the names of the app's keys.
    :param streams: the names of the streams, each entry of which names keys.
    """

    def __init__(
        self, client: Client, names: Names, streams: t.Sequence[bytes]
    ) -> None:
        self._client = client
        self._names = names
        self._streams = streams

    def read(self, cursor: object | None) -> Page:
        """See :meth:`.Store.changes`. The total is estimated from the first page.

        :param cursor: the cursor of the page before; ``None``: from the beginning.
        :returns: the page.
        :raises StoreUnavailableError: Redis did not answer, or not as it should.
        """
        with self._client.explained():
            return self._read(t.cast("_Cursor | None", cursor))

    def _read(self, at: _Cursor | None) -> Page:
        if at is None:
            return self._start()
        if at.scan is None:
            return self._read_streams(at.seen)
        if at.scan.nodes[0] not in self._client.names_of_nodes():
            return self._start()
        return self._scan(at.seen, at.scan) or self._start()

    def _start(self) -> Page:
        # Before anything else is read: what comes meanwhile is in the streams.
        ends = self._client.run(
            [("XREVRANGE", name, "+", "-", "COUNT", 1) for name in self._streams]
        )
        seen = [entries[0] if entries else _NOTHING for entries in ends]
        nodes = self._client.names_of_nodes()
        page = t.cast(Page, self._scan(seen, _Scan(nodes)))
        return replace(page, total=self._estimate(nodes, page))

    def _scan(self, seen: t.Sequence[Entry], scan: _Scan) -> Page | None:
        """Read a page of what is live; nothing where the server has started anew."""
        command = ("SCAN", scan.position, "MATCH", self._names.pattern, "COUNT", PAGE)
        answers = self._client.run_on(scan.nodes[0], [command, ("INFO", "server")])
        (position, names), info = answers
        if scan.run not in (None, info["run_id"]):
            return None
        keys = [key for key in map(self._names.key_in, names) if key is not None]
        rest = _Scan(scan.nodes, position, info["run_id"])
        if not position:
            rest = _Scan(scan.nodes[1:])
        return Page(keys, _Cursor(seen, rest if rest.nodes else None), has_more=True)

    def _estimate(self, nodes: t.Sequence[str], first: Page) -> int:
        """Take our share of the keys on the first page for our share of all keys."""
        count = len(first.keys)
        if t.cast(_Cursor, first.cursor).scan is None:
            return count
        sizes = [self._client.run_on(node, [("DBSIZE",)])[0] for node in nodes]
        return max(count, int(sum(sizes) * min(1, count / PAGE)))

    def _read_streams(self, seen: t.Sequence[Entry]) -> Page:
        answers = self._client.run(
            [
                ("XRANGE", name, last, "+", "COUNT", PAGE + 1)
                for name, (last, _) in zip(self._streams, seen, strict=True)
            ]
        )
        firsts = [entries[0] if entries else _NOTHING for entries in answers]
        if firsts != seen:
            # Where the last entry is gone, so may be some that came after it. A stream
            # that was emptied may have given its id again within the millisecond.
            return self._start()
        keys = [
            key for entries in answers for _, fields in entries[1:] for key in fields
        ]
        lasts = [entries[-1] if entries else _NOTHING for entries in answers]
        has_more = any(len(entries) > PAGE for entries in answers)
        return Page(keys, _Cursor(lasts), has_more)
