"""How work reaches the workers of a pool.

Everything that a submitter touches is a single step of a deque or dict, so that jobs
can be submitted from signal handlers and finalizers; see `_core_worker` for the rule
that makes this right.

Not here: who works (`_core_roster`), how a pool starts and ends (`_core`), options of
jobs (`_core_limits`).
"""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from cup._core import fork, lifecycle
from cup._core.fork import stamp
from cup.errors import PoolBroken, PoolClosed, PoolError

from ._core_limits import Limited
from ._core_record import Nobody, Record, Sink, claim, run_claimed, take_to_run
from ._core_roster import Roster
from ._core_worker import Worker
from .api import Urgency

if TYPE_CHECKING:
    from ._core_settings import Settings

__all__ = ["AFTER_EXIT", "Staff"]

NORMAL: Final = Urgency.NORMAL
AFTER_EXIT = "cannot schedule new futures after interpreter shutdown"

_executor_log = logging.getLogger("concurrent.futures")  # where its users look


class Staff(Roster):
    """The queue of one pool, before its workers."""

    # Declared again: this class sets what its base declares.
    broken: str | None
    draining: bool
    last_wait: float
    marked: Record | None
    marked_at: float
    plain: bool

    def __init__(self, settings: Settings) -> None:
        self.nobody: Nobody = Nobody(self)
        super().__init__(settings)

    def make_worker(self, number: int) -> Worker:
        """Return a worker for a seat, not started."""
        return Worker(self, number)

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

    def rouse(self, jobs: int) -> None:
        """See to it that work is run, after `jobs` records were queued at once."""
        if self.idle:
            if not self.waking:
                self.kick()
            jobs -= 1
        while jobs > 0 and self.grow_if_needed():
            jobs -= 1

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

    def run_anyway(self, record: Record) -> None:
        """Queue a record of the pool's own, also while it refuses work."""
        self.queue.normal.append(record)
        self.rouse(1)

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

    def free_place(self) -> None:
        """Give the place of a record that has started back, in a bounded pool."""
        room = self.queue.room
        if room is not None:
            room.free()

    def unmark(self) -> None:
        """Note how long the marked record has waited; the next one is marked."""
        self.last_wait = monotonic() - self.marked_at
        self.marked = None

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
