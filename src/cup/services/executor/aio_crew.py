"""A crew of tasks: coroutine functions run in the event loop that scheduled them.

There is no task per timer: a task is spawned when its job is due. Not here: sync
functions, which go to workers like everybody else's.
"""

from __future__ import annotations

import inspect
import weakref
from functools import partial
from time import monotonic
from types import FunctionType
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, current_time, get_cancelled_exc_class

from cup._core.loops import current_task
from cup._core.wait import Reach
from cup.errors import (
    JobCancelled,
    JobInterrupted,
    LoopGone,
    QueueTimeout,
    RunTimeout,
)
from cup.services.threadpool._core_record import claim, take_to_run

from ._core_lane import Counts, Lane
from ._core_run import Run
from ._core_stats import Count

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from cup._core.interrupt import Interrupt
    from cup._core.loops import Loop
    from cup.services.threadpool._core_record import Record, Sink

    from ._core import ExecutorCore
    from .api_values import JobOptions

__all__ = ["LoopCrew", "is_coroutine_function", "loop_crew"]


def is_coroutine_function(fn: object) -> bool:
    """Tell whether calling this gives a coroutine; partial objects are seen through."""
    if type(fn) is FunctionType:
        return bool(fn.__code__.co_flags & inspect.CO_COROUTINE)

    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(
        getattr(fn, "__call__", None)  # noqa: B004 - it is the method that is looked at
    )


def loop_crew(core: ExecutorCore, loop: Loop) -> LoopCrew:
    """Return the crew of a loop; those of closed loops go."""
    found = core.loop_crews.get(loop)
    if found is not None:
        return found

    for crew in list(core.crews):
        if isinstance(crew, LoopCrew) and crew.is_over():
            core.crews.remove(crew)
            core.loop_crews.pop(crew.loop, None)
            crew.abandon()
            core.take_over(crew.counts())
    crew = LoopCrew(core, loop)
    core.loop_crews[loop] = crew
    core.crews.append(crew)
    return crew


class LoopCrew:
    """Runs jobs as tasks of one event loop.

    Attributes:
        loop: The loop.
        lanes: The way to it from each view that was used on it.
        stoppers: Jobs that wait for the end of the executor: nobody waits for them.
    """

    is_local = False

    __slots__ = (
        "_cancelled",
        "_core",
        "_done",
        "_failed",
        "_queued",
        "_running",
        "_tasks",
        "lanes",
        "loop",
        "stoppers",
    )

    def __init__(self, core: ExecutorCore, loop: Loop) -> None:
        self._core = core
        self.loop: Loop = loop
        self.stoppers: dict[Sink, None] = {}
        self.lanes: weakref.WeakKeyDictionary[Lane, Lane] = weakref.WeakKeyDictionary()
        self._begin()

    def _begin(self) -> None:
        self._queued: dict[int, Record] = {}
        self._running: dict[Sink, _Running] = {}
        self._tasks: dict[object, Sink] = {}
        self._done = Count()
        self._failed = Count()
        self._cancelled = Count()

    def lane_like(self, lane: Lane) -> Lane:
        """Return the lane of a view that leads here instead of to workers."""
        found = self.lanes.get(lane)
        if found is None:
            found = Lane(self._core, self, lane.options, by_wall=lane.by_wall)
            self.lanes[lane] = found
        return found

    def take_in(self, record: Record, options: JobOptions, /) -> None:
        """Have the loop start a task for a record soon."""
        self._queued[id(record)] = record
        if not self.loop.post(_Start(self, record, options)):
            self._queued.pop(id(record), None)
            raise LoopGone(
                "the event loop that scheduled this coroutine function has ended"
            )

    def withdrew(self, _: Sink, /) -> None:
        """Count a job that was cancelled before its task was spawned."""
        self._cancelled.add()
        self._core.something_ended()

    def interrupt(self, sink: Sink, interrupt: Interrupt, /) -> bool:
        """Cancel the task of a job; False if it does not run."""
        running = self._running.get(sink)
        if running is None:
            return False

        running.interrupt = interrupt
        return self.loop.post(running)

    def run_here(self, _: Record, /) -> bool:
        """Return False: a worker runs no coroutine."""
        return False

    def may_starve(self, _: Record, /) -> bool:
        """Return False: no worker is needed."""
        return False

    def relieve(self) -> None:
        """Do nothing."""

    def busy(self) -> int:
        """Return how many jobs have not ended, while the loop can end them."""
        if self.loop.reach() is not Reach.READY:
            return 0

        queued = sum(bool(record) for record in list(self._queued.values()))
        return queued + sum(sink not in self.stoppers for sink in list(self._running))

    def is_over(self) -> bool:
        """Tell whether the loop is closed."""
        return self.loop.reach() is Reach.GONE

    def counts(self) -> Counts:
        """Return the figures of this moment."""
        return Counts(
            queued=sum(bool(record) for record in list(self._queued.values())),
            running=len(self._running),
            done=self._done.value,
            failed=self._failed.value,
            cancelled=self._cancelled.value,
        )

    def labels(self) -> list[str]:
        """Name what runs."""
        return [str(getattr(sink, "label", "a job")) for sink in list(self._running)]

    def open(self) -> None:
        """Do nothing: a loop takes what it gets."""

    def close(self) -> None:
        """Finish what was handed over, if the loop still runs."""
        if self.loop.reach() is not Reach.READY:
            self.abandon()

    def cancel_queued(self) -> None:
        """Cancel what the loop has not begun."""
        for record in list(self._queued.values()):
            sink = claim(record)
            if sink is not None:
                self._cancelled.add()
                sink.drop()

    def abandon(self) -> None:
        """Fail what the loop never began, and never will."""
        for key in list(self._queued):
            record = self._queued.pop(key, None)
            sink = None if record is None else claim(record)
            if sink is not None:
                self._finish(sink, None, LoopGone("the event loop has ended"))

    def end(self) -> None:
        """Do nothing."""

    def vanish(self) -> None:
        """Begin anew in a forked child: the loop stayed in the parent."""
        sinks = [*self._running]
        sinks += [record[-1] for record in self._queued.values() if record]
        self._begin()
        for sink in sinks:
            sink.vanish()

    def enter_stop(self) -> bool:
        """Have nobody wait for the job that the calling task runs; False if none."""
        sink = self._tasks.get(current_task())
        if sink is None:
            return False

        if isinstance(sink, Run):
            sink.series.drop_waiting()
        self.stoppers[sink] = None
        return True

    def leave_stop(self) -> None:
        """Undo `enter_stop`."""
        sink = self._tasks.get(current_task())
        if sink is not None:
            self.stoppers.pop(sink, None)

    # -- on the loop ---------------------------------------------------------------

    def begin(self, record: Record, options: JobOptions, posted: float) -> None:
        """Spawn the task of a record; called on the loop."""
        self._queued.pop(id(record), None)
        limit = options.queue_timeout
        if limit is not None and monotonic() - posted > limit:
            sink = claim(record)
            if sink is not None:
                self._cancelled.add()
                sink.fail(
                    QueueTimeout(
                        f"the coroutine was not started within {limit} s: its event "
                        "loop is too busy",
                        timeout=limit,
                    )
                )
            return

        taken = take_to_run(record)
        if taken is not None:
            running = _Running(options.run_timeout)
            self._running[taken[-1]] = running
            self.loop.spawn(partial(self._live, taken, running))

    async def _live(self, taken: Record, running: _Running) -> None:
        """Run one job, in its task."""
        fn, context, args, kwargs, sink = taken
        taken.clear()
        task = current_task()
        self._tasks[task] = sink
        _enter(context)
        if isinstance(sink, Run):
            sink.begin()
        value: object = None
        error: BaseException | None = None
        leaving: BaseException | None = None
        try:
            value = await running.run(fn, args, kwargs)
        except get_cancelled_exc_class() as cancelled:
            leaving = cancelled
            error = JobCancelled("the event loop of this coroutine was ended")
        except GeneratorExit as closed:
            leaving = closed
            error = JobCancelled("the event loop of this coroutine is gone")
        except BaseException as raised:  # noqa: BLE001 - it goes to who waits
            error = raised
        self._tasks.pop(task, None)
        self._finish(sink, value, error)
        if leaving is not None:
            raise leaving

    def _finish(self, sink: Sink, value: object, error: BaseException | None) -> None:
        (self._done if error is None else self._failed).add()
        self._running.pop(sink, None)
        try:
            if error is None:
                sink.succeed(value)
            else:
                sink.fail(error)
        except BaseException as second:  # noqa: BLE001 - a callback must not end us
            self._core.report(second, "what was told of a job's end failed")
        self._core.something_ended()


class _Start:
    """Posted to a loop: a record is due there."""

    __slots__ = ("_crew", "_options", "_posted", "_record")

    def __init__(self, crew: LoopCrew, record: Record, options: JobOptions) -> None:
        self._crew = crew
        self._record = record
        self._options = options
        self._posted = monotonic()

    def set(self) -> None:
        """Spawn the task."""
        self._crew.begin(self._record, self._options, self._posted)


class _Running:
    """A job that runs as a task.

    Attributes:
        interrupt: What ends it from outside.
    """

    __slots__ = ("_scope", "_timeout", "interrupt")

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._scope: CancelScope | None = None
        self.interrupt: Interrupt | None = None

    def set(self) -> None:
        """Cancel the task; the loop calls this, when it is posted."""
        if self._scope is not None:
            self._scope.cancel()

    async def run(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        """Await the function, until it is interrupted or too late."""
        timeout = self._timeout
        with CancelScope() as scope:
            if timeout is not None:
                scope.deadline = current_time() + timeout
            self._scope = scope
            if self.interrupt is not None:  # before it began
                scope.cancel()
            return await fn(*args, **kwargs)
        interrupt = self.interrupt
        if interrupt is None:
            raise RunTimeout(
                f"the coroutine has not ended within its run_timeout of {timeout} s; "
                "it was cancelled",
                timeout=timeout,
            )

        error = interrupt() if isinstance(interrupt, type) else interrupt
        if isinstance(error, JobInterrupted):
            raise JobCancelled("the coroutine was cancelled while it ran") from error
        raise error


def _enter(context: Context) -> None:
    """Give the running task the variables of a context.

    Not every loop can spawn a task in a context of somebody else.
    """
    for variable, value in context.items():
        variable.set(value)
