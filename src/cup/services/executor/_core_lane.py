"""A lane: how the jobs of one view get from their time to a worker.

It binds a crew (workers of one group, a foreign executor, an event loop) to the options
of a view. A `Stage` is what a job knows of its lane, once it has a record.

Not here: when jobs are due (`_core_timers`), the crews.
"""

from __future__ import annotations

from contextvars import Context
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cup.services.threadpool._core_record import claim

from ._core_timers import BATCH

if TYPE_CHECKING:
    from cup._core.interrupt import Interrupt
    from cup.services.threadpool._core_record import Record, Sink

    from ._core import ExecutorCore
    from ._core_handle import ScheduledJob
    from .api_values import JobOptions

__all__ = ["Counts", "Crew", "Lane", "Stage"]


class Counts(NamedTuple):
    """What a crew has counted, besides what its pool counts."""

    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0


class Crew(Protocol):
    """Who runs records; it is also what jobs know as their owner, once they are due.

    Attributes:
        is_local: Whether the functions themselves run in threads of this process.
    """

    @property
    def is_local(self) -> bool:
        """Whether the functions themselves run in threads of this process."""
        ...

    def busy(self) -> int:
        """Return how many records must still be handed over to run or be over."""
        ...

    def counts(self) -> Counts:
        """Return the figures of this moment."""
        ...

    def labels(self) -> list[str]:
        """Name what runs, besides what a pool knows."""
        ...

    def open(self) -> None:
        """Take work: the executor starts."""
        ...

    def close(self) -> None:
        """Finish what is queued: the executor stops."""
        ...

    def cancel_queued(self) -> None:
        """Cancel what has not started."""
        ...

    def end(self) -> None:
        """Let threads go: nothing is left."""
        ...

    def vanish(self) -> None:
        """Begin anew in a forked child."""
        ...

    def take_in(self, record: Record, options: JobOptions, /) -> None:
        """Queue a record; it raises if it cannot, and has not queued it then."""
        ...

    def withdrew(self, sink: Sink, /) -> None:
        """Count a job that was taken out of the queue."""
        ...

    def interrupt(self, sink: Sink, interrupt: Interrupt, /) -> bool:
        """Interrupt the running job of a sink; False if it does not run."""
        ...

    def run_here(self, record: Record, /) -> bool:
        """Run a queued job in the calling worker, if waiting for it would never end."""
        ...

    def may_starve(self, record: Record, /) -> bool:
        """Tell whether who waits for a queued job has to try `run_here` again."""
        ...

    def relieve(self) -> None:
        """Take it that what a job tells of its end may last."""
        ...


class Lane:
    """The way of one view's jobs to their crew.

    Attributes:
        by_wall: Whether its jobs wait for a time of the wall clock.
        owner: What jobs that are due as they are made have as their owner.
    """

    __slots__ = ("__weakref__", "_heap", "by_wall", "core", "crew", "options", "owner")

    def __init__(
        self, core: ExecutorCore, crew: Crew, options: JobOptions, *, by_wall: bool
    ) -> None:
        self.core: ExecutorCore = core
        self.crew: Crew = crew
        self.options: JobOptions = options
        self.by_wall: bool = by_wall
        timers = core.timers
        self._heap = timers.by_wall if by_wall else timers.by_monotonic
        self.owner: Stage = Stage(self)
        self.owner.fired = True

    def hand_over(self, record: Record) -> None:
        """Queue a record whose time has come; what goes wrong goes to its sink."""
        if record[1] is None:
            record[1] = Context()
        try:
            self.crew.take_in(record, self.options)
        except Exception as error:  # noqa: BLE001 - it goes to who waits
            sink = claim(record)
            if sink is not None:
                self.core.refused.add()
                sink.fail(error)

    def cancelled_early(self) -> None:
        """Count a job that was cancelled before its time came."""
        self.core.cancelled.add()
        self.dropped()

    def move(self, job: ScheduledJob[Any], key: str | None, due: float) -> bool:
        """Set the alarm of a job that was taken from the timers; returns True."""
        core, ledger = self.core, self.core.ledger
        if ledger is not None and key is not None:
            ledger.moved(key, job, core.wall_of(due, by_wall=self.by_wall))
        core.set_alarm(job, due, by_wall=self.by_wall)
        self.dropped()
        return True

    def dropped(self) -> None:
        """Note that an alarm was given up, which leaves a husk."""
        heap = self._heap
        heap.husks.append(None)
        if not len(heap.husks) & BATCH:
            self.core.timers.look_at_husks(heap)


class Stage:
    """Where a job stands on its lane: the owner of a `Job`.

    Attributes:
        fired: Whether its crew has the record; before, it waits for its time.
    """

    __slots__ = ("_lane", "fired")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.fired: bool = False

    def withdrew(self, sink: Sink) -> None:
        """Count a job that was cancelled."""
        if self.fired:
            self._lane.crew.withdrew(sink)
        else:
            self._lane.cancelled_early()

    def interrupt(self, sink: Sink, interrupt: Interrupt) -> bool:
        """Interrupt the running job of a sink; False if it does not run."""
        return self.fired and self._lane.crew.interrupt(sink, interrupt)

    def run_here(self, record: Record) -> bool:
        """Run a queued job in the calling worker; never before its time."""
        return self.fired and self._lane.crew.run_here(record)

    def may_starve(self, record: Record) -> bool:
        """Tell whether who waits for a job has to look again.

        A job that waits for its time will be queued: a worker that waits for it may
        come to be the last one there is.
        """
        return self._lane.crew.may_starve(record)

    def relieve(self) -> None:
        """Take it that what a job tells of its end may last."""
        self._lane.crew.relieve()

    def report(self, error: BaseException, what: str) -> None:
        """Tell of an exception that nobody else will see."""
        self._lane.core.report(error, what)
