"""The figures of a pool: what workers count, added up when somebody asks.

Counting costs a worker one addition; nothing is shared while jobs run.
"""

from __future__ import annotations

import itertools
from time import monotonic
from typing import TYPE_CHECKING

from .api import PoolStats, RunTimes

if TYPE_CHECKING:
    from ._core import PoolCore

__all__ = ["BUCKETS", "Tally", "Totals", "gather"]

BUCKETS = 40  # the last holds all that ran longer than 2**38 us, three days


class Tally:
    """A count of rare events: any thread adds, also from a signal handler."""

    __slots__ = ("_counter",)

    def __init__(self) -> None:
        self._counter = itertools.count()

    def add(self) -> None:
        """Count one."""
        next(self._counter)

    @property
    def value(self) -> int:
        """The number of events so far."""
        # A counter shows its next number, "count(3)", without giving it away.
        return int(repr(self._counter)[len("count(") : -1])


class Totals:
    """What one worker has counted, or all that have left together."""

    __slots__ = ("done", "failed", "longest", "run_counts", "run_total", "sampled")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Count from zero."""
        self.done: int = 0
        self.failed: int = 0
        self.sampled: int = 0
        self.run_counts: list[int] = [0] * BUCKETS
        self.run_total: float = 0.0
        self.longest: float = 0.0

    def add(self, other: Totals) -> None:
        """Add what another one has counted."""
        self.done += other.done
        self.failed += other.failed
        self.sampled += other.sampled
        self.run_total += other.run_total
        self.longest = max(self.longest, other.longest)
        pairs = zip(self.run_counts, other.run_counts, strict=True)
        self.run_counts = [mine + theirs for mine, theirs in pairs]

    def take_over(self, other: Totals) -> None:
        """Add what another one has counted, which begins anew."""
        self.add(other)
        other.begin()

    def sample(self, seconds: float) -> None:
        """Count the run time of one job."""
        self.sampled += 1
        self.run_total += seconds
        self.longest = max(self.longest, seconds)
        bucket = int(seconds * 1e6).bit_length()
        self.run_counts[min(bucket, BUCKETS - 1)] += 1


def gather(core: PoolCore) -> PoolStats:
    """Add up the figures of a pool."""
    totals = Totals()
    with core.roster:  # a worker that leaves is counted once
        totals.add(core.past)
        workers = list(core.workers)
        for worker in workers:
            totals.add(worker)
    marked = core.marked
    waits = bool(marked) and len(core.queue) > 0
    return PoolStats(
        state=core.state(),
        workers=len(workers),
        idle=len(core.idle),
        running=len(core.running),
        queued=len(core.queue),
        waiting=0 if core.queue.room is None else len(core.queue.room),
        done=totals.done + core.aside.value - core.notices.value,
        failed=(totals.failed + core.aside_failed.value - core.notices_failed.value),
        cancelled=core.cancelled.value,
        refused=core.refused.value,
        late=core.late.value,
        queue_age=max(0.0, monotonic() - core.marked_at) if waits else 0.0,
        queue_wait=core.last_wait,
        run_times=RunTimes(
            counts=tuple(totals.run_counts),
            sampled=totals.sampled,
            total=totals.run_total,
            longest=totals.longest,
        ),
    )
