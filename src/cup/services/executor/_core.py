"""The executor itself: its timers, its crews, its accounts, and how it ends.

It takes what the faces have made, sets alarms, and counts. It never waits. What changes
its life is under a mutex; handing in a job is not.

Not here: when jobs are due (`_core_timers`, `_core_plans`), how they run (crews).
"""

from __future__ import annotations

import logging
import weakref
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any

from cup._core import fork, lifecycle
from cup._core.wait import block
from cup.errors import ExecutorClosed
from cup.services.threadpool import PoolState, ThreadPool
from cup.services.threadpool._core_limits import Limited
from cup.services.threadpool._core_report import report
from cup.services.threadpool._core_worker import worker_here

from ._core_crew import PoolCrew
from ._core_foreign import ForeignCrew
from ._core_handle import Cancelled, DueJob, ScheduledJob
from ._core_ledger import Ledger
from ._core_moments import Moments
from ._core_quiet import Quiet, QuietAsk
from ._core_restore import Restorer
from ._core_run import Run
from ._core_stats import Accounts, gather, report_of
from ._core_timers import Timers
from .api_values import ExecutorReport, ExecutorState, ExecutorStats

if TYPE_CHECKING:
    from _thread import LockType

    from cup._core.clock import WakefulClock
    from cup.services.threadpool._core import PoolCore
    from cup.services.threadpool._core_worker import Worker

    from ._core_lane import Crew
    from ._core_series import SeriesCore
    from ._core_settings import Settings
    from ._core_timers import Alarm
    from .aio_crew import LoopCrew

__all__ = ["ExecutorCore"]

_log = logging.getLogger("cup.executor")

_cores: weakref.WeakSet[ExecutorCore] = weakref.WeakSet()


class ExecutorCore(Accounts, Moments):
    """The state of one executor, from its making to its end.

    Attributes:
        plain: Whether jobs are taken as they come: it runs, in this process.
        made: Jobs that are becoming futures, or cancelled, right now.
        series: The series that have not ended.
        crews: Who runs delayed jobs, who runs queued ones, then the crews of loops.
        ledger: What is written to the store; None without one.
        loop_crews: Those of loops, by their loops.
        own_queue: The pool that runs queued jobs; None if a backend does.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings: Settings = settings
        self.name: str = settings.name
        self.clock: WakefulClock = settings.source.clock
        self.made: dict[ScheduledJob[Any], DueJob[Any] | Cancelled] = {}
        self.series: dict[SeriesCore, None] = {}
        self.timers: Timers = Timers(self.clock)
        self.delayed: ThreadPool = self._make_pool("delayed", settings.delayed_workers)
        self.queued: ThreadPool = self._make_pool("queued", settings.queued_workers)
        self.crews: list[Crew] = self._make_crews()
        self.loop_crews: dict[object, LoopCrew] = {}
        store = settings.store
        self.ledger: Ledger | None = None if store is None else Ledger(store)
        self.own_queue: PoolCore | None = (
            self.queued.core if settings.backend is None else None
        )
        self.quiet: Quiet = Quiet(self)
        self.begin_accounts()
        self._renew()
        _cores.add(self)
        lifecycle.at_exit(lifecycle.Stage.EXECUTORS, self)

    def _make_pool(self, group: str, workers: int) -> ThreadPool:
        settings = self.settings
        return ThreadPool(
            0,
            workers,
            f"{settings.name}-{group}",
            interrupt_grace=settings.interrupt_grace,
            on_unhandled=settings.on_unhandled,
        )

    def _make_crews(self) -> list[Crew]:
        settings = self.settings
        if settings.backend is None:
            return [PoolCrew(self.delayed), PoolCrew(self.queued)]

        foreign = ForeignCrew(
            self, settings.backend, settings.backend_workers, settings.on_broken
        )
        return [foreign, foreign]

    def _renew(self) -> None:
        self._life: LockType = allocate_lock()
        self.plain: bool = False
        self.started: bool = False
        self.refusing: bool = False
        self._handed_over: bool = False
        self.retired: bool = False

    # -- taking jobs ---------------------------------------------------------------

    def admit(self, *, starts: bool) -> None:
        """Refuse work that cannot be taken; start an executor that is new.

        Raises:
            ExecutorClosed: If it was stopped.
        """
        fork.generation()
        if self.refusing or lifecycle.exiting():
            self.refuse_one()
        if starts and not self.started and not self._life.locked():
            self.start()

    def refuse_one(self) -> None:
        """Count a job that is not taken, and say so.

        Raises:
            ExecutorClosed: Always.
        """
        self.submitted.add()
        self.refused.add()
        raise ExecutorClosed(
            f"executor {self.name!r} was stopped and takes no jobs; start it again"
        )

    def schedule(
        self, job: ScheduledJob[Any], due: float, *, by_wall: bool = False
    ) -> None:
        """Take a new job whose time comes later."""
        self.submitted.add()
        if by_wall:
            self.timers.set_by_wall(job, due)
        else:
            self.timers.set(job, due)
        # Set first, looked at second: a stop in between finds the job, or this finds
        # the stop.
        if self.refusing and self.timers.take(job):
            self.refused.add()
            raise ExecutorClosed(f"executor {self.name!r} was stopped meanwhile")

    def begin_series(self, series: SeriesCore, due: float | None = None) -> None:
        """Take a new series; its first run may be due at a given moment."""
        self.submitted.add()
        self.series[series] = None
        series.begin(due)
        if self.refusing:
            series.stop()

    # -- what jobs ask -------------------------------------------------------------

    def set_alarm(self, alarm: Alarm, due: float, *, by_wall: bool) -> None:
        """Set an alarm of something that was taken before."""
        if by_wall:
            self.timers.set_by_wall(alarm, due)
        else:
            self.timers.set(alarm, due)

    def keep(self, key: str | None) -> bool:
        """Tell whether the store keeps a job that is not begun any more."""
        return key is not None and self.ledger is not None and self.ledger.keep(key)

    def forget(self, series: SeriesCore) -> None:
        """Take a series off the list: it has ended."""
        self.series.pop(series, None)

    def something_ended(self) -> None:
        """Tell those who wait for the end to look again."""
        if self.refusing:
            self._close_when_quiet()
            self.quiet.changed()
        elif self.retired:
            self._end_if_idle()

    def report(self, error: BaseException, what: str) -> None:
        """Tell of an exception that nobody else will see; never raises."""
        report(self.settings.on_unhandled, error, f"{what} in executor {self.name!r}")

    # -- life ----------------------------------------------------------------------

    def state(self) -> ExecutorState:
        """Return where the executor is in its life."""
        if self.refusing:
            pools = {pool.core.state() for pool in self.pools()}
            over = self._handed_over and pools <= {PoolState.STOPPED, PoolState.NEW}
            return ExecutorState.STOPPED if over else ExecutorState.STOPPING

        return ExecutorState.RUNNING if self.started else ExecutorState.NEW

    def pools(self) -> tuple[ThreadPool, ThreadPool]:
        """Return the two groups of workers."""
        return self.delayed, self.queued

    def start(self) -> None:
        """Take work, and run what was handed in before.

        Raises:
            ExecutorClosed: While it stops.
        """
        fork.generation()
        with self._life:
            if self.started and not self.refusing:
                return

            if self.refusing and self.state() is not ExecutorState.STOPPED:
                raise ExecutorClosed(f"executor {self.name!r} is stopping; wait for it")

            self.refusing = self._handed_over = False
            for crew in self.each_crew():
                crew.open()
            seat = self.settings.source.add(self.timers)
            self.started = True
            self.timers.open(seat)
            self.plain = not lifecycle.exiting()
        ledger = self.ledger
        if ledger is not None:
            ledger.open(self.settings.source.add(ledger))
            ledger.load(Restorer(self, ledger).begin)

    def begin_stop(self) -> int:
        """Take no more work; hand over what is due, and cancel what is not.

        Returns:
            How many jobs were cancelled.
        """
        fork.generation()
        with self._life:
            if self.refusing:
                return 0

            self.refusing = True
            self.plain = False
        cancelled = 0
        try:
            for alarm in self.timers.close():
                if isinstance(alarm, ScheduledJob):
                    cancelled += alarm.stop()
            for series in list(self.series):
                series.stop()
            for crew in self.each_crew():
                crew.close()
        finally:  # also when a signal breaks in: others may wait for this
            self._handed_over = True
            self._close_when_quiet()
            self.quiet.changed()
        return cancelled

    def is_quiet(self) -> bool:
        """Tell whether no more runs will be handed over."""
        return (
            self._handed_over
            and not any(series.waits() for series in list(self.series))
            and not any(crew.busy() for crew in self.each_crew())
        )

    def waits_for_this_loop(self) -> bool:
        """Tell whether coroutines are left that only the calling thread could run."""
        loops = list(self.loop_crews.values())
        return any(crew.busy() and crew.loop.is_here() for crew in loops)

    def _close_when_quiet(self) -> None:
        """Let the pools end once nothing more will come; not earlier."""
        if self.is_quiet():
            for crew in self.each_crew():
                crew.end()
            for pool in self.pools():  # those that a backend leaves without work, too
                pool.core.refuse()

    def each_crew(self) -> list[Crew]:
        """Return the crews, each once."""
        return list(dict.fromkeys(self.crews))

    def enter_stop(self) -> Worker | None:
        """Return the worker of these pools that the caller is; None if it is none.

        A stop inside of a job waits for everything but that job: the others do not
        wait for it either, and runs of its series that wait for its end are left out.
        """
        worker = worker_here()
        if worker is None or worker.core not in [pool.core for pool in self.pools()]:
            return None

        sink = worker.core.running.get(worker)
        sink = sink.inner if isinstance(sink, Limited) else sink
        if isinstance(sink, Run):
            sink.series.drop_waiting()
        worker.core.stoppers[worker] = None
        for pool in self.pools():
            pool.core.ended.changed()
        return worker

    def leave_stop(self, worker: Worker | None) -> None:
        """Say that a job does not wait for the end any more."""
        if worker is not None:
            worker.core.stoppers.pop(worker, None)

    def finish_store(self) -> None:
        """Have everything written that the store is to know; it may block."""
        ledger = self.ledger
        if ledger is not None:
            ledger.close()

    def cancel_queued(self) -> None:
        """Cancel what has not started."""
        for series in list(self.series):
            series.drop_waiting()
        for crew in self.each_crew():
            crew.cancel_queued()
        self.something_ended()

    def report_overstay(self) -> None:
        """Tell that jobs run on after the grace of an `async with`."""
        running = ", ".join(self.make_report().still_running)
        _log.warning("executor %r was left while jobs run: %s", self.name, running)

    def end_at_exit(self) -> None:
        """End with the interpreter: what is due runs, what is not is cancelled."""
        jobs = self.begin_stop()
        if jobs:
            _log.warning(
                "executor %r ends with the interpreter: %d jobs whose time has not "
                "come are cancelled; stop it, or wait for them",
                self.name,
                jobs,
            )
        if not self.is_quiet():
            block(QuietAsk(self.quiet))

    def retire(self) -> None:
        """End when nothing is left to do: nobody holds the executor any more."""
        # A finalizer calls this: it only asks, and the timers' thread does it.
        self.retired = True
        self.timers.on_empty = self._end_if_idle
        seat = self.timers.seat
        if seat is not None:
            seat.nudge(float("-inf"))

    def _end_if_idle(self) -> None:
        if not self.series and not self.timers.pending():
            self.begin_stop()

    def vanish(self) -> None:
        """Begin anew in a forked child: no timers, no series, the same state."""
        was = self.state()
        alarms = self.timers.forget_all()
        series = list(self.series)
        self.series.clear()
        self.made.clear()
        if self.ledger is not None:
            self.ledger.vanish()
        self.ledger = None  # the store is the parent's
        self.quiet = Quiet(self)
        self.begin_accounts()
        self._renew()
        if was is ExecutorState.RUNNING:
            self.started = self.plain = True
            self.timers.seat = self.settings.source.add(self.timers)
        elif was is not ExecutorState.NEW:
            self.started = self.refusing = self._handed_over = True
        for crew in self.each_crew():
            crew.vanish()
        for each in series:
            each.vanish()
        for alarm in alarms:
            if isinstance(alarm, ScheduledJob):
                alarm.vanish()

    def stats(self) -> ExecutorStats:
        """Return the figures of this moment."""
        return gather(self)

    def make_report(self) -> ExecutorReport:
        """Say what became of everything."""
        return report_of(self)


def _vanish_all() -> None:
    for core in list(_cores):
        core.vanish()


fork.on_fork(_vanish_all)
