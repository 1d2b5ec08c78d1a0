"""Read the keys in Redis page by page for an in-memory mirror, without a gap.

First a scan reads all keys, then the streams of changes are read.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from dataclasses import replace

from .. import Page
from .client import Client
from .records import Names

PAGE = 5000
"""The approximate number of keys, or of entries of a stream, on a page."""

Entry = tuple[bytes, dict[bytes, bytes]]
"""An entry of a stream: its id, and a mapping of revocation keys to empty values."""

_NOTHING: Entry = (b"0-1", {b"": b""})
"""The first entry of every stream, which contains no key."""


@dataclass(frozen=True)
class _Scan:
    """The progress of a scan of all keys."""

    nodes: t.Sequence[str]
    """The servers that still have to be scanned, the current one first."""

    position: int = 0
    """The cursor that the server returned."""

    run: str | None = None
    """The id of the server's process that returned the cursor. It is invalid after a
    restart."""


@dataclass(frozen=True)
class _Cursor:
    """The progress of a reader."""

    seen: t.Sequence[Entry]
    """The last entry of each stream that the reader has read."""

    scan: _Scan | None = None
    """The scan to finish before reading the streams, if any."""


class Changes:
    """Reads the keys of all revocations, page by page.

    :param names: the names of the app's keys.
    :param streams: the names of the streams of changes.
    """

    def __init__(
        self, client: Client, names: Names, streams: t.Sequence[bytes]
    ) -> None:
        self._client = client
        self._names = names
        self._streams = streams

    def read(self, cursor: object | None) -> Page:
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
        # Before the scan, because keys that are added during it are in the streams.
        ends = self._client.run(
            [("XREVRANGE", name, "+", "-", "COUNT", 1) for name in self._streams]
        )
        seen = [entries[0] if entries else _NOTHING for entries in ends]
        nodes = self._client.names_of_nodes()
        page = t.cast(Page, self._scan(seen, _Scan(nodes)))
        return replace(page, total=self._estimate(nodes, page))

    def _scan(self, seen: t.Sequence[Entry], scan: _Scan) -> Page | None:
        """Scan a page of keys. Return ``None`` if the server has restarted."""
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
        """Estimate the number of revocations from their share of the first page."""
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
            # If the last entry is gone, later ones may be gone too. Compare its keys as
            # well, because a stream that was deleted can reuse an id within a millisecond.
            return self._start()
        keys = [
            key for entries in answers for _, fields in entries[1:] for key in fields
        ]
        lasts = [entries[-1] if entries else _NOTHING for entries in answers]
        has_more = any(len(entries) > PAGE for entries in answers)
        return Page(keys, _Cursor(lasts), has_more)
