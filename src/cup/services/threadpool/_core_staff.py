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
from ._core_record import (
    Herald,
    Nobody,
    Record,
    Sink,
    claim,
    is_claimed,
    run_claimed,
    take_to_run,
)
from ._core_roster import Roster
from ._core_worker import Worker
from .api import Urgency

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        self.herald: Herald = Herald(self)
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
        if not self.marked:  # also when it was started before it was marked
            self.marked_at = monotonic()
            self.marked = record
        if self.idle:
            if not self.waking and not self.coming:
                self.kick()
        elif self.seats:
            self._grow_for(record)

    def enqueue_all(self, records: list[Record]) -> None:
        """Queue many records of normal urgency at once; see `enqueue`.

        When it raises, none is queued. What fails later is told to the sinks.
        """
        if not stamp[0]:
            fork.generation()
        if not self.plain:
            self.admit()
        self.queue.normal.extend(records)
        if not self.plain:
            refusal = self._refusal()
            if refusal is not None:
                self._fail(records, refusal)
        try:
            self.rouse(len(records))
        except RuntimeError as error:
            if not self.workers and not self._run_queued():
                self._fail_queued(self._threadless(error))

    def admit(self) -> None:
        """Refuse work that the pool cannot take."""
        refusal = self._refusal()
        if refusal is not None:
            self.refused.add()
            raise refusal

    def _refusal(self) -> PoolError | None:
        if self.broken is not None:
            return PoolBroken(self.broken)

        if self.refusing is not None:
            return PoolClosed(self.refusing)

        if (
            lifecycle.exiting()
            and threading.current_thread() is threading.main_thread()
        ):
            # Other threads may still submit; once they have ended nobody joins ours.
            return PoolClosed(AFTER_EXIT)
        return None

    def _check_again(self, record: Record) -> None:
        refusal = self._refusal()
        if refusal is not None and claim(record) is not None:
            self.queue.emptied()
            self.refused.add()
            raise refusal

    def _threadless(self, error: RuntimeError) -> PoolError:
        """Return the error of a pool that has no worker and cannot start one."""
        return PoolError(f"pool {self.name!r} cannot start a thread: {error}")

    def _run_queued(self) -> bool:
        """Run what is queued in a late thread; False unless the interpreter exits.

        Some interpreters start no thread any more when the main one has ended.
        """
        if not lifecycle.exiting():
            return False

        while self.queue.has_work():
            try:
                taken = take_to_run(self.queue.take())
            except IndexError:
                break
            if taken is None:
                self.queue.met_husk()
                continue

            if taken[-1] is not self.herald:
                self.free_place()
            self.run_aside(taken)
        return True

    def _fail(self, records: Iterable[Record], error: PoolError) -> None:
        """Take back what was queued and has not started; tell the sinks why."""
        for record in records:
            sink = claim(record)
            if sink is None:
                continue
            self.refused.add()
            self.queue.emptied()
            self.free_place()
            try:
                sink.fail(error)
            except BaseException as second:  # noqa: BLE001 - a callback must not end us
                self.report(second, "what was told of a job's end failed")

    def _fail_queued(self, error: PoolError) -> None:
        """Fail everything that is queued: nobody will ever come for it."""
        records: list[Record] = []
        while (record := self.queue.take_oldest()) is not None:
            records.append(record)
        self._fail(records, error)

    def rouse(self, jobs: int) -> None:
        """See to it that work is run, after `jobs` records were queued at once."""
        if self.idle:
            if not self.waking and not self.coming:
                self.kick()
            jobs -= 1
        while jobs > 0 and self.grow_if_needed():
            jobs -= 1

    def _grow_for(self, record: Record) -> None:
        try:
            self.grow_if_needed()
        except RuntimeError as error:
            if self.workers or self._run_queued():
                return  # they will run it, or it has run

            failure = self._threadless(error)
            mine = claim(record) is not None
            # Others may have counted on the worker that could not be started.
            self._fail_queued(failure)
            if mine:
                self.refused.add()
                raise failure from error

    def run_here(self, record: Record) -> bool:
        """Run a queued record in the calling worker, if waiting would never end.

        That is so when every worker of the full pool waits like this one.
        """
        if self.idle or self.seats or not self.running:
            return False

        worker = self.here()
        if worker is None:
            return False

        taken = take_to_run(record)
        if taken is None:
            return False

        self.queue.emptied()
        self.free_place()
        outer = self.nested.get(worker)
        self.nested[worker] = taken[-1]
        try:
            self.run_aside(taken)
        finally:
            if outer is None:
                del self.nested[worker]
            else:
                self.nested[worker] = outer
        return True

    def may_starve(self, record: Record) -> bool:
        """Tell whether the caller has to look again for work that it waits for.

        That is so in a worker of this pool, while the work is queued: all others may
        come to wait, too.
        """
        return not is_claimed(record) and self.here() is not None

    def run_aside(self, taken: Record) -> None:
        """Run a call that was taken, outside of a worker's loop."""
        failed = run_claimed(self, taken)
        self.aside.add()
        if failed:
            self.aside_failed.add()

    def run_anyway(self, record: Record) -> None:
        """Have a worker run a record of the pool's own, also while it refuses work."""
        self.queue.put_own(record)
        try:
            self.rouse(1)
        except RuntimeError:
            taken = None if self.workers else take_to_run(record)
            if taken is not None:  # nobody else ever would
                self.run_aside(taken)

    def withdrew(self, sink: Sink) -> None:
        """Count a queued job that was taken out with `claim`."""
        if isinstance(sink, Limited):
            sink.forget()
        self.cancelled.add()
        self.queue.emptied()
        self.marked = None
        self.free_place()
        if self.refusing is not None:
            self.somebody_left()

    def free_place(self) -> None:
        """Give the place of a record that has left a bounded queue back."""
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
        if self.queue.room is not None:
            self.queue.room.close()
        self._fail_queued(PoolBroken(why))
        self.draining = True
        self.wake_all()
