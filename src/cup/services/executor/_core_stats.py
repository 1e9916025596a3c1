"""The accounts of an executor, added up when somebody asks."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING

from cup.services.threadpool._core_record import describe
from cup.services.threadpool._core_stats import Tally

from .api_values import ExecutorReport, ExecutorStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core import ExecutorCore
    from ._core_lane import Counts

__all__ = ["Accounts", "Count", "Sum", "gather", "report_of"]

_PARTS = 256  # numbers that may lie around


class Count:
    """A count of frequent events: `add` is a single step, in any thread.

    Attributes:
        add: Counts one.
    """

    __slots__ = ("_counter", "add")

    def __init__(self) -> None:
        self._counter = itertools.count()
        self.add: Callable[[], int] = self._counter.__next__

    @property
    def value(self) -> int:
        """The number of events so far."""
        # A counter shows its next number, "count(3)", without giving it away.
        return int(repr(self._counter)[len("count(") : -1])


class Sum:
    """A sum of rare additions: any thread adds, also in a signal handler."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: deque[int] = deque()

    def add(self, number: int) -> None:
        """Add a number."""
        if not number:
            return

        parts = self._parts
        parts.append(number)
        if len(parts) > _PARTS:
            total = 0
            while parts:
                try:
                    total += parts.popleft()
                except IndexError:
                    break
            parts.append(total)

    @property
    def value(self) -> int:
        """The sum so far."""
        return sum(self._parts.copy())


class Accounts:
    """What an executor counts itself; its pools and crews count what they run."""

    def begin_accounts(self) -> None:
        """Count from zero."""
        self.submitted: Count = Count()
        self.cancelled: Count = Count()
        self.refused: Tally = Tally()
        self.persisted: Tally = Tally()
        self.series_done: Tally = Tally()
        self.series_failed: Tally = Tally()
        self.past_done: Sum = Sum()
        self.past_failed: Sum = Sum()
        self.cancelled_elsewhere: Sum = Sum()
        self.persisted_instead: Sum = Sum()
        self.skipped: Sum = Sum()
        self.missed: Sum = Sum()

    def take_over(self, counts: Counts) -> None:
        """Add what a crew has counted that is no more."""
        self.past_done.add(counts.done)
        self.past_failed.add(counts.failed)
        self.cancelled_elsewhere.add(counts.cancelled)


def gather(core: ExecutorCore) -> ExecutorStats:
    """Add up the figures of this moment."""
    pools = [pool.stats() for pool in core.pools()]
    crews = [crew.counts() for crew in core.each_crew()]
    done, failed, cancelled = _ended(core)
    refused, persisted = core.refused.value, _persisted(core)
    queued = sum(pool.queued for pool in pools) + sum(crew.queued for crew in crews)
    running = sum(pool.running for pool in pools) + sum(crew.running for crew in crews)
    over = done + failed + cancelled + refused + persisted
    submitted = core.submitted.value
    return ExecutorStats(
        state=core.state(),
        submitted=submitted,
        pending=max(0, submitted - over - queued - running),
        queued=queued,
        running=running,
        done=done,
        failed=failed,
        cancelled=cancelled,
        persisted=persisted,
        refused=refused,
        skipped=core.skipped.value,
        missed=core.missed.value,
        unknown=0 if core.ledger is None else len(core.ledger.unknown),
        lateness=core.timers.lateness.read(),
        queue_age=max(pool.queue_age for pool in pools),
    )


def report_of(core: ExecutorCore) -> ExecutorReport:
    """Say what became of everything."""
    running = [
        describe(getattr(sink, "inner", sink), worker.function())
        for pool in core.pools()
        for running in (pool.core.running, pool.core.overdue)
        for worker, sink in list(running.items())
    ]
    running += [label for crew in core.each_crew() for label in crew.labels()]
    done, failed, cancelled = _ended(core)
    return ExecutorReport(
        submitted=core.submitted.value,
        done=done,
        failed=failed,
        cancelled=cancelled,
        persisted=_persisted(core),
        refused=core.refused.value,
        still_running=tuple(running),
        unknown=() if core.ledger is None else tuple(core.ledger.unknown),
    )


def _ended(core: ExecutorCore) -> tuple[int, int, int]:
    """Return what is done, what has failed, and what was cancelled."""
    pools = [pool.stats() for pool in core.pools()]
    crews = [crew.counts() for crew in core.each_crew()]
    failed = sum(pool.failed for pool in pools)
    done = sum(pool.done for pool in pools) - failed
    cancelled = sum(pool.cancelled for pool in pools)
    return (
        done
        + core.series_done.value
        + core.past_done.value
        + sum(crew.done for crew in crews),
        failed
        + core.series_failed.value
        + core.past_failed.value
        + sum(crew.failed for crew in crews),
        cancelled
        + core.cancelled.value
        + core.cancelled_elsewhere.value
        - core.persisted_instead.value
        + sum(crew.cancelled for crew in crews),
    )


def _persisted(core: ExecutorCore) -> int:
    return core.persisted.value + core.persisted_instead.value
