"""Threads that start together."""

from __future__ import annotations

import typing as t
from threading import Barrier
from threading import Thread


def run_at_once(works: t.Sequence[t.Callable[[], object]]) -> None:
    """Run each function in a thread, and start all of them at the same moment."""
    barrier = Barrier(len(works))

    def run(work: t.Callable[[], object]) -> None:
        barrier.wait()
        work()

    threads = [Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
