"""Run commands with the clients of redis-py."""

from __future__ import annotations

import typing as t
from hashlib import sha1

from redis.exceptions import ConnectionError as DeadConnectionError
from redis.exceptions import NoScriptError
from redis.exceptions import ResponseError

Command = tuple[t.Any, ...]
Execute = t.Callable[..., t.Any]


def reach(client: t.Any) -> None:
    """Make sure that the pool of a client has a connection."""
    pool = client.connection_pool
    pool.release(pool.get_connection())


def run_all(client: t.Any, commands: t.Sequence[Command]) -> list[t.Any]:
    if len(commands) == 1:
        return [client.execute_command(*commands[0])]
    with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        # An error that the pipeline raises itself would contain the command.
        answers: list[t.Any] = pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def fetch(pool: t.Any, names: t.Sequence[bytes]) -> list[bytes | None]:
    """Run MGET without redis-py's hooks, which take half of the time."""
    try:
        return _fetch_once(pool, names)
    except DeadConnectionError:
        return _fetch_once(pool, names)


def _fetch_once(pool: t.Any, names: t.Sequence[bytes]) -> list[bytes | None]:
    return t.cast("list[bytes | None]", execute_once(pool, "MGET", *names))


def execute_once(pool: t.Any, *command: t.Any) -> t.Any:
    """Run a command without redis-py's hooks and without its retries.

    :param pool: the connections to the server.
    """
    connection = pool.get_connection()
    is_answered = False
    try:
        connection.send_command(*command)
        answer = connection.read_response()
        is_answered = True
        return answer
    except ResponseError:
        is_answered = True
        raise
    finally:
        if not is_answered:
            # Discard it: the next borrower would read the stale reply.
            connection.disconnect()
        pool.release(connection)


def evaluate(
    execute: Execute,
    script: str,
    keys: t.Sequence[bytes],
    arguments: t.Sequence[t.Any],
) -> t.Any:
    """Run a script, and load it if the server doesn't have it.

    :param execute: runs one command.
    """
    digest = sha1(script.encode(), usedforsecurity=False).hexdigest()
    operands = (len(keys), *keys, *arguments)
    try:
        return execute("EVALSHA", digest, *operands)
    except NoScriptError:
        return execute("EVAL", script, *operands)
