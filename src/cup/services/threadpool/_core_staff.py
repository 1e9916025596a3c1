"""Who works in a pool, and how work reaches them.

Everything that a submitter touches is a single step of a deque or dict, so that jobs
can be submitted from signal handlers and finalizers; see `_core_worker` for the rule
that makes this right.

A pool has as many *seats* as it may have workers. Who starts a worker takes a free
seat, a worker that leaves gives it back: so the maximum is exact without a lock.

Not here: how a pool starts and ends (`_core`), options of jobs (`_core_limits`).
"""

from __future__ import annotations

import itertools
import logging
import threading
from _thread import allocate_lock
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from cup._core import fork, lifecycle
from cup._core.fork import stamp
from cup.errors import PoolBroken, PoolClosed, PoolError

from ._core_limits import Limited
from ._core_queue import JobQueue
from ._core_record import Nobody, Record, Sink, claim, run_claimed, take_to_run
from ._core_report import report
from ._core_stats import Tally, Totals
from ._core_worker import Worker, worker_here
from .api import Urgency

if TYPE_CHECKING:
    from _thread import LockType

    from cup._core.park import Parker

    from ._core_settings import Settings
    from .aio_call import Outbox

__all__ = ["AFTER_EXIT", "Staff"]

NORMAL: Final = Urgency.NORMAL
AFTER_EXIT = "cannot schedule new futures after interpreter shutdown"

_executor_log = logging.getLogger("concurrent.futures")  # where its users look


class Staff:
    """The queue and the workers of one pool.

    Attributes:
        plain: Whether `enqueue` needs to look at nothing: running and unbounded.
        idle: The parkers of idle workers; the last is woken first.
        waking: Whether a worker was woken and has not looked at the queue yet.
        seats: The numbers of workers that may be started.
        requests: One item per worker that is to go; true to give up its seat.
        marked: A queued record whose waiting time is being measured.
        overdue: Jobs over their `run_timeout` that have not ended.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings: Settings = settings
        self.name: str = settings.name
        self.prefix: str = settings.prefix
        self.daemon: bool = settings.daemon
        self.keep_alive: float | None = settings.keep_alive
        self.minimum: int = settings.minimum
        self.maximum: int = settings.maximum
        self.nobody: Nobody = Nobody(self)
        self.renew()

    def renew(self) -> None:
        """Make the state of a new pool; also that of a pool in a forked child."""
        self.born: int = fork.generation()
        self.queue: JobQueue = JobQueue(self.settings.queue_size)
        self.idle: list[Parker] = []
        self.waking: bool = False
        self.running: dict[Worker, Sink] = {}
        self.workers: dict[Worker, None] = {}
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
        self.overdue: dict[Limited, Worker | None] = {}
        self.outboxes: dict[object, Outbox] = {}
        self.past: Totals = Totals()
        self.life: LockType = allocate_lock()
        self.roster: LockType = allocate_lock()

    # -- taking work: nothing here blocks ------------------------------------------

    def enqueue(self, record: Record, urgency: Urgency = NORMAL) -> None:
        """Queue a record, and see to it that somebody runs it.

        In a bounded pool the caller has taken a place in `queue.room`.

        Raises:
            PoolClosed: If the pool takes no work.
            PoolBroken: If the initializer of a worker has failed.
            PoolError: If no worker can be started.
        """
        if not stamp[0]:
            fork.generation()  # an unhooked fork: this renews every pool
        if not self.plain:
            self.admit()
        if urgency is NORMAL:
            self.queue.normal.append(record)
        else:
            self.queue.put(record, urgency)
        # Queued first, looked at second: either a stop in between sees the record, or
        # this sees the stop.
        if not self.plain:
            self._check_again(record)
        if self.marked is None:
            self.marked_at = monotonic()
            self.marked = record
        if self.idle:
            if not self.waking:
                self.kick()
        elif self.seats:
            self._grow_for(record)

    def admit(self) -> None:
        """Refuse work that the pool cannot take."""
        if self.broken is not None:
            raise PoolBroken(self.broken)

        if self.refusing is not None:
            self.refused.add()
            raise PoolClosed(self.refusing)

        if (
            lifecycle.exiting()
            and threading.current_thread() is threading.main_thread()
        ):
            # Other threads may still submit; once they have ended nobody joins ours.
            self.refused.add()
            raise PoolClosed(AFTER_EXIT)

    def _check_again(self, record: Record) -> None:
        if (self.refusing is not None or self.broken is not None) and claim(record):
            self.queue.emptied()
            self.admit()

    def kick(self) -> None:
        """Wake one idle worker; it wakes the next if there is more to do."""
        try:
            parker = self.idle.pop()
        except IndexError:
            self.grow_if_needed()
            return

        self.waking = True
        parker.wake()

    def enqueue_all(self, records: list[Record]) -> None:
        """Queue many records of normal urgency at once; see `enqueue`.

        When it raises, the caller takes back what it can still `claim`.
        """
        if not stamp[0]:
            fork.generation()
        if not self.plain:
            self.admit()
        self.queue.normal.extend(records)
        if not self.plain:
            self.admit()
        try:
            self.rouse(len(records))
        except RuntimeError as error:
            if not self.workers:
                raise PoolError(
                    f"pool {self.name!r} cannot start a thread: {error}"
                ) from error

    def rouse(self, jobs: int) -> None:
        """See to it that work is run, after `jobs` records were queued at once."""
        if self.idle:
            if not self.waking:
                self.kick()
            jobs -= 1
        while jobs > 0 and self.grow_if_needed():
            jobs -= 1

    def grow_if_needed(self) -> bool:
        """Start a worker, if there is more to do than workers will take."""
        if not self.seats or not self._is_short():
            return False

        return self.grow()

    def _is_short(self) -> bool:
        queue = self.queue
        waiting = len(queue) if queue.mixed else len(queue.normal)
        return len(self.workers) - len(self.running) < waiting

    def _grow_for(self, record: Record) -> None:
        try:
            self.grow_if_needed()
        except RuntimeError as error:
            if self.workers:
                return  # they will run it

            if claim(record) is None:
                return

            self.queue.emptied()
            self.refused.add()
            if lifecycle.exiting():
                raise PoolClosed(AFTER_EXIT) from error
            raise PoolError(
                f"pool {self.name!r} cannot start a thread: {error}"
            ) from error

    def grow(self) -> bool:
        """Start a worker on a free seat; False if there is none.

        Raises:
            RuntimeError: If the system has no thread to give.
        """
        try:
            number = self.seats.popleft()
        except IndexError:
            return False

        worker = Worker(self, number)
        self.workers[worker] = None
        try:
            worker.thread.start()
        except BaseException:
            self.workers.pop(worker, None)
            self.seats.appendleft(number)
            raise
        return True

    # -- what workers do -----------------------------------------------------------

    def initialise(self) -> bool:
        """Run the initializer in a new worker; False if the pool is broken by it."""
        initializer = self.settings.initializer
        if initializer is None:
            return True

        try:
            initializer()
        except BaseException:  # noqa: BLE001 - it breaks the pool, not this thread
            _executor_log.critical("Exception in initializer:", exc_info=True)
            self._break(
                "A thread initializer failed, the thread pool is not usable anymore"
            )
            return False
        return True

    def _break(self, why: str) -> None:
        self.broken = why
        self.plain = False
        while True:
            record = self.queue.take_oldest()
            if record is None:
                break
            sink = claim(record)
            if sink is not None:
                sink.fail(PoolBroken(why))
        self.draining = True
        self.wake_all()

    def unmark(self) -> None:
        """Note how long the marked record has waited; the next one is marked."""
        self.last_wait = monotonic() - self.marked_at
        self.marked = None

    def dismiss(self, worker: Worker) -> bool:
        """Tell a worker whether it is one of those that are to go."""
        try:
            with_seat = self.requests.popleft()
        except IndexError:
            return False

        worker.keeps_seat = not with_seat
        return True

    def retire(self, worker: Worker) -> bool:
        """Let a worker go that was idle for long, unless too few would stay."""
        with self.roster:
            if len(self.workers) <= self.minimum:
                return False

            self.workers.pop(worker, None)
            return True

    def leave(self, worker: Worker) -> bool:
        """Let a worker go; False if there is work again and it must stay."""
        with self.roster:
            self.workers.pop(worker, None)
            if worker.keeps_seat:
                self.seats.append(worker.number)
        if self.queue.has_work() and self.broken is None:
            # Left first, looked at second, as everywhere.
            if worker.keeps_seat and self._return_to_seat(worker):
                return False
            self.rouse(1)
        with self.roster:
            self.past.add(worker)
        self.somebody_left()
        return True

    def somebody_left(self) -> None:
        """Tell who waits for the end of the pool."""
        raise NotImplementedError

    def _return_to_seat(self, worker: Worker) -> bool:
        try:
            self.seats.remove(worker.number)
        except ValueError:
            return False  # somebody starts a worker there already

        self.workers[worker] = None
        return True

    def give_up(self, worker: Worker) -> None:
        """Replace a worker that is stuck in a job which nobody waits for any more."""
        with self.roster:
            if self.workers.pop(worker, False) is False:
                return

            worker.lost = True
            self.running.pop(worker, None)
            self.past.add(worker)
            self.seats.append(next(self.numbers))
        self.grow_if_needed()
        self.somebody_left()

    def here(self) -> Worker | None:
        """Return the worker that the calling thread is, if it is one of this pool."""
        worker = worker_here()
        return worker if worker in self.workers else None

    def run_here(self, record: Record) -> bool:
        """Run a queued record in the calling worker, if waiting would never end.

        That is so when every worker of the full pool waits like this one.
        """
        if self.idle or self.seats or not self.running:
            return False

        worker = self.here()
        if worker is None:
            return False

        sink = take_to_run(record)
        if sink is None:
            return False

        self.queue.emptied()
        if self.queue.room is not None:
            self.queue.room.free()
        run_claimed(self, sink, record)
        worker.done += 1
        return True

    # -- what both do ---------------------------------------------------------------

    def wake_all(self) -> None:
        """Wake every idle worker, to look around."""
        while True:
            try:
                self.idle.pop().wake()
            except IndexError:
                return

    def withdrew(self, sink: Sink) -> None:
        """Count a queued job that was taken out with `claim`."""
        if isinstance(sink, Limited):
            sink.forget()
        self.cancelled.add()
        self.queue.emptied()
        self.marked = None
        if self.queue.room is not None:
            self.queue.room.free()
        if self.refusing is not None:
            self.somebody_left()

    def run_anyway(self, record: Record) -> None:
        """Queue a record of the pool's own, also while it refuses work."""
        self.queue.normal.append(record)
        self.rouse(1)

    def report(self, error: BaseException, what: str) -> None:
        """Tell of an exception that nobody else will see; never raises."""
        report(self.settings.on_unhandled, error, f"{what} in pool {self.name!r}")
