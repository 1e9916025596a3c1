"""What a thread pool is: its options, its figures, and the two protocols.

`ThreadPoolAPI` is the face for threads, `AsyncThreadPoolAPI` the one for tasks. Both
speak to one pool; a job is queued, run and counted the same whichever face took it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from typing_extensions import ParamSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from ._core_job import Job
    from .aio_job import AsyncJob

__all__ = [
    "AsyncThreadPoolAPI",
    "Limits",
    "OnCancel",
    "PoolState",
    "PoolStats",
    "RunTimes",
    "StopReport",
    "ThreadPoolAPI",
    "Urgency",
    "WhenFull",
]

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")


class Urgency(enum.IntEnum):
    """Which queued jobs are started first.

    A class is first in, first out. While a more urgent class waits, the classes below
    it get one start in 16, so that none starves.
    """

    HIGH = 0
    NORMAL = 1
    LOW = 2


WhenFull = Literal["block", "refuse", "caller_runs", "drop_oldest"]
"""What a bounded pool does with a job for which its queue has no room.

`block` waits for room (in async faces: awaits), `refuse` raises `PoolFull`,
`caller_runs` runs the job in the calling thread (async faces wait for room instead),
`drop_oldest` cancels the job that has waited longest.
"""

OnCancel = Literal["wait", "abandon", "interrupt"]
"""What a cancelled `await pool.run(...)` does about a job that runs already.

`wait` waits until it has ended, `abandon` leaves it to end alone, `interrupt` raises
`JobInterrupted` in it and waits for at most the pool's `interrupt_grace`; a worker that
is stuck for longer is replaced. A job that has not started is taken out of the queue in
every case.
"""


class PoolState(enum.Enum):
    """Where a pool is in its life. It can be started again when it has stopped."""

    NEW = "new"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one view of a pool asks for each of its jobs.

    Attributes:
        urgency: Which class of the queue a job joins.
        queue_timeout: Seconds within which it must start, else it fails with
            `QueueTimeout`; None for no limit.
        run_timeout: Seconds within which it must end, else it fails with `RunTimeout`;
            None for no limit.
        on_cancel: What a cancelled `await` does about a running job.
    """

    urgency: Urgency = Urgency.NORMAL
    queue_timeout: float | None = None
    run_timeout: float | None = None
    on_cancel: OnCancel = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTimes:
    """How long jobs ran: a histogram over a sample, one job in eight of each worker.

    Attributes:
        counts: Sampled jobs per bucket; bucket `i` holds run times below `2**i`
            microseconds that are not in the bucket before it.
        sampled: The number of sampled jobs.
        total: The seconds that they ran, together.
        longest: The longest of them, in seconds.
    """

    counts: tuple[int, ...] = ()
    sampled: int = 0
    total: float = 0.0
    longest: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """The figures of a pool at one moment.

    Attributes:
        state: Where the pool is in its life.
        workers: Live worker threads.
        idle: Workers that wait for a job.
        running: Jobs that run now.
        queued: Jobs that wait for a worker.
        waiting: Callers that wait for room in a bounded queue.
        done: Jobs that ended, with a result or an exception.
        failed: Those of them that ended with an exception.
        cancelled: Jobs that were cancelled, dropped or timed out before they started.
        refused: Jobs that the pool did not take.
        late: Jobs that ended after their `run_timeout`, or after their worker had been
            given up; nobody got their result.
        queue_age: Seconds that a sampled job at the head of the queue has waited so
            far; 0.0 when nothing waits.
        queue_wait: Seconds that the last sampled job had waited when it started.
        run_times: How long jobs ran.
    """

    state: PoolState
    workers: int
    idle: int
    running: int
    queued: int
    waiting: int
    done: int
    failed: int
    cancelled: int
    refused: int
    late: int
    queue_age: float
    queue_wait: float
    run_times: RunTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReport:
    """What stopping did. It is true when no worker is left.

    Attributes:
        done: Jobs that ended in the pool's life so far.
        cancelled: Jobs that this stop took out of the queue.
        still_running: Jobs that still ran when the stop returned, by their functions'
            names.
    """

    done: int = 0
    cancelled: int = 0
    still_running: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        return not self.still_running


class _Common(Protocol):
    """What never waits, and so is the same in both faces."""

    @property
    def name(self) -> str:
        """The name of the pool."""
        ...

    def start(self) -> None:
        """Make the pool take work, with its minimum of workers."""
        ...

    def resize(
        self, minthreads: int | None = None, maxthreads: int | None = None
    ) -> None:
        """Change how many workers there are, at once and in both directions."""
        ...

    def adjust_poolsize(
        self, minthreads: int | None = None, maxthreads: int | None = None
    ) -> None:
        """Change how many workers there are: the older name of `resize`."""
        ...

    def start1worker(self) -> bool:
        """Start one more worker; False if the maximum does not allow it."""
        ...

    def stop1worker(self) -> bool:
        """Let one worker go after its job; False if the minimum does not allow it."""
        ...

    def stats(self) -> PoolStats:
        """Return the figures of this moment."""
        ...

    def get_stats(self) -> dict[str, int]:
        """Return the figures that the older library gave, by its names."""
        ...

    def dump_stats(self, print_stdout: bool = False) -> dict[str, int]:
        """Log the figures of `get_stats` and return them."""
        ...


class ThreadPoolAPI(_Common, Protocol):
    """The thread pool, for threads."""

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[T]:
        """Queue a call and return its job."""
        ...

    def post(
        self, fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Queue a call that nobody waits for."""
        ...

    def add_1job(
        self, func: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Queue a call that nobody waits for: the older name of `post`."""
        ...

    def add_1job_with_callback(
        self,
        result_callback: Callable[[bool, Any], object],
        func: Callable[P, object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Queue a call whose outcome goes to a callback."""
        ...

    def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call in a worker, wait for it, and return its result."""
        ...

    def each(
        self,
        fn: Callable[[A], T],
        items: Iterable[A],
        *,
        ordered: bool = True,
        limit: int | None = None,
    ) -> Iterator[T]:
        """Call `fn` with each item, and yield the results while they come."""
        ...

    def stop(self, force_stop: bool = False) -> StopReport:
        """Refuse new work, finish what is queued, and wait for the workers to end."""
        ...

    def try_stop(self, check_interval: float = 0.1) -> bool:
        """Refuse new work and wait a little for the workers to end."""
        ...


class AsyncThreadPoolAPI(_Common, Protocol):
    """The thread pool, for tasks."""

    async def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncJob[T]:
        """Queue a call and return its job."""
        ...

    async def post(
        self, fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Queue a call that nobody waits for."""
        ...

    async def add_1job(
        self, func: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Queue a call that nobody waits for: the older name of `post`."""
        ...

    async def add_1job_with_callback(
        self,
        result_callback: Callable[[bool, Any], object],
        func: Callable[P, object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Queue a call whose outcome goes to a callback."""
        ...

    async def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call in a worker, wait for it, and return its result."""
        ...

    def each(
        self,
        fn: Callable[[A], T],
        items: Iterable[A],
        *,
        ordered: bool = True,
        limit: int | None = None,
    ) -> AsyncIterator[T]:
        """Call `fn` with each item, and yield the results while they come."""
        ...

    async def stop(self, force_stop: bool = False) -> StopReport:
        """Refuse new work, finish what is queued, and wait for the workers to end."""
        ...

    async def try_stop(self, check_interval: float = 0.1) -> bool:
        """Refuse new work and wait a little for the workers to end."""
        ...
