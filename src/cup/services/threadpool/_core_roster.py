"""Who works in a pool: its seats, its workers, and what may be done to them.

A pool has as many *seats* as it may have workers. Who starts a worker takes a free
seat, a worker that leaves gives it back: so the maximum is exact without a lock.

Not here: how work reaches workers (`_core_staff`), what a worker does (`_core_worker`).
"""

from __future__ import annotations

import itertools
from _thread import allocate_lock
from collections import deque
from threading import RLock
from typing import TYPE_CHECKING

from cup.errors import InvalidType

from ._core_queue import JobQueue
from ._core_report import report
from ._core_stats import Tally, Totals
from ._core_worker import worker_here

if TYPE_CHECKING:
    from _thread import LockType
    from contextlib import AbstractContextManager

    from cup._core.interrupt import Interrupt
    from cup._core.park import Parker

    from ._core_record import Record, Sink
    from ._core_settings import Settings
    from ._core_worker import Worker
    from .aio_call import Outbox

__all__ = ["Roster"]


class Roster:
    """The workers of one pool, and all its state.

    Attributes:
        plain: Whether `enqueue` needs to look at nothing: running and unbounded.
        idle: The parkers of idle workers, which take themselves out; the last is woken.
        waking: Whether a worker was woken and has not looked at the queue yet.
        coming: Whether a worker is about to look at the queue without being woken.
        seats: The numbers of workers that may be started.
        workers: Who works here.
        present: Those, and who is on the way out and may return to a seat.
        requests: One item per worker that is to go; true to give up its seat.
        marked: A queued record whose waiting time is being measured.
        overdue: Workers that were given up and still run their job.
        nested: The job that a worker runs inside of the one it waits in.
        stoppers: Workers whose job waits for the end of the pool.
        changing: Whether the pool's life is being changed, under `life`.
        told_to_refuse: Whether a signal handler has told so who is changing it.
        aside: Jobs that ended outside of a worker's loop.
        notices: Records that workers ran and that were no jobs.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings: Settings = settings
        self.name: str = settings.name
        self.prefix: str = settings.prefix
        self.daemon: bool = settings.daemon
        self.keep_alive: float | None = settings.keep_alive
        self.minimum: int = settings.minimum
        self.maximum: int = settings.maximum
        self.renew()

    def renew(self) -> None:
        """Make the state of a new pool; also that of a pool in a forked child."""
        self.queue: JobQueue = JobQueue(self.settings.queue_size)
        self.idle: list[Parker] = []
        self.waking: bool = False
        self.coming: bool = False
        self.running: dict[Worker, Sink] = {}
        self.workers: dict[Worker, None] = {}
        self.present: dict[Worker, None] = {}
        self.seats: deque[int] = deque()
        self.requests: deque[bool] = deque()
        self.numbers: itertools.count[int] = itertools.count()
        self.marked: Record | None = None
        self.marked_at: float = 0.0
        self.last_wait: float = 0.0
        self.plain: bool = False
        self.started: bool = False
        self.draining: bool = False
        self.forced: bool = False
        self.refusing: str | None = None
        self.broken: str | None = None
        self.cancelled: Tally = Tally()
        self.refused: Tally = Tally()
        self.late: Tally = Tally()
        self.aside: Tally = Tally()
        self.aside_failed: Tally = Tally()
        self.notices: Tally = Tally()
        self.notices_failed: Tally = Tally()
        self.overdue: dict[Worker, Sink] = {}
        self.nested: dict[Worker, Sink] = {}
        self.stoppers: dict[Worker, None] = {}
        self.bounded: bool = self.queue.room is not None
        self.outboxes: dict[object, Outbox] = {}
        self.past: Totals = Totals()
        self.life: AbstractContextManager[object] = RLock()
        self.changing: bool = False
        self.told_to_refuse: bool = False
        self.roster: LockType = allocate_lock()

    def engage(self) -> None:
        """Have somebody else look at the queue: an idle worker, or a new one."""
        if not self.queue.has_work():
            return

        if self.idle:
            self.kick()
        else:
            self._grow_quietly()

    def relieve(self) -> None:
        """Have somebody else come for what waits for the calling worker."""
        self.coming = False
        self.engage()

    def kick(self) -> None:
        """Wake one idle worker; it wakes the next if there is more to do."""
        self.waking = True
        try:
            self.idle[-1].wake()
        except IndexError:
            self.waking = False
            self._grow_quietly()
        except BaseException:  # of a signal handler: nobody may have been woken
            self.waking = False
            raise

    def _grow_quietly(self) -> None:
        try:
            self.grow_if_needed()
        except RuntimeError:
            return  # no thread to be had: those that work will come for it

    def grow_if_needed(self) -> bool:
        """Start a worker, if there is more to do than workers will take."""
        if not self.seats or not self._is_short():
            return False

        return self.grow()

    def _is_short(self) -> bool:
        queue = self.queue
        waiting = queue.lying() if queue.mixed else len(queue.normal)
        return len(self.workers) - len(self.running) < waiting

    def grow(self, *, again: bool = True) -> bool:
        """Start a worker on a free seat; False if there is none.

        Args:
            again: Whether to try once more when a signal handler raises in here.

        Raises:
            RuntimeError: If the system has no thread to give.
        """
        if self._is_over():
            return False

        seat: int | None = None
        worker: Worker | None = None
        try:
            while self.seats:
                # Not taken with one step: what a signal handler raises after it would
                # lose what was taken.
                try:
                    seat = self.seats[0]
                    self.seats.remove(seat)
                    break
                except (IndexError, ValueError):
                    seat = None  # another thread was faster
            if seat is None:
                return False

            worker = self.make_worker(seat)
            self.present[worker] = self.workers[worker] = None
            # Published first, looked at second: whoever waits for the end sees it.
            if self._is_over() and self._call_off(worker):
                self._free_seat(seat)
                return False

            worker.thread.start()
        except BaseException as error:
            self._give_up_growing(seat, worker)
            if again and not isinstance(error, RuntimeError):
                self._grow_for_others()
            raise
        return True

    def _grow_for_others(self) -> None:
        """Start the worker that others may count on, when a handler has raised."""
        try:
            if self._is_short():
                self.grow(again=False)
        except RuntimeError:
            return  # as in `_grow_quietly`

    def _give_up_growing(self, seat: int | None, worker: Worker | None) -> None:
        """Strike off a worker that may have started or not; free its seat if it is so.

        The exception may be that of a signal handler, and the handler may raise again.
        """
        try:
            self._strike_off(seat, worker)
        except BaseException:
            self._strike_off(seat, worker)
            raise

    def _strike_off(self, seat: int | None, worker: Worker | None) -> None:
        if seat is None or (worker is not None and not self._call_off(worker)):
            return

        if seat not in self.seats:
            self._free_seat(seat)

    def _is_over(self) -> bool:
        return self.refusing is not None and not self.queue.has_work()

    def _call_off(self, worker: Worker) -> bool:
        """Strike off a worker that never began to work; False if it has."""
        if not worker.thread.call_off():
            return False

        self.workers.pop(worker, None)
        self.present.pop(worker, None)
        self.somebody_left()
        return True

    def wake_all(self) -> None:
        """Wake every worker, to look around."""
        # All of them, not just the idle: what a worker finds when it looks is what
        # counts, and a wake too many is harmless.
        self.waking = False
        for worker in list(self.workers):
            worker.wake()

    def dismiss(self, worker: Worker) -> bool:
        """Tell a worker whether it is one of those that are to go."""
        try:
            with_seat = self.requests.popleft()
        except IndexError:
            return False

        with self.roster:
            if not with_seat and len(self.workers) <= self.minimum:
                return False  # the minimum was raised meanwhile

            worker.keeps_seat = not with_seat
            self._step_out(worker)
        return True

    def retire(self, worker: Worker) -> bool:
        """Let a worker go that was idle for long, unless too few would stay."""
        with self.roster:
            if len(self.workers) <= self.minimum:
                return False

            self._step_out(worker)
            return True

    def _step_out(self, worker: Worker) -> None:
        """Take a worker off the list, once; called with `roster` held."""
        if self.workers.pop(worker, False) is None:
            self.past.take_over(worker)
            if worker.keeps_seat:
                self._free_seat(worker.number)

    def _free_seat(self, number: int) -> None:
        """Give a seat back; where the maximum was lowered, it is gone instead."""
        try:
            self.requests.remove(True)
        except ValueError:
            self.seats.append(number)

    def leave(self, worker: Worker) -> bool:
        """Let a worker go; False if there is work again and it must stay."""
        with self.roster:
            self._step_out(worker)
        if self.queue.has_work() and self.broken is None:
            # Left first, looked at second, as everywhere.
            if self._take_seat(worker):
                return False
            if self.idle:
                self.kick()
        self.present.pop(worker, None)
        self.somebody_left()
        return True

    def _take_seat(self, worker: Worker) -> bool:
        """Let a worker that has left return; False if all seats are taken."""
        try:
            if worker.keeps_seat:
                self.seats.remove(worker.number)
            else:
                worker.number = self.seats.popleft()
        except (ValueError, IndexError):
            return False  # who took it comes for the work

        worker.keeps_seat = True
        self.workers[worker] = None
        return True

    def make_worker(self, number: int) -> Worker:
        """Return a worker for a seat, not started."""
        raise NotImplementedError

    def somebody_left(self) -> None:
        """Tell who waits for the end of the pool."""
        raise NotImplementedError

    def interrupt(self, sink: Sink, interrupt: Interrupt) -> bool:
        """Interrupt the running job of a sink; False if it does not run (any more).

        Raises:
            InvalidType: If `interrupt` is no exception.
        """
        _check_interrupt(interrupt)
        return any(
            worker.interrupt(running, interrupt)
            for worker, running in self._who_runs(sink)
        )

    def give_up(self, sink: Sink) -> bool:
        """Replace the worker that is stuck in a job which nobody waits for any more."""
        for worker, running in self._who_runs(sink):
            if worker.give_up(running):
                self.overdue[worker] = running
                self._write_off(worker)
                return True
        return False

    def running_now(self) -> list[tuple[Worker, Sink]]:
        """Return what runs in whom; workers go on meanwhile."""
        # Not `items()`: to make pairs may collect garbage, and then workers change it.
        pairs = [(worker, self.running.get(worker)) for worker in list(self.running)]
        return [(worker, sink) for worker, sink in pairs if sink is not None]

    def _who_runs(self, sink: Sink) -> list[tuple[Worker, Sink]]:
        """Return the worker that runs a sink's job, with the sink it knows."""
        return [
            (worker, running)
            for worker, running in self.running_now()
            if running is sink or getattr(running, "inner", None) is sink
        ]

    def _write_off(self, worker: Worker) -> None:
        with self.roster:
            self.workers.pop(worker, None)
            self.present.pop(worker, None)
            self.running.pop(worker, None)
            self.past.take_over(worker)
            self.past.done += 1
            self.past.failed += 1
            self._free_seat(next(self.numbers))
        self.engage()
        self.somebody_left()

    def overstayed(self, worker: Worker) -> None:
        """Note that a worker which was given up has ended its job at last."""
        self.late.add()
        self.overdue.pop(worker, None)

    def here(self) -> Worker | None:
        """Return the worker that the calling thread is, if it is one of this pool."""
        worker = worker_here()
        return worker if worker in self.workers else None

    def report(self, error: BaseException, what: str) -> None:
        """Tell of an exception that nobody else will see; never raises."""
        report(self.settings.on_unhandled, error, f"{what} in pool {self.name!r}")


def _check_interrupt(interrupt: object) -> None:
    kind = interrupt if isinstance(interrupt, type) else type(interrupt)
    if not issubclass(kind, BaseException):
        raise InvalidType(f"only exceptions interrupt a job, not {interrupt!r}")
