"""The pool itself: how it starts, changes, ends, and begins anew in a forked child.

What changes the pool's life is under a mutex, which is never held while a thread starts
and never needed to submit. Not here: how work reaches workers (`_core_staff`), and
waiting, which the faces do.
"""

from __future__ import annotations

import itertools
import logging
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from cup._core import fork, lifecycle
from cup._core.line import Line
from cup._core.threads import join_all
from cup._core.wait import Ask
from cup.errors import JobCancelled, JobInterrupted, PoolClosed

from ._core_record import claim, describe, is_claimed
from ._core_staff import Staff
from ._core_stats import gather
from .api import PoolState, PoolStats, StopReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core_record import Record
    from ._core_settings import Settings
    from ._core_worker import Worker

__all__ = ["EndAsk", "PoolCore"]

AFTER_SHUTDOWN = "cannot schedule new futures after shutdown"

_log = logging.getLogger("cup.threadpool")

_cores: weakref.WeakSet[PoolCore] = weakref.WeakSet()


class EndAsk(Ask[None]):
    """Asks for the end of a pool: no worker left but those in `but`."""

    __slots__ = ("but",)

    what = "ThreadPool.stop"
    value = None

    def __init__(self, line: Line, but: Worker | None) -> None:
        super().__init__(line)
        self.but: Worker | None = but


class Ended(Line):
    """Where callers wait for the end of a pool."""

    __slots__ = ("_core",)

    def __init__(self, core: PoolCore) -> None:
        super().__init__()
        self._core = weakref.ref(core)

    def take(self, ask: Ask[Any], /) -> bool:
        """Let the ask through when the pool has ended, but for its own worker."""
        core = self._core()
        if core is None:
            return True

        but = ask.but if isinstance(ask, EndAsk) else None
        return core.ended_but_for(but)

    def put_back(self, _: Ask[Any], /) -> None:
        """Do nothing: passing takes nothing."""


class PoolCore(Staff):
    """The state of one pool, from its making to its end."""

    # Declared again: this class sets what its base declares.
    broken: str | None
    changing: bool
    draining: bool
    forced: bool
    marked: Record | None
    maximum: int
    minimum: int
    numbers: itertools.count[int]
    plain: bool
    refusing: str | None
    started: bool
    told_to_refuse: bool

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.ended: Ended = Ended(self)
        _cores.add(self)
        lifecycle.at_exit(lifecycle.Stage.POOLS, self)

    def somebody_left(self) -> None:
        """Tell who waits for the end of the pool."""
        self.ended.changed()

    def start_if_new(self) -> None:
        """Start a pool that was never started; may be called in a signal handler."""
        # Who is changing it starts it, and will see what is queued.
        if not self.started and self.refusing is None and not self.changing:
            self.start()

    def start(self) -> None:
        """Make the pool take work, with its minimum of workers.

        Raises:
            PoolClosed: While it stops.
        """
        if self._change(self._begin):
            self._fill_up()

    def _change(self, change: Callable[[], bool]) -> bool:
        """Change the pool's life by one step, and return what that says.

        A signal handler may run in the middle of a step of its own thread, and cannot
        wait for its end: it is refused, and `refuse` is left to that step.
        """
        try:
            with self.life:
                if self.changing:
                    raise PoolClosed(
                        f"pool {self.name!r} is being changed by the code that this "
                        "signal handler interrupts; do it outside of the handler"
                    )

                self.changing = True
                try:
                    return change()
                finally:
                    self.changing = False
        finally:
            if self.told_to_refuse:
                self.told_to_refuse = False
                self.refuse()

    def _begin(self) -> bool:
        state = self.state()
        if state is PoolState.RUNNING:
            return False

        if state is PoolState.STOPPING or self.present:
            raise PoolClosed(f"pool {self.name!r} is still stopping; wait for it")

        if self.queue.room is not None:
            self.queue.room.reopen()
        self.numbers = itertools.count()
        self.seats.clear()
        self.seats.extend(next(self.numbers) for _ in range(self.maximum))
        self.requests.clear()
        self.broken = self.refusing = None
        self.forced = False
        self.draining = lifecycle.exiting()
        self.started = True
        self.plain = self.queue.room is None and not lifecycle.exiting()
        return True

    def _fill_up(self) -> None:
        """Start workers up to the minimum, and for what is queued."""
        if not self.draining:  # else they would leave at once
            while len(self.workers) < self.minimum and self.grow():
                pass
        self.rouse(self.queue.lying())

    def resize(self, minimum: int, maximum: int) -> None:
        """Change how many workers there are; both bounds are checked by the caller."""
        if self._change(partial(self._set_bounds, minimum, maximum)):
            self.wake_all()  # also those that were to be kept before
            self._fill_up()

    def _set_bounds(self, minimum: int, maximum: int) -> bool:
        step = maximum - self.maximum
        self.minimum, self.maximum = minimum, maximum
        if not self.started or self.refusing is not None:
            return False

        with self.roster:  # nobody gives a seat back between two looks
            for _ in range(step):
                self._add_seat()
            for _ in range(-step):
                self._remove_seat()
        return True

    def _add_seat(self) -> None:
        try:
            self.requests.remove(True)
        except ValueError:
            self.seats.append(next(self.numbers))

    def _remove_seat(self) -> None:
        try:
            self.seats.pop()
        except IndexError:
            self.requests.append(True)

    def start_one(self) -> bool:
        """Start one more worker, if the maximum allows it."""
        return self.grow()

    def stop_one(self) -> bool:
        """Let one worker go when it is free, if the minimum allows it."""
        if not self._change(self._ask_one_to_go):
            return False

        self.wake_all()
        return True

    def _ask_one_to_go(self) -> bool:
        if len(self.workers) - len(self.requests) <= self.minimum:
            return False

        self.requests.append(False)
        return True

    def refuse(self) -> None:
        """Take no more work; workers leave when the queue is empty."""
        fork.generation()  # without hooks this is the first look in a child
        with self.life:
            if self.changing:  # by this very thread: this is a signal handler
                self.told_to_refuse = True
                return

        self._change(self._close)
        if self.queue.room is not None:
            self.queue.room.close()
        self.wake_all()
        if not self.workers:
            self.rouse(self.queue.lying())
        self.ended.changed()

    def _close(self) -> bool:
        if self.refusing is None:
            self.refusing, self.plain = AFTER_SHUTDOWN, False
            if not self.started:  # workers are needed for what was queued before
                self.seats.extend(next(self.numbers) for _ in range(self.maximum))
                self.started = True
        self.draining = True
        return True

    def retire_all(self) -> None:
        """Let the workers go when the queue is empty: nobody holds the pool now."""
        self.draining = True
        self.wake_all()

    def end_at_exit(self) -> None:
        """Finish what is queued; late threads may still submit (see `lifecycle`)."""
        self.plain = False
        self.draining = True
        self.wake_all()
        if not self.daemon:
            self.join()

    def cancel_queued(self) -> int:
        """Drop everything that has not started; returns how many that were."""
        records: list[Record] = []
        while True:
            record = self.queue.take_oldest()
            if record is None:
                break
            records.append(record)
        self.marked = None
        return sum(self._drop_queued(record) for record in records)

    def report_overstay(self) -> None:
        """Tell that jobs run on after the grace of an `async with`."""
        names = ", ".join(self.report_of_stop(0).still_running)
        _log.warning("pool %r was left while jobs still run: %s", self.name, names)

    def drop_oldest(self) -> bool:
        """Cancel the queued job that is given up first; False if there is none."""
        record = self.queue.take_oldest()
        if record is None:
            return False

        self._drop_queued(record)
        return True

    def _drop_queued(self, record: Record) -> bool:
        if not self.drop(record):
            self.queue.met_husk()
            return False

        self.free_place()
        return True

    def drop(self, record: Record) -> bool:
        """Cancel a job that is not queued; False if somebody else took it."""
        sink = claim(record)
        if sink is None:
            return False

        self.cancelled.add()
        try:
            sink.drop()
        except BaseException as error:  # noqa: BLE001 - a callback must not end us
            self.report(error, "what was told of a cancelled job failed")
        return True

    def ended_but_for(self, but: Worker | None) -> bool:
        """Tell whether no worker is left, not counting one that waits for this."""
        if but is None:
            return not self.present and not len(self.queue)

        # A job waits: not for others that wait like it, and what is queued is left to
        # its own worker.
        return all(
            worker is but or worker in self.stoppers for worker in list(self.present)
        )

    def join(self) -> None:
        """Wait until the worker threads have ended, after their pool has."""
        join_all([worker.thread for worker in list(self.present)])

    def vanish(self) -> None:
        """Begin anew in a forked child: no workers, and nothing queued."""
        running = list(self.running.values())
        queued = [
            record.pop()
            for line in (self.queue.high, self.queue.normal, self.queue.low)
            for record in line
            if not is_claimed(record)
        ]
        for worker in self.present:
            worker.lost = True
        state = self.state()
        self.renew()
        self.ended = Ended(self)
        if state is not PoolState.NEW:
            self.start_again(state)
        for sink in (*running, *queued):
            sink.vanish()

    def start_again(self, state: PoolState) -> None:
        """Take the state that the pool had in the parent, without its workers."""
        self.started = True
        if state is PoolState.RUNNING:
            self.seats.extend(next(self.numbers) for _ in range(self.maximum))
            self.plain = self.queue.room is None
        else:
            self.refusing = AFTER_SHUTDOWN
            self.draining = True

    def state(self) -> PoolState:
        """Return where the pool is in its life."""
        if self.broken is not None:
            return PoolState.BROKEN

        if self.refusing is not None:
            over = not self.present and not len(self.queue)
            return PoolState.STOPPED if over else PoolState.STOPPING

        return PoolState.RUNNING if self.started else PoolState.NEW

    def interrupt_all(self) -> None:
        """Interrupt every job that runs."""
        here = self.here()
        for worker, sink in self.running_now():
            if worker is not here:
                worker.interrupt(
                    sink, JobInterrupted("the pool is being stopped by force")
                )

    def give_all_up(self) -> None:
        """Give up every job that did not end in its grace, and tell who waits."""
        here = self.here()
        for worker, sink in self.running_now():
            if worker is not here and self.give_up(sink):
                sink.fail(JobCancelled("the job did not end when it was interrupted"))

    def report_of_stop(self, cancelled: int) -> StopReport:
        """Say what a stop has done."""
        overdue = [(worker, self.overdue.get(worker)) for worker in list(self.overdue)]
        return StopReport(
            done=self.stats().done,
            cancelled=cancelled,
            still_running=tuple(
                describe(sink, worker.function())
                for worker, sink in (*self.running_now(), *overdue)
                if sink is not None
            ),
        )

    def stats(self) -> PoolStats:
        """Return the figures of this moment."""
        return gather(self)


def _vanish_all() -> None:
    for core in list(_cores):
        core.vanish()


fork.on_fork(_vanish_all)
