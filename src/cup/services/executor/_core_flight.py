"""A job that a foreign executor has, and what can be known of such executors."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from cup.errors import QueueTimeout, RunTimeout
from cup.services.threadpool import ThreadPool

if TYPE_CHECKING:
    from collections import deque

    from cup.services.threadpool._core_record import Sink

__all__ = [
    "Flight",
    "late_in_queue",
    "late_in_run",
    "shares_memory",
    "workers_of",
]


class Flight:
    """One job that a foreign executor has.

    Attributes:
        slots: Where its place goes back to; those of its executor, which may break.
    """

    __slots__ = ("attempt", "call", "ended", "sink", "slots", "timeout")

    def __init__(
        self,
        call: tuple[Any, ...],
        sink: Sink,
        timeout: float | None,
        slots: deque[None],
    ) -> None:
        self.call = call
        self.sink: Sink = sink
        self.timeout: float | None = timeout
        self.slots: deque[None] = slots
        self.attempt: int = 1
        self.ended: list[None] = [None]  # whoever pops it tells the sink

    def end(self) -> bool:
        """Take the right to tell the sink; False if it was told."""
        try:
            self.ended.pop()
        except IndexError:
            return False
        return True


def late_in_queue(name: str, timeout: float) -> QueueTimeout:
    """Return the error of a job that was not handed over in time."""
    return QueueTimeout(
        f"the job was not started within its queue_timeout of {timeout} s; the backend "
        f"of executor {name!r} is too busy",
        timeout=timeout,
    )


def late_in_run(timeout: float | None) -> RunTimeout:
    """Return the error of a job that the executor has for too long."""
    return RunTimeout(
        f"the job has not ended within its run_timeout of {timeout} s; nothing reaches "
        "into a foreign worker: it goes on, and its result will be dropped",
        timeout=timeout,
    )


def shares_memory(executor: Executor | None) -> bool:
    """Tell whether jobs run in this process: then nothing has to be pickled.

    An executor may say so itself, by an attribute `shares_memory`.
    """
    if isinstance(executor, ThreadPoolExecutor | ThreadPool):
        return True

    return bool(getattr(executor, "shares_memory", False))


def workers_of(executor: Executor) -> int:
    """Return how many jobs an executor runs at once, as far as it can be known."""
    for name in ("_max_workers", "num_workers"):
        number = getattr(executor, name, None)
        if isinstance(number, int) and number > 0:
            return number

    client = getattr(executor, "_client", None)
    if client is not None:  # Dask
        cores: int = sum(client.ncores().values())
        return max(1, cores)
    return os.cpu_count() or 1
