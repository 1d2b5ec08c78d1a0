"""Run commands on Redis: on a single server, a Cluster, or behind Sentinels."""

from __future__ import annotations

import typing as t
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from redis.exceptions import BusyLoadingError
from redis.exceptions import ClusterError
from redis.exceptions import ResponseError

from ...exceptions import OutcomeUnknownError
from ...exceptions import StoreUnavailableError
from ..fork_safety import OncePerProcess
from .commands import Command
from .commands import evaluate
from .commands import execute_once
from .commands import fetch
from .commands import reach
from .commands import run_all
from .connections import make_client
from .url import read_url


class Client:
    """Runs commands on Redis. Connects when first used, and again after a fork.

    :param uri: a URL with one of :data:`.SCHEMES`.
    :param timeout: how long to wait for Redis.
    :raises ConfigError: the URL is invalid.
    """

    def __init__(self, uri: str, timeout: timedelta) -> None:
        self._address = read_url(uri)
        self.place = self._address.place
        self.is_cluster = self._address.kind == "cluster"
        # The client of a Cluster retries once, and asks for the new layout in between.
        self._seconds = timeout.total_seconds() / (4 if self.is_cluster else 1)
        self._client: t.Any = None
        self._ready = OncePerProcess(self._set_up)
        self.timeout = timeout

    def run(self, commands: t.Sequence[Command]) -> list[t.Any]:
        """Run commands in one round trip. In a Cluster, each node gets one, in parallel.

        :param commands: 1 or more idempotent commands. They may be retried.
        :returns: the reply to each command.
        :raises StoreUnavailableError: Redis didn't reply, or replied with an error.
        """
        with self.explained():
            return run_all(self._get(), commands)

    def fetch(self, names: t.Sequence[t.Sequence[bytes]]) -> list[list[bytes | None]]:
        """Fetch values with MGET, at a lower cost than :meth:`run`.

        :param names: for each slot, the names of keys.
        :returns: for each slot, the value under each name, or ``None``.
        :raises StoreUnavailableError: Redis didn't reply, or replied with an error.
        """
        if self.is_cluster:
            return self.run([("MGET", *slot) for slot in names])
        with self.explained():
            return [fetch(self._get().connection_pool, slot) for slot in names]

    def run_script(
        self, script: str, keys: t.Sequence[bytes], arguments: t.Sequence[t.Any]
    ) -> t.Any:
        """Run a script that writes, and load it if the server doesn't have it.

        :param script: an idempotent script, in Lua. It may be retried.
        :param keys: the names of the keys that it uses, all in one slot.
        :param arguments: the other arguments.
        :returns: the return value of the script.
        :raises OutcomeUnknownError: the script was sent, but Redis didn't reply.
        :raises StoreUnavailableError: Redis can't be reached, or rejected the script.
        """
        client = self._get_for(keys[0])
        with self._writing():
            return evaluate(client.execute_command, script, keys, arguments)

    def run_script_once(
        self, script: str, keys: t.Sequence[bytes], arguments: t.Sequence[t.Any]
    ) -> t.Any:
        """Run a script that must not be retried if Redis may have run it.

        :param script: a script, in Lua.
        :param keys: the names of the keys that it uses, all in one slot.
        :param arguments: the other arguments.
        :returns: the return value of the script.
        :raises OutcomeUnknownError: the script was sent, but Redis didn't reply.
        :raises StoreUnavailableError: Redis can't be reached, or rejected the script.
        """
        client = self._get_for(keys[0])
        if self.is_cluster:
            # redis-py follows redirections, but it doesn't retry if it is given a node.
            node = client.get_node_from_key(keys[0])
            execute = partial(client.execute_command, target_nodes=node)
        else:
            execute = partial(execute_once, client.connection_pool)
        with self._writing():
            return evaluate(execute, script, keys, arguments)

    def query_script(
        self, script: str, keys: t.Sequence[bytes], arguments: t.Sequence[t.Any]
    ) -> t.Any:
        """Run a script whose writes don't matter to the caller.

        :param script: an idempotent script, in Lua. It may be retried.
        :param keys: the names of the keys that it uses, all in one slot.
        :param arguments: the other arguments.
        :returns: the return value of the script.
        :raises StoreUnavailableError: Redis didn't reply, or replied with an error.
        """
        with self.explained():
            return evaluate(self._get().execute_command, script, keys, arguments)

    def wait_for_replicas(
        self, names: t.Sequence[bytes], marker: bytes, replicas: int
    ) -> list[bytes | None]:
        """Wait until replicas have acknowledged the values of keys.

        :param names: the names of the keys, all in one slot.
        :param marker: the name of an unused key in that slot, which is written.
        :param replicas: the number of replicas to wait for, 1 or more.
        :returns: the value under each name, or ``None``.
        :raises OutcomeUnknownError: too few replicas acknowledged, or Redis didn't reply.
        """
        # Shorter than the socket's timeout, so that the reply arrives in time.
        milliseconds = max(1, round(800 * self._seconds))
        try:
            with self.explained():
                values, _, acknowledged = run_all(
                    self._client_of(marker),
                    [
                        ("MGET", *names),
                        # WAIT covers only earlier writes of the same connection.
                        ("SET", marker, b"", "PX", 1),
                        ("WAIT", replicas, milliseconds),
                    ],
                )
        except StoreUnavailableError as e:
            raise OutcomeUnknownError(str(e)) from e
        if acknowledged < replicas:
            raise OutcomeUnknownError(
                f"{self.place}: {acknowledged} of {replicas} replicas have acknowledged"
                " the write, so a failover can lose it"
            )
        return t.cast("list[bytes | None]", values)

    def names_of_nodes(self) -> list[str]:
        """List the names of the servers that store keys. In a Cluster, the primaries.

        :raises StoreUnavailableError: no server of a Cluster replied.
        """
        if not self.is_cluster:
            return [self.place]
        with self.explained():
            return sorted(node.name for node in self._get().get_primaries())

    def run_on(self, name: str, commands: t.Sequence[Command]) -> list[t.Any]:
        """Run commands on one server, in one round trip.

        :param name: one of :meth:`names_of_nodes`.
        :param commands: 1 or more idempotent commands. They may be retried.
        :returns: the reply to each command.
        :raises StoreUnavailableError: the server didn't reply, or replied with an error.
        """
        with self.explained():
            client = self._get()
            if self.is_cluster:
                client = client.get_redis_connection(client.get_node(node_name=name))
            return run_all(client, commands)

    def close(self) -> None:
        """Close every connection. The next use opens new ones."""
        if self._ready.is_done:
            self._ready.reset()
            self._client.close()

    @contextmanager
    def explained(self) -> t.Iterator[None]:
        """Turn every error of redis-py into :exc:`.StoreUnavailableError`."""
        try:
            yield
        except StoreUnavailableError:
            raise
        # redis-py raises AttributeError and others if it can't parse a reply.
        except Exception as e:
            raise StoreUnavailableError(self._explain(e)) from e

    def _get(self) -> t.Any:
        self._ready(self.timeout.total_seconds())
        return self._client

    def _set_up(self) -> None:
        self._client = make_client(self._address, self._seconds)

    def _get_for(self, name: bytes) -> t.Any:
        """Return the client, which is connected to the server of a key."""
        with self.explained():
            # So a later failure means that the command was sent.
            reach(self._client_of(name))
            return self._get()

    def _client_of(self, name: bytes) -> t.Any:
        client = self._get()
        if not self.is_cluster:
            return client
        return client.get_redis_connection(client.get_node_from_key(name))

    @contextmanager
    def _writing(self) -> t.Iterator[None]:
        """Distinguish a write that was rejected from one that wasn't acknowledged."""
        try:
            yield
        except (ResponseError, BusyLoadingError, ClusterError) as e:
            # ClusterError means that every server has redirected the command.
            raise StoreUnavailableError(self._explain(e)) from e
        except Exception as e:
            raise OutcomeUnknownError(self._explain(e)) from e

    def _explain(self, error: Exception) -> str:
        # The message of an error must not contain the arguments of the command.
        first_line = (str(error).splitlines() or [""])[0].partition(", with args")[0]
        return f"{self.place}: {type(error).__name__}: {first_line}"
