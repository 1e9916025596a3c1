"""What both faces of an executor can do without waiting, and how they hold it.

All faces of one executor hold one `Hold`. When the last has gone, the executor ends as
soon as it has nothing left to do; timers and series that somebody set go on.
"""

from __future__ import annotations

import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from cup._core import fork
from cup._core.clock import SYSTEM
from cup._core.context import job_context
from cup._core.fork import stamp
from cup.errors import ExecutorClosed, PoolClosed
from cup.services.threadpool._core_record import Nobody
from cup.services.threadpool.api import Urgency

from ._core import ExecutorCore
from ._core_call import bad_urgency, context_now, no_callable
from ._core_cron import Cron
from ._core_handle import ScheduledJob, due_now, name_of
from ._core_lane import Lane
from ._core_plans import CronPlan, make_plan
from ._core_series import SeriesCore
from ._core_series_handle import Series
from ._core_settings import check_kind, instant_of
from ._core_stored import make_entry
from .api_values import JobOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from typing_extensions import Self

    from ._core_handle import Handle
    from ._core_lane import Crew
    from ._core_plans import Plan, RhythmLike
    from ._core_settings import Settings
    from ._core_stored import Entry
    from .api_values import ExecutorStats

__all__ = ["Face", "Hold"]

T = TypeVar("T")
H = TypeVar("H", bound="Handle[Any]")

_URGENCIES = {urgency.value: urgency for urgency in Urgency}
_DEFAULTS = JobOptions()
_USUAL = 1e15  # seconds; what is beyond is looked at more closely


class Hold:
    """Dies with the last face of an executor."""

    __slots__ = ("__weakref__", "core")

    def __init__(self, settings: Settings) -> None:
        self.core: ExecutorCore = ExecutorCore(settings)
        weakref.finalize(self, self.core.retire).atexit = False


class Face:
    """An executor, as seen by its user, with options for each of its jobs."""

    __slots__ = (
        "__weakref__",
        "_clock",
        "_core",
        "_hold",
        "_lanes",
        "_now",
        "_options",
        "_soon",
        "_then",
    )

    def __init__(self, hold: Hold, options: JobOptions) -> None:
        core = hold.core
        self._hold = hold
        self._core = core
        self._options = options
        delayed, queued = core.crews[:2]
        self._soon = Lane(core, queued, options, by_wall=False)
        self._then = Lane(core, delayed, options, by_wall=False)
        self._clock = Lane(core, delayed, options, by_wall=True)
        self._now = monotonic if core.clock is SYSTEM else core.clock.monotonic

    @classmethod
    def over(cls, hold: Hold) -> Self:
        """Return a face of an executor that exists."""
        face = cls.__new__(cls)
        Face.__init__(face, hold, _DEFAULTS)
        return face

    @property
    def core(self) -> ExecutorCore:
        """The executor itself, for this package."""
        return self._core

    @property
    def name(self) -> str:
        """The name of the executor."""
        return self._core.name

    def start(self) -> None:
        """Take jobs, and run what was handed in before.

        On a running executor it does nothing; a stopped one begins anew.

        Raises:
            ExecutorClosed: While it is stopping.
        """
        self._core.start()

    def run(self) -> None:
        """Take jobs: the older name of `start`."""
        self._core.start()

    def running(self) -> bool:
        """Tell whether jobs are taken and run."""
        return self._core.started and not self._core.refusing

    def stats(self) -> ExecutorStats:
        """Return the figures of this moment."""
        return self._core.stats()

    def find(self, key: str) -> ScheduledJob[Any] | Series[Any] | None:
        """Return the stored job that waits or runs under a key; None if none does."""
        ledger = self._core.ledger
        found = None if ledger is None else ledger.handles.get(key)
        return found if isinstance(found, ScheduledJob | Series) else None

    def unknown_jobs(self) -> dict[str, str]:
        """Return why stored jobs could not be begun, by their keys; they are kept."""
        ledger = self._core.ledger
        return {} if ledger is None else dict(ledger.unknown)

    def forget(self, key: str) -> bool:
        """Cancel a stored job and remove it from the store, also if it is unknown.

        Returns:
            False if there is no such job.
        """
        ledger = self._core.ledger
        return ledger is not None and ledger.forget(key)

    # -- what the faces share ------------------------------------------------------

    def _entry(
        self,
        rhythm: RhythmLike | Cron | None,
        delay: float,
        fn: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Entry:
        """Return the entry of a job that is to be stored, and check what it needs."""
        core = self._core
        if not core.plain:
            core.admit(starts=True)
        due = core.wall_of(core.due_in(delay, by_wall=False), by_wall=False)
        return make_entry(
            fn, args, kwargs, due=due, rhythm=rhythm, options=self._options
        )

    def _submit(
        self,
        lane: Lane,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> ScheduledJob[T]:
        if not callable(fn):
            raise no_callable(fn)

        if not self._core.plain:
            self._core.admit(starts=True)
        return due_now(lane, fn, args, kwargs, job_context())

    def _after(
        self,
        lane: Lane,
        delay: float,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        starts: bool = True,
    ) -> ScheduledJob[T]:
        core = self._core
        if not callable(fn):
            raise no_callable(fn)

        if not stamp[0]:
            fork.generation()  # an unhooked fork: this renews every executor
        if type(delay) is not float or not 0.0 < delay < _USUAL:
            due = core.due_in(delay, by_wall=False)
        else:
            due = self._now() + delay
        if not core.plain:
            core.admit(starts=starts)
        if delay <= 0 and core.started:
            return due_now(lane, fn, args, kwargs, job_context())

        job = ScheduledJob(lane, due, fn, args, kwargs, context_now())
        core.schedule(job, due)
        return job

    def _at(
        self,
        lane: Lane,
        when: datetime | float,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> ScheduledJob[T]:
        core = self._core
        if not callable(fn):
            raise no_callable(fn)

        due = instant_of(when)
        if not core.plain:
            core.admit(starts=True)
        job = ScheduledJob(lane, due, fn, args, kwargs, context_now())
        core.schedule(job, due, by_wall=True)
        return job

    def begin(self, plan: Plan, fn: Callable[[], object]) -> SeriesCore:
        """Begin a series by a plan, for this package."""
        return self._begin(None, plan, fn, (), {})

    def _every(
        self,
        crew: Crew | None,
        rhythm: RhythmLike,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> SeriesCore:
        plan = make_plan(rhythm, self._core.clock.monotonic())
        return self._begin(crew, plan, fn, args, kwargs)

    def _by_calendar(
        self,
        crew: Crew | None,
        cron: Cron,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> SeriesCore:
        return self._begin(crew, CronPlan(cron), fn, args, kwargs)

    def _calendar(self, cron: Cron | str, fn: Callable[..., object]) -> Cron:
        """Return the calendar that was given, or that an expression means."""
        if isinstance(cron, str):
            return Cron(cron, name=self._options.name or name_of(fn))

        check_kind("cron", cron, Cron)
        return cron

    def _until(self, when: datetime | float) -> float:
        """Return the seconds until a moment; 0 if it is over."""
        return max(0.0, instant_of(when) - self._core.clock.time())

    def _attach(self, entry: Entry | None, handle: H) -> H:
        """Follow a stored job to its end."""
        ledger = self._core.ledger
        if ledger is not None and entry is not None:
            ledger.attach(entry, handle)
        return handle

    def _begin(
        self,
        crew: Crew | None,
        plan: Plan,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> SeriesCore:
        core = self._core
        if not callable(fn):
            raise no_callable(fn)

        lane = self._clock if plan.by_wall else self._then
        if crew is not None:
            lane = Lane(core, crew, self._options, by_wall=plan.by_wall)
        if not core.plain:
            core.admit(starts=True)
        name = self._options.name or name_of(fn)
        series = SeriesCore(lane, plan, name, (fn, args, kwargs, context_now()))
        core.begin_series(series)
        return series

    def _post(
        self,
        fn: Callable[..., object],
        urgency: Urgency | int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Queue a call that nobody waits for: the hot path of `queue_exec`."""
        core = self._core
        found = _URGENCIES.get(urgency)
        if not callable(fn):
            raise no_callable(fn)

        if found is None:
            raise bad_urgency(urgency)

        if not core.plain:
            core.admit(starts=False)
        core.submitted.add()
        pool = core.own_queue
        if pool is None:
            lane = self._urgent(self._soon, found)
            lane.hand_over([fn, job_context(), args, kwargs, Nobody(lane.owner)])
            return

        try:
            pool.enqueue([fn, job_context(), args, kwargs, pool.nobody], found)
        except PoolClosed:
            core.refused.add()
            raise ExecutorClosed(f"executor {core.name!r} was stopped") from None

    def _urgent(self, lane: Lane, urgency: Urgency | int) -> Lane:
        """Return the lane of the older calls, which name an urgency each."""
        found = _URGENCIES.get(urgency)
        if found is None:
            raise bad_urgency(urgency)

        if found is lane.options.urgency:
            return lane

        return self._lanes_by_urgency()[found]

    def _lanes_by_urgency(self) -> dict[Urgency, Lane]:
        try:
            return self._lanes
        except AttributeError:
            crew = self._core.crews[0]
            self._lanes: dict[Urgency, Lane] = {
                urgency: Lane(
                    self._core, crew, JobOptions(urgency=urgency), by_wall=False
                )
                for urgency in Urgency
            }
            return self._lanes

    def __repr__(self) -> str:
        stats = self._core.stats()
        return (
            f"<{type(self).__name__} {self.name!r} {stats.pending} pending, "
            f"{stats.queued} queued, {stats.running} running, {stats.state.value}>"
        )

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        stats = self._core.stats()
        yield "name", self.name
        yield "state", stats.state.value
        yield "pending", stats.pending
        yield "queued", stats.queued
        yield "running", stats.running
        yield "done", stats.done
        yield "failed", stats.failed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Face) or type(other) is not type(self):
            return NotImplemented

        return self._hold is other._hold and self._options == other._options

    def __hash__(self) -> int:
        return id(self._hold)

    def __reduce__(self) -> str:
        raise TypeError(
            f"{type(self).__name__} {self.name!r} cannot be pickled: "
            "its threads belong to this process; make one in each process"
        )
