"""The handle of one job that runs once, now or later.

A pending job is small: the call, its lane, and its entry among the timers. It becomes a
`Job` (a future with a record that workers take) when it is due, or when somebody looks
at its future. Becoming one, and being cancelled before that, is the same single step,
`dict.setdefault`: whoever comes second finds what the first has made.

Not here: what runs again and again (`_core_series`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cup.services.threadpool._core_job import Job
from cup.services.threadpool._core_record import is_claimed

from ._core_lane import Lane, Stage
from ._core_timers import UNARMED

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Future
    from contextvars import Context
    from datetime import datetime

    from cup._core.interrupt import Interrupt
    from cup.services.threadpool._core_record import Record

__all__ = ["Cancelled", "DueJob", "Handle", "ScheduledJob", "due_now", "name_of"]

T = TypeVar("T")


class Cancelled:
    """What a job becomes that is cancelled before anybody looked at its future.

    Attributes:
        label: What the job is called in reports.
    """

    __slots__ = ("label",)

    label: str


class DueJob(Job[T]):
    """The future of a job of an executor.

    Attributes:
        label: What it is called in reports.
    """

    label: str

    @property
    def record(self) -> Record:
        """What workers take."""
        return self._record

    def fire(self) -> None:
        """Note that the crew has the record from now on."""
        if isinstance(self._owner, Stage):
            self._owner.fired = True


def name_of(fn: Callable[..., object] | None) -> str:
    """Return what a callable is called."""
    while isinstance(fn, partial):
        fn = fn.func
    return str(getattr(fn, "__qualname__", None) or type(fn).__name__)


class Handle(Generic[T]):
    """What every job of an executor can be asked, also a series."""

    __slots__ = ()

    @property
    def future(self) -> Job[T]:
        """The job as a `concurrent.futures.Future`, for `wait` and `as_completed`."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """What the job is called in reports: its option `name`, or its function."""
        raise NotImplementedError

    @property
    def next_run(self) -> datetime | None:
        """When it is due (an aware datetime in UTC); None if it waits for no time."""
        raise NotImplementedError

    def cancel(self) -> bool:
        """Keep the job from starting.

        Never blocks; may be called from signal handlers and finalizers. What the call
        holds is free at once. A series has no further runs, and one that runs already
        goes on to its end.

        Returns:
            True if it is cancelled, now or before; False if it has started.
        """
        raise NotImplementedError

    def reschedule(self, delay: float) -> bool:
        """Have the job due in so many seconds from now, instead of at its time.

        Args:
            delay: Seconds; zero or less means now.

        Returns:
            False if it is due already, or over.

        Raises:
            InvalidValue: If `delay` is NaN or infinite.
        """
        raise NotImplementedError

    def cancelled(self) -> bool:
        """Tell whether the job was cancelled before it started."""
        return self.future.cancelled()

    def running(self) -> bool:
        """Tell whether the job has started and not ended."""
        return self.future.running()

    def done(self) -> bool:
        """Tell whether the job has ended: by a result, an exception, or a cancel."""
        return self.future.done()

    def interrupt(self, error: Interrupt | None = None) -> bool:
        """Raise an exception inside of the running job, to end it.

        Args:
            error: An exception, or a class of exceptions that takes no arguments; None
                for `JobInterrupted`, which `result` turns into `JobCancelled`.

        Returns:
            True if it will be raised, unless the job ends first; False if it does not
            run, or runs where it cannot be reached (in another process).
        """
        return self.future.interrupt(error)

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end and return what the function returned.

        For a series that is the end of all runs, and the result of the last one.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            JobTimeout: If it has not ended in time.
            JobCancelled: If it was cancelled.
            BaseException: What the function raised.
        """
        return self.future.result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return what the function raised, None if nothing.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            JobTimeout: If it has not ended in time.
            JobCancelled: If it was cancelled.
        """
        return self.future.exception(timeout)

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have `fn(future)` called at the end, in a worker; at once if it has ended."""
        self.future.add_done_callback(fn)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait on this task for the result; its cancellation leaves the job alone."""
        return self.future.__await__()

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled: it belongs to an executor "
            "of this process"
        )


class ScheduledJob(Handle[T]):
    """A job that runs once; made by `submit`, `after` and `at`.

    It can be waited for by threads (`result`), by tasks of asyncio and trio (`await`),
    and as a `concurrent.futures.Future` (`future`). All methods are thread-safe.
    """

    __slots__ = (
        "_args",
        "_context",
        "_due",
        "_fn",
        "_job",
        "_kwargs",
        "_lane",
        "ticket",
    )

    ticket: int
    """Its entry among the timers; not for users."""

    def __init__(  # noqa: PLR0917 - made a million times, keywords would cost
        self,
        lane: Lane,
        due: float,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: Context | None,
    ) -> None:
        self._lane = lane
        self._due = due
        self._fn: Callable[..., T] | None = fn
        self._args: tuple[Any, ...] | None = args
        self._kwargs: dict[str, Any] | None = kwargs or None
        self._context = context
        self._job: DueJob[T] | Cancelled | None = None
        self.ticket = UNARMED

    def become_due(self, lane: Lane, due: DueJob[T]) -> None:
        """Be the handle of a job that is due, without what only timers need."""
        self._lane = lane
        self._job = due
        self.ticket = UNARMED

    # -- what callers ask ----------------------------------------------------------

    @property
    def future(self) -> Job[T]:
        """The job as a `concurrent.futures.Future`, for `wait` and `as_completed`."""
        found = self._job or self._become(None)
        if isinstance(found, Cancelled):
            job: Job[T] = Job(Stage(self._lane), [])
            job.drop()
            return job

        return found

    @property
    def name(self) -> str:
        """What the job is called in reports: its option `name`, or its function."""
        found = self._job
        label = name_of(self._fn) if found is None else found.label
        return self._lane.options.name or label

    @property
    def next_run(self) -> datetime | None:
        """When it is due (an aware datetime in UTC); None if it waits for no time."""
        if self.ticket == UNARMED or self.done():
            return None

        return self._lane.core.moment_of(self._due, by_wall=self._lane.by_wall)

    def cancel(self) -> bool:
        """Keep the job from starting.

        Never blocks; may be called from signal handlers and finalizers. What the call
        holds is free at once.

        Returns:
            True if it is cancelled, now or before; False if it has started.
        """
        found = self._job
        if found is None:
            mine = Cancelled()
            mine.label = getattr(self._fn, "__qualname__", "a cancelled job")
            found = self._become(mine)
            if found is mine:
                self.ticket = UNARMED
                self._lane.cancelled_early()
                return True

        return isinstance(found, Cancelled) or found.cancel()

    def reschedule(self, delay: float) -> bool:
        """Have the job due in so many seconds from now, instead of at its time.

        Args:
            delay: Seconds; zero or less means now.

        Returns:
            False if it is due already, or over.

        Raises:
            InvalidValue: If `delay` is NaN or infinite.
        """
        lane = self._lane
        due = lane.core.due_in(delay, by_wall=lane.by_wall)
        if self.done() or not lane.core.timers.take(self):
            return False

        self._due = due
        return lane.move(self, self._stored_as(), due)

    def cancelled(self) -> bool:
        """Tell whether the job was cancelled before it started."""
        found = self._job
        return found is not None and (isinstance(found, Cancelled) or found.cancelled())

    def running(self) -> bool:
        """Tell whether the job has started and not ended."""
        found = self._job
        return isinstance(found, DueJob) and found.running()

    def done(self) -> bool:
        """Tell whether the job has ended: by a result, an exception, or a cancel."""
        found = self._job
        return found is not None and (isinstance(found, Cancelled) or found.done())

    def __repr__(self) -> str:
        found = self._job
        state = "pending" if found is None else "cancelled"
        if isinstance(found, DueJob):
            state = repr(found).partition(" at ")[2].partition(" ")[2].rstrip(">")
        return f"<{type(self).__name__} {self.name!r} {state}>"

    # -- what the executor does ----------------------------------------------------

    def ring(self) -> None:
        """Hand the call over to its crew; called when it is due."""
        found = self._job or self._become(None)
        if isinstance(found, Cancelled):
            return

        found.fire()
        if not is_claimed(found.record):
            self._lane.hand_over(found.record)

    def stop(self) -> bool:
        """End as cancelled, or be kept by the store: the executor stops.

        Returns:
            Whether it is cancelled by that, and not kept.
        """
        core = self._lane.core
        kept = core.keep(self._stored_as())
        cancelled = self.cancel()
        if cancelled and kept:
            core.persisted_instead.add(1)
        return cancelled and not kept

    def clock_was_set(self, _: float, /) -> None:
        """Do nothing: a given moment stays where it is."""

    def vanish(self) -> None:
        """End as cancelled in a forked child, telling nobody."""
        found = self._job or self._become(Cancelled())
        if isinstance(found, DueJob):
            found.record.clear()
            found.vanish()

    def _become(self, wish: Cancelled | None) -> DueJob[T] | Cancelled:
        """Become a future, or cancelled; what came first stands."""
        candidate = self._make() if wish is None else wish
        made = self._lane.core.made
        found = made.setdefault(self, candidate)
        # Taken out of `made` only after it was stored here: who comes late and puts its
        # own in finds this one stored, and leaves its own.
        job = self._job
        if job is None:
            self._job = job = found
        made.pop(self, None)
        self._fn = self._args = self._kwargs = self._context = None
        return job

    def _stored_as(self) -> str | None:
        return self._lane.options.key

    def _make(self) -> DueJob[T]:
        fn = self._fn
        record = [fn, self._context, self._args, self._kwargs or {}]
        job: DueJob[T] = DueJob(Stage(self._lane), record)
        job.label = self._lane.options.name or name_of(fn)
        return job


def due_now(
    lane: Lane,
    fn: Callable[..., T],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Context,
) -> ScheduledJob[T]:
    """Return a job that is due as it is made, and hand it over."""
    record = [fn, context, args, kwargs]
    due: DueJob[T] = DueJob(lane.owner, record)
    due.label = lane.options.name or getattr(fn, "__qualname__", "") or name_of(fn)
    kind: type[ScheduledJob[T]] = ScheduledJob
    job = object.__new__(kind)
    job.become_due(lane, due)
    lane.core.submitted.add()
    lane.hand_over(record)
    return job
