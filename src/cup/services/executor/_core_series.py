"""A series: one function that runs again and again, by a plan.

What happens to a series (its alarm rings, a run ends, somebody cancels) is left as a
note, and whoever finds the series free works the notes off, one after the other. So its
state has one user at a time, nobody ever waits for it, and `cancel` works in signal
handlers and finalizers.

Not here: when runs are due (`_core_plans`), what users see of it (`_core_handle`).
"""

from __future__ import annotations

import random
from collections import deque
from contextvars import Context
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from cup.errors import JobInterrupted
from cup.services.threadpool._core_record import claim

from ._core_handle import DueJob
from ._core_overlap import Overlapping
from ._core_periods import delayed_by
from ._core_run import Run
from ._core_series_stage import Notes, SeriesStage
from ._core_timers import UNARMED
from .api_values import RunOutcome, RunRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cup._core.interrupt import Interrupt

    from ._core import ExecutorCore
    from ._core_lane import Lane
    from ._core_plans import Plan

__all__ = ["SeriesCore"]

Call = tuple["Callable[..., Any]", tuple[Any, ...], dict[str, Any], "Context | None"]


class SeriesCore:
    """The state of one series.

    Attributes:
        core: The executor.
        ticket: Its entry among the timers.
        name: What it is called in reports.
        history: Its last runs that are over, the oldest first.
        started: How many runs were handed to workers.
        skipped: How many were left out because another had not ended.
        missed: How many were left out when it caught up.
        failures: How many runs in a row have failed.
        paused: Whether it waits for `resume`.
        due: When the next run is due, by the clock of the plan.
        last: What the last run returned.
        job: The future of the series.
        on_run: What is called after each run.
    """

    def __init__(self, lane: Lane, plan: Plan, name: str, call: Call) -> None:
        self._lane = lane
        self.core: ExecutorCore = lane.core
        self._options = lane.options
        self._plan = plan
        self._call: Call | None = call
        self.name: str = name
        self.ticket: int = UNARMED
        self.history: deque[RunRecord] = deque(maxlen=self._options.history)
        self.started: int = 0
        self.skipped: int = 0
        self.missed: int = 0
        self.failures: int = 0
        self.paused: bool = False
        self.due: float | None = None
        self.last: Any = None
        stage = SeriesStage(lane, self)
        self.job: DueJob[Any] = DueJob(stage, [None, None, (), {}])
        self.job.label = name
        self.on_run: deque[Callable[[RunRecord], object]] = deque()
        self._last_run = False  # no alarm is set any more
        self._over = False  # nothing runs any more but what runs already
        self._runs = Overlapping(self._options.overlap)
        report = partial(self.core.report, what=f"series {name!r} failed")
        self._notes = Notes(report, self.core.something_ended)

    # -- what happens to it; never waits -------------------------------------------

    def begin(self, due: float | None = None) -> None:
        """Set the first alarm: by the plan, or for a given moment of its clock."""
        self._notes.leave(self._plan_first if due is None else partial(self._move, due))

    def ring(self) -> None:
        """Start what is due; called on the timers' thread."""
        self._notes.leave(self._rang)

    def run_ended(
        self, run: Run, outcome: RunOutcome, value: Any, error: BaseException | None
    ) -> None:
        """Take it that a run is over."""
        self._notes.leave(partial(self._ended, run, outcome, value, error))

    def clock_was_set(self, by: float, /) -> None:
        """Take it that the wall clock was set."""
        self._notes.leave(partial(self._clock_set, by))

    def end(self) -> None:
        """Start nothing any more."""
        self._over = self._last_run = True
        self._notes.leave(self._give_up)

    def stop(self) -> None:
        """End as cancelled: the executor stops. What is due already still runs."""
        kept = self.core.keep(self._options.key)
        if claim(self.job.record) is not None:
            (self.core.persisted if kept else self.core.cancelled).add()
            self.job.drop()
        self._last_run = True
        self._notes.leave(self._close)

    def drop_waiting(self) -> None:
        """Leave out the runs that wait for the end of others."""
        self._notes.leave(self._leave_out_waiting)

    def pause(self) -> None:
        """Have no run due until `resume`."""
        self._notes.leave(self._pause)

    def resume(self) -> None:
        """Go on with the first run that is due from now on."""
        self._notes.leave(self._resume)

    def run_now(self) -> None:
        """Have one run due now, besides the others."""
        self._notes.leave(self._run_now)

    def reschedule(self, delay: float) -> bool:
        """Have the next run due in so many seconds; False if it has ended."""
        due = self.core.due_in(delay, by_wall=self._plan.by_wall)
        if self.job.done():
            return False

        self._notes.leave(partial(self._move, due))
        return True

    def interrupt(self, interrupt: Interrupt) -> bool:
        """Interrupt what runs; False if nothing does."""
        crew = self._lane.crew
        reached = [crew.interrupt(run, interrupt) for run in self._runs.active_now()]
        return any(reached)

    def is_running(self) -> bool:
        """Tell whether a run was started and has not ended."""
        return any(not run.record for run in self._runs.active_now())

    def waits(self) -> bool:
        """Tell whether runs may still be handed over."""
        return self._notes.has_some() or self._runs.waits()

    def next_run(self) -> datetime | None:
        """Return when the next run is due."""
        due = self.due
        if due is None or self.ticket == UNARMED:
            return None

        return self.core.moment_of(due, by_wall=self._plan.by_wall)

    def vanish(self) -> None:
        """Forget everything, in a forked child."""
        self._notes.renew()
        self._over = self._last_run = True
        self.ticket = UNARMED
        self._runs = Overlapping(self._options.overlap)
        self.job.record.clear()
        self.job.vanish()

    # -- what notes do; one at a time ----------------------------------------------

    def _now(self) -> float:
        clock = self.core.clock
        return clock.time() if self._plan.by_wall else clock.monotonic()

    def _plan_first(self) -> None:
        self._move(self._plan.begin(self._now()))

    def _set(self, due: float | None) -> None:
        """Set the alarm for the next run, if there is to be one."""
        options = self._options
        if due is None or self._last_run or self.paused or self._is_late(due):
            self._disarm()
            return

        room = 0.0 if options.jitter is None else self._plan.room(due)
        self.due = due
        later = delayed_by(options.jitter, room, self.name, random.random)
        if self.ticket != UNARMED:
            self._lane.dropped()
        self.core.set_alarm(self, due + later, by_wall=self._plan.by_wall)

    def _is_late(self, due: float) -> bool:
        until = self._options.until
        if until is None:
            return False

        return self.core.wall_of(due, by_wall=self._plan.by_wall) > until

    def _disarm(self) -> None:
        self.due = None
        if self.ticket != UNARMED and self.core.timers.take(self):
            self._lane.dropped()

    def _close(self) -> None:
        self._disarm()
        self._finish_if_idle()

    def _rang(self) -> None:
        due = self.due
        if due is None or self._last_run:
            return

        firing = self._plan.fire(due, self._now(), self._options.catch_up)
        self.missed += firing.missed
        self.core.missed.add(firing.missed)
        runs = iter(firing.runs)
        first = list(islice(runs, 2))
        if len(first) > 1:
            self._runs.make_up_for(chain(first, runs))
        else:
            for on_time in first:
                self._deliver(on_time)
        self.due = None
        if firing.next_due is not None:
            self._set(firing.next_due)
        self._serve()
        self._finish_if_idle()

    def _deliver(self, due: float) -> None:
        """Start a run that is due, or do about it what the policy says."""
        if not self._may_start():
            return

        runs = self._runs
        left_out = runs.arrive(due)
        if left_out:
            self._count_skipped(left_out)
        if runs.replaces:
            crew = self._lane.crew
            for run in runs.active_now():
                sink = claim(run.record)
                if sink is not None:
                    crew.withdrew(run)
                    run.drop()
                else:
                    crew.interrupt(run, JobInterrupted("the next run is due"))

    def _serve(self) -> None:
        """Start what waits, as far as the policy allows."""
        while self._may_start():
            due = self._runs.take()
            if due is None:
                return

            self._start(due)

    def _may_start(self) -> bool:
        most = self._options.max_runs
        return not self._over and (most is None or self.started < most)

    def _start(self, due: float) -> None:
        call = self._call
        assert call is not None, "a series that starts runs has its call"
        fn, args, kwargs, context = call
        run = Run(self, due)
        context = Context() if context is None else context.copy()
        if self._lane.crew.is_local:
            run.record = [run.call, context, (fn, *args), kwargs, run]
        else:
            run.record = [fn, context, args, kwargs, run]
        self._runs.started(run)
        self.started += 1
        self.core.submitted.add()
        if not self._may_start():
            self._last_run = True
            self._disarm()
            self._leave_out_waiting()
        self._lane.hand_over(run.record)

    def _ended(
        self, run: Run, outcome: RunOutcome, value: Any, error: BaseException | None
    ) -> None:
        self._runs.ended(run)
        record = RunRecord(
            due=self.core.wall_of(run.due, by_wall=self._plan.by_wall),
            started=run.started,
            ended=self.core.clock.time(),
            outcome=outcome,
            error=error,
        )
        self.history.append(record)
        if outcome is RunOutcome.DONE:
            self.failures = 0
            self.last = value
        elif outcome is RunOutcome.FAILED and error is not None:
            self.failures += 1
            self.core.report(error, f"a run of series {self.name!r} failed")
        self._tell(record)
        ledger = self.core.ledger
        if ledger is not None and self._options.key is not None:
            ledger.ran(self._options.key, record)
        if self.failures and self.failures == self._options.stop_after_failures:
            self._end_by(error)
        self._serve()
        if self.due is None and not (self._runs.is_busy() or self._last_run):
            self._set(self._plan.after_run(self._now()))
        self._finish_if_idle()

    def _tell(self, record: RunRecord) -> None:
        for callback in list(self.on_run):
            try:
                callback(record)
            except Exception as error:  # noqa: BLE001 - it is a user's
                self.core.report(error, f"a callback of series {self.name!r} failed")

    def _end_by(self, error: BaseException | None) -> None:
        self._over = self._last_run = True
        self._disarm()
        self._leave_out_waiting()
        self._finish(error)

    def _clock_set(self, by: float) -> None:
        due = self.due
        if due is not None and self.ticket != UNARMED and not self._last_run:
            planned = self._plan.after_step(due, by, self._now())
            if planned != due:
                self._move(planned)

    def _move(self, due: float | None) -> None:
        self._set(due)
        self._finish_if_idle()

    def _pause(self) -> None:
        self.paused = True
        self._disarm()

    def _resume(self) -> None:
        if self.paused:
            self.paused = False
            self._plan_first()

    def _run_now(self) -> None:
        self._deliver(self._now())
        self._serve()

    def _leave_out_waiting(self) -> None:
        self._count_skipped(self._runs.drop_waiting())

    def _give_up(self) -> None:
        self._disarm()
        self._leave_out_waiting()
        self.core.something_ended()
        if not self._runs.is_busy():
            self.core.forget(self)
            self._call = None

    def _finish_if_idle(self) -> None:
        """End, if no run is left and none will ever be due."""
        if self._runs.is_busy():
            return

        if self._over or self._last_run or (self.due is None and not self.paused):
            self._finish(None)

    def _finish(self, error: BaseException | None) -> None:
        self._over = self._last_run = True
        self._end_job(error)
        self.core.forget(self)
        self.core.something_ended()
        if not self._runs.is_busy():
            self._call = None

    def _end_job(self, error: BaseException | None) -> None:
        job = self.job
        if claim(job.record) is None:
            return  # it was cancelled

        if error is None:
            self.core.series_done.add()
            job.succeed(self.last)
        else:
            self.core.series_failed.add()
            job.fail(error)

    def _count_skipped(self, runs: int) -> None:
        self.skipped += runs
        self.core.skipped.add(runs)
