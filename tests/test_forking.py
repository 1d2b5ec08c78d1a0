"""One-time setup in each process."""

from __future__ import annotations

import time
from threading import Thread

import pytest

from flask_logout.stores.fork_safety import OncePerProcess


def test_a_thread_that_waited_does_not_set_up_again() -> None:
    calls: list[int] = []

    def set_up() -> None:
        calls.append(1)
        # The other thread now waits for the lock.
        second.start()
        time.sleep(0.2)

    once = OncePerProcess(set_up)
    second = Thread(target=once)
    once()
    second.join()
    assert calls == [1]


def test_a_thread_waits_no_longer_than_the_timeout() -> None:
    errors: list[str] = []

    def wait() -> None:
        with pytest.raises(TimeoutError) as caught:
            once(0.01)
        errors.append(str(caught.value))

    def set_up() -> None:
        waiting = Thread(target=wait)
        waiting.start()
        waiting.join()

    once = OncePerProcess(set_up)
    once()
    assert errors == ["another thread is still connecting"]
