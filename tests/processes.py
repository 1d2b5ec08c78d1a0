"""Do work in forked processes."""

from __future__ import annotations

import os
import traceback
import typing as t

import pytest

# Python 3.12 warns about fork() if another thread is running, such as that of a proxy.
may_fork = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

T = t.TypeVar("T")


def in_processes(work: t.Callable[[T], object], shares: t.Iterable[T]) -> list[int]:
    """Do each share of the work in a forked process, and return the exit codes."""
    children = []
    for share in shares:
        child = os.fork()
        if child == 0:  # pragma: no cover
            code = 1
            try:
                work(share)
                code = 0
            except BaseException:  # noqa: B036  the exit code reports it
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(x, 0)[1]) for x in children]
