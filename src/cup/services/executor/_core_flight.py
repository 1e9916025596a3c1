"""A job that a foreign executor has, and what can be known of such executors."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from cup.services.threadpool import ThreadPool

if TYPE_CHECKING:
    from cup.services.threadpool._core_record import Sink

__all__ = ["Flight", "shares_memory", "workers_of"]


class Flight:
    """One job that a foreign executor has."""

    __slots__ = ("attempt", "call", "ended", "sink", "timeout")

    def __init__(
        self, call: tuple[Any, ...], sink: Sink, timeout: float | None
    ) -> None:
        self.call = call
        self.sink: Sink = sink
        self.timeout: float | None = timeout
        self.attempt: int = 1
        self.ended: list[None] = [None]  # whoever pops it tells the sink

    def end(self) -> bool:
        """Take the right to tell the sink; False if it was told."""
        try:
            self.ended.pop()
        except IndexError:
            return False
        return True


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
