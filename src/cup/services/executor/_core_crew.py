"""A crew of threads: one group of workers of an executor, which is a thread pool.

Its pool owns urgency, ageing, time limits and interruption. Not here: crews that run
jobs elsewhere (`_core_foreign`, `aio_crew`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cup.services.threadpool._core_limits import limit
from cup.services.threadpool.api import Limits

from ._core_lane import Counts

if TYPE_CHECKING:
    from cup._core.interrupt import Interrupt
    from cup.services.threadpool import ThreadPool
    from cup.services.threadpool._core_record import Record, Sink

    from .api_values import JobOptions

__all__ = ["PoolCrew"]


class PoolCrew:
    """The workers of one group."""

    __slots__ = ("_core", "pool")

    is_local = True

    def __init__(self, pool: ThreadPool) -> None:
        self.pool: ThreadPool = pool
        self._core = pool.core

    def busy(self) -> int:
        """Return 0: the end of a pool waits for what is queued there."""
        return 0

    def counts(self) -> Counts:
        """Return nothing: the pool counts."""
        return Counts()

    def labels(self) -> list[str]:
        """Return nothing: the pool knows what runs."""
        return []

    def open(self) -> None:
        """Start the pool."""
        self.pool.start()

    def close(self) -> None:
        """Do nothing yet: runs that wait for others are still to come."""

    def cancel_queued(self) -> None:
        """Cancel what no worker has taken."""
        self._core.cancel_queued()

    def end(self) -> None:
        """Finish what is queued; workers leave when that is over."""
        self._core.refuse()

    def vanish(self) -> None:
        """Do nothing: the pool begins anew by itself."""

    def take_in(self, record: Record, options: JobOptions, /) -> None:
        """Queue a record under the limits of its view."""
        if options.queue_timeout is not None or options.run_timeout is not None:
            limits = Limits(
                queue_timeout=options.queue_timeout, run_timeout=options.run_timeout
            )
            limit(self._core, record, limits)
        self._core.enqueue(record, options.urgency)

    def withdrew(self, sink: Sink, /) -> None:
        """Count a job that was taken out of the queue."""
        self._core.withdrew(sink)

    def interrupt(self, sink: Sink, interrupt: Interrupt, /) -> bool:
        """Interrupt the running job of a sink; False if it does not run."""
        return self._core.interrupt(sink, interrupt)

    def run_here(self, record: Record, /) -> bool:
        """Run a queued job in the calling worker, if waiting would never end."""
        return self._core.run_here(record)

    def may_starve(self, record: Record, /) -> bool:
        """Tell whether who waits for a queued job has to try `run_here` again."""
        return self._core.may_starve(record)

    def relieve(self) -> None:
        """Have somebody else come for what waits for the calling worker."""
        self._core.relieve()
