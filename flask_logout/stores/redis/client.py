"""Connections to Redis: a single server, a Cluster, or what Sentinels watch."""

from __future__ import annotations

import typing as t
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha1

from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as DeadConnectionError
from redis.exceptions import NoScriptError
from redis.exceptions import ResponseError

from ...exceptions import OutcomeUnknownError
from ...exceptions import StoreUnavailableError
from ..forking import OncePerProcess
from .connections import make_client
from .url import read_url

Command = tuple[t.Any, ...]


class Client:
    """The client of one worker: made when first needed, anew after a fork.

    :param uri: where Redis is, see :data:`.SCHEMES`.
    :param timeout: how long to wait for Redis.
    :raises ConfigError: the URL is invalid; the message says how to write it.
    """

    def __init__(self, uri: str, timeout: timedelta) -> None:
        self._address = read_url(uri)
        self.place = self._address.place
        self.is_cluster = self._address.kind == "cluster"
        # The client of a Cluster asks twice, and others for the new layout in between.
        self._seconds = timeout.total_seconds() / (4 if self.is_cluster else 1)
        self._client: t.Any = None
        self._ready = OncePerProcess(self._set_up)
        self._patience = timeout.total_seconds()

    def run(self, commands: t.Sequence[Command]) -> list[t.Any]:
        """Run commands in one round trip; in a Cluster, one to each node, in parallel.

        :param commands: 1 or more, each of which may be run twice.
        :returns: the answer of each.
        :raises StoreUnavailableError: Redis did not answer, or not as it should.
        """
        with self.explained():
            return _run(self._get(), commands)

    def fetch(self, names: t.Sequence[t.Sequence[bytes]]) -> list[list[bytes | None]]:
        """Fetch values as :meth:`run` does with MGET, at the least cost.

        :param names: names of keys, sorted by slot.
        :returns: the value under each name, ``None`` where there is none.
        :raises StoreUnavailableError: Redis did not answer, or not as it should.
        """
        if self.is_cluster:
            return self.run([("MGET", *slot) for slot in names])
        with self.explained():
            return [_fetch(self._get().connection_pool, slot) for slot in names]

    def run_script(
        self, script: str, keys: t.Sequence[bytes], arguments: t.Sequence[t.Any]
    ) -> t.Any:
        """Run a script, which the server may or may not know.

        :param script: what to run, in Lua; it may be run twice.
        :param keys: the names it works on, all in one slot.
        :param arguments: what else it takes.
        :returns: what it returned.
        :raises OutcomeUnknownError: Redis got the script and did not answer.
        :raises StoreUnavailableError: Redis cannot be reached, or refused the script.
        """
        digest = sha1(script.encode(), usedforsecurity=False).hexdigest()
        operands = (len(keys), *keys, *arguments)
        with self.explained():
            client = self._get()
            _reach(self._client_of(keys[0]))
        with self._writing():
            try:
                return client.execute_command("EVALSHA", digest, *operands)
            except NoScriptError:
                return client.execute_command("EVAL", script, *operands)

    def wait_for_replicas(
        self, names: t.Sequence[bytes], marker: bytes, replicas: int
    ) -> list[bytes | None]:
        """Wait until replicas have acknowledged what is stored under some names.

        :param names: the names, all in one slot.
        :param marker: a name in that slot that may be written.
        :param replicas: how many replicas have to acknowledge, 1 or more.
        :returns: the value under each name, ``None`` if there is none.
        :raises OutcomeUnknownError: too few have acknowledged, or Redis did not answer.
        """
        # The server has to answer before the socket gives up.
        milliseconds = max(1, round(800 * self._seconds))
        try:
            with self.explained():
                values, _, acknowledged = _run(
                    self._client_of(marker),
                    [
                        ("MGET", *names),
                        # WAIT is about what this very connection has written before.
                        ("SET", marker, b"", "PX", 1),
                        ("WAIT", replicas, milliseconds),
                    ],
                )
        except StoreUnavailableError as e:
            raise OutcomeUnknownError(str(e)) from e
        if acknowledged < replicas:
            raise OutcomeUnknownError(
                f"{self.place}: {acknowledged} of {replicas} replicas have acknowledged"
                " the write, so a failover may lose it"
            )
        return t.cast("list[bytes | None]", values)

    def names_of_nodes(self) -> list[str]:
        """List the servers that hold something: of a Cluster, its primaries.

        :returns: their names, in order.
        :raises StoreUnavailableError: no server of a Cluster answered.
        """
        if not self.is_cluster:
            return [self.place]
        with self.explained():
            return sorted(node.name for node in self._get().get_primaries())

    def run_on(self, name: str, commands: t.Sequence[Command]) -> list[t.Any]:
        """Run commands on one server, in one round trip.

        :param name: one of :meth:`names_of_nodes`.
        :param commands: 1 or more, each of which may be run twice.
        :returns: the answer of each.
        :raises StoreUnavailableError: the server did not answer, or not as it should.
        """
        with self.explained():
            client = self._get()
            if self.is_cluster:
                client = client.get_redis_connection(client.get_node(node_name=name))
            return _run(client, commands)

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        if self._ready.is_done:
            self._ready.reset()
            self._client.close()

    @contextmanager
    def explained(self) -> t.Iterator[None]:
        """Raise whatever goes wrong between us and Redis as one class of error.

        :raises StoreUnavailableError: something went wrong.
        """
        try:
            yield
        except StoreUnavailableError:
            raise
        # redis-py raises AttributeError and others if it can't parse an answer.
        except Exception as e:
            raise StoreUnavailableError(self._explain(e)) from e

    def _get(self) -> t.Any:
        self._ready(self._patience)
        return self._client

    def _set_up(self) -> None:
        self._client = make_client(self._address, self._seconds)

    def _client_of(self, name: bytes) -> t.Any:
        """Give the client of the server that has a name."""
        client = self._get()
        if not self.is_cluster:
            return client
        return client.get_redis_connection(client.get_node_from_key(name))

    @contextmanager
    def _writing(self) -> t.Iterator[None]:
        """Tell a write that was refused from one that was not acknowledged."""
        try:
            yield
        except (ResponseError, BusyLoadingError) as e:
            raise StoreUnavailableError(self._explain(e)) from e
        except Exception as e:
            raise OutcomeUnknownError(self._explain(e)) from e

    def _explain(self, error: Exception) -> str:
        """Say in one line what went wrong, without what was sent."""
        first_line = (str(error).splitlines() or [""])[0].partition(", with args")[0]
        return f"{self.place}: {type(error).__name__}: {first_line}"


def _reach(client: t.Any) -> None:
    """Connect, unless a connection is open, so that what fails later was sent."""
    pool = client.connection_pool
    pool.release(pool.get_connection())


def _run(client: t.Any, commands: t.Sequence[Command]) -> list[t.Any]:
    if len(commands) == 1:
        return [client.execute_command(*commands[0])]
    with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        # What it raises itself would repeat the command, with its keys.
        answers: list[t.Any] = pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _fetch(pool: t.Any, names: t.Sequence[bytes]) -> list[bytes | None]:
    """Do what the client does, but for its hooks, which cost as much as the rest."""
    try:
        return _fetch_once(pool, names)
    except DeadConnectionError:
        return _fetch_once(pool, names)


def _fetch_once(pool: t.Any, names: t.Sequence[bytes]) -> list[bytes | None]:
    connection = pool.get_connection()
    values: list[bytes | None] | None = None
    try:
        connection.send_command("MGET", *names)
        values = t.cast("list[bytes | None]", connection.read_response())
    finally:
        if values is None:
            # What was interrupted must not be answered to somebody else.
            connection.disconnect()
        pool.release(connection)
    return values
