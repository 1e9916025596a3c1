"""The values that an executor takes and gives: rhythms, policies, figures.

Not here: the protocols of its faces and of stores (`api`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final, Literal

from cup.services.threadpool.api import Urgency

__all__ = [
    "URGENCY_HIGH",
    "URGENCY_LOW",
    "URGENCY_NORMAL",
    "Aligned",
    "CatchUp",
    "ExecutorReport",
    "ExecutorState",
    "ExecutorStats",
    "FixedDelay",
    "FixedRate",
    "Jitter",
    "JobOptions",
    "OnBroken",
    "Overlap",
    "RunOutcome",
    "RunRecord",
    "TimerLateness",
    "Urgency",
]

URGENCY_HIGH: Final = Urgency.HIGH
URGENCY_NORMAL: Final = Urgency.NORMAL
URGENCY_LOW: Final = Urgency.LOW

Overlap = Literal["skip", "queue_one", "queue_all", "cancel_previous"] | int
"""What a series does when a run is due and the one before has not ended.

`skip` leaves the new run out. `queue_one` keeps one that waits for the end of the
other, and leaves out further ones. `queue_all` keeps all of them. `cancel_previous`
takes the other out of the queue, or interrupts it, and runs the new one after its end.
A number allows so many at the same time, and leaves out what comes on top.
"""

OnBroken = Literal["fail", "retry"]
"""What happens to jobs whose backend breaks while it has them.

`fail` fails them with the error of the backend. `retry` hands each to the next backend,
three times at most: a job may then run more than once.
"""


@dataclass(frozen=True, slots=True)
class FixedRate:
    """Due at `start + k * period` of the monotonic clock, without drift.

    Attributes:
        period: Seconds.
        first: Seconds until the first run; None for one period.
    """

    period: float
    first: float | None = None


@dataclass(frozen=True, slots=True)
class FixedDelay:
    """Due so long after the end of the run before; runs never overlap.

    Attributes:
        period: Seconds from the end of one run to the start of the next.
        first: Seconds until the first run; None for one period.
    """

    period: float
    first: float | None = None


@dataclass(frozen=True, slots=True)
class Aligned:
    """Due when the wall clock shows `offset + k * period` seconds since the epoch.

    Attributes:
        period: Seconds; 3600 means every full hour (of UTC).
        offset: Seconds by which it is shifted.
    """

    period: float
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUp:
    """What a series does about runs that were due and could not be started.

    Made by `CatchUp.none()`, `CatchUp.latest()` and `CatchUp.all(...)`.

    Attributes:
        mode: Which of the three it is.
        limit: For `all`: how many are made up for at most, the latest; None for all.
        window: For `all`: how old they may be, in seconds; None for any age.
        grace: For `none`: how late a run may start and still count as on time.
    """

    mode: Literal["none", "latest", "all"]
    limit: int | None = None
    window: float | None = None
    grace: float = 1.0

    @staticmethod
    def none(grace: float = 1.0) -> CatchUp:
        """Leave them all out: only what is late by at most `grace` seconds runs."""
        return CatchUp(mode="none", grace=grace)

    @staticmethod
    def latest() -> CatchUp:
        """Run once for all of them."""
        return CatchUp(mode="latest")

    @staticmethod
    def all(limit: int | None = None, window: float | None = None) -> CatchUp:
        """Run each of them, one after the other; at most `limit`, the latest."""
        return CatchUp(mode="all", limit=limit, window=window)


@dataclass(frozen=True, slots=True)
class Jitter:
    """Delays each run of a series by a part of `spread`, so that not all come at once.

    Attributes:
        spread: Seconds; never as much as the time to the next run.
        stable: Whether it follows from the name of the series, the same for each run
            and in each process. Otherwise it is drawn for each run.
    """

    spread: float
    stable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What one view of an executor asks for each of its jobs; see `options`."""

    urgency: Urgency = Urgency.NORMAL
    queue_timeout: float | None = None
    run_timeout: float | None = None
    overlap: Overlap = "queue_one"
    catch_up: CatchUp = field(default_factory=CatchUp.latest)
    jitter: Jitter | None = None
    max_runs: int | None = None
    until: float | None = None
    stop_after_failures: int | None = None
    name: str | None = None
    key: str | None = None
    history: int = 16
    cancel_with_waiter: bool = False


class RunOutcome(enum.Enum):
    """How one run of a series ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run of a series that is over.

    Attributes:
        due: When it was due, in seconds since the epoch.
        started: When it started; None if it never did.
        ended: When it ended.
        outcome: How.
        error: What the function raised.
    """

    due: float
    started: float | None
    ended: float
    outcome: RunOutcome
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerLateness:
    """How late timers were taken, before their jobs waited for a worker.

    Attributes:
        counts: Timers per bucket; bucket `i` holds what was late by less than `2**i`
            microseconds and is not in the bucket before it.
        taken: How many there were.
        total: The seconds by which they were late, together.
        longest: The longest of those, in seconds.
    """

    counts: tuple[int, ...] = ()
    taken: int = 0
    total: float = 0.0
    longest: float = 0.0


class ExecutorState(enum.Enum):
    """Where an executor is in its life. It can be started again when it has stopped."""

    NEW = "new"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorStats:
    """The figures of an executor at one moment.

    Every job that was handed in counts as one, a series as one, and each of its runs
    as one more. When nothing waits or runs, `submitted` is the sum of `done`,
    `failed`, `cancelled`, `persisted` and `refused`.

    Attributes:
        state: Where the executor is in its life.
        submitted: What was handed in, and runs of series.
        pending: Jobs whose time has not come, and series.
        queued: Jobs and runs that wait for a worker.
        running: Jobs and runs that run now.
        done: Those that ended without an exception.
        failed: Those that ended with one.
        cancelled: Those that were cancelled, or timed out, before they started.
        persisted: Those that a store keeps for the next start.
        refused: Those that were not taken.
        skipped: Runs that their series left out, because another had not ended.
        missed: Runs that were due and were left out when the series caught up.
        unknown: Stored jobs whose function could not be found; the store keeps them.
        lateness: How late timers were taken.
        queue_age: Seconds that the oldest sampled job has waited for a worker.
    """

    state: ExecutorState
    submitted: int
    pending: int
    queued: int
    running: int
    done: int
    failed: int
    cancelled: int
    persisted: int
    refused: int
    skipped: int
    missed: int
    unknown: int
    lateness: TimerLateness
    queue_age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorReport:
    """What became of everything that an executor ever took. True when all has ended.

    `submitted` is the sum of `done`, `failed`, `cancelled`, `persisted`, `refused`,
    and of what `still_running` names.

    Attributes:
        submitted: What was handed in, and runs of series.
        done: What ended without an exception.
        failed: What ended with one.
        cancelled: What was cancelled before it started.
        persisted: What a store keeps for the next start.
        refused: What was not taken.
        still_running: What had not ended when the stop returned, by name.
        unknown: The keys of stored jobs whose function could not be found; the store
            keeps them.
    """

    submitted: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    persisted: int = 0
    refused: int = 0
    still_running: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.still_running
