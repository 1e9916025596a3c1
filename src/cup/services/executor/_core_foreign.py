"""A crew somewhere else: any `concurrent.futures.Executor` runs the jobs.

Such executors are first in, first out, and take whatever they are given. So jobs wait
here, by urgency, and only about as many are handed over as there are workers. Handing
over may block (a pipe, a scheduler far away): it is done on a thread of its own, never
on that of the timers.

Not here: what happens inside of the workers (`_core_remote`), and where executors
come from (`_core_backing`).
"""

from __future__ import annotations

import itertools
from collections import deque
from contextvars import Context
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from cup._core import timekeeper
from cup._core.lifecycle import Stage
from cup._core.program import Program
from cup.errors import JobCancelled
from cup.services.threadpool._core_queue import JobQueue
from cup.services.threadpool._core_record import claim, is_claimed, take_to_run

from ._core_backing import Backing
from ._core_flight import (
    Flight,
    late_in_queue,
    late_in_run,
    shares_memory,
    workers_of,
)
from ._core_lane import Counts
from ._core_remote import call_here, call_there, unpack
from ._core_stats import Count

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from cup._core.interrupt import Interrupt
    from cup.services.threadpool._core_record import Record, Sink

    from ._core import ExecutorCore
    from .api import Backend, ProgramSeat
    from .api_values import JobOptions, OnBroken

__all__ = ["ForeignCrew"]

_AT_ONCE = float("-inf")
_ATTEMPTS = 3  # of a job whose executor breaks, where it is to be tried again


class ForeignCrew(Program):
    """Hands jobs to an executor, as a program on a thread of its own."""

    stage = Stage.POOLS  # at exit, what is queued is still handed over

    __slots__ = (
        "_again",
        "_backing",
        "_cancelled",
        "_closing",
        "_core",
        "_done",
        "_failed",
        "_flying",
        "_numbers",
        "_on_broken",
        "_queue",
        "_seat",
        "_slots",
        "_timeouts",
        "_workers",
        "is_local",
    )

    def __init__(
        self,
        core: ExecutorCore,
        backend: Backend,
        workers: int | None,
        on_broken: OnBroken,
    ) -> None:
        super().__init__()
        self._core = core
        self._backing = Backing(backend)
        self._workers = workers
        self._on_broken = on_broken
        self._queue = JobQueue(None)
        self._slots: deque[None] | None = None
        self._flying: dict[Flight, None] = {}
        self._again: deque[Flight] = deque()
        self._timeouts: dict[int, float | None] = {}
        self._numbers = itertools.count()
        self._closing = False
        self._seat: ProgramSeat | None = None
        self.is_local: bool = shares_memory(self._backing.executor)
        self._begin_accounts()

    def _begin_accounts(self) -> None:
        self._done = Count()
        self._failed = Count()
        self._cancelled = Count()

    # -- what lanes ask ------------------------------------------------------------

    def take_in(self, record: Record, options: JobOptions, /) -> None:
        """Queue a record, to be handed over when there is room."""
        if options.queue_timeout is not None:
            timeout = options.queue_timeout
            timekeeper.call_at(
                monotonic() + timeout, partial(self._queued_too_long, record, timeout)
            )
        # Also without one: another record may have had this identity before.
        self._timeouts[id(record)] = options.run_timeout
        self._queue.put(record, options.urgency)
        self._nudge()

    def withdrew(self, _: Sink, /) -> None:
        """Count a job that was taken out of the queue."""
        self._cancelled.add()
        self._queue.emptied()
        self._core.something_ended()

    def interrupt(self, _: Sink, __: Interrupt, /) -> bool:
        """Return False: nothing reaches into a foreign worker."""
        return False

    def run_here(self, _: Record, /) -> bool:
        """Return False: the job is for workers of another kind."""
        return False

    def may_starve(self, _: Record, /) -> bool:
        """Return False: nobody who waits is one of the workers."""
        return False

    def relieve(self) -> None:
        """Do nothing."""

    def busy(self) -> int:
        """Return how many jobs have not ended; one more until the executor is shut."""
        executors = self._backing.held() if self._core.refusing else 0
        return len(self._queue) + len(self._flying) + executors

    def counts(self) -> Counts:
        """Return the figures of this moment."""
        return Counts(
            queued=len(self._queue),
            running=len(self._flying),
            done=self._done.value,
            failed=self._failed.value,
            cancelled=self._cancelled.value,
        )

    def labels(self) -> list[str]:
        """Name what has been handed over and has not ended."""
        return [str(getattr(each.sink, "label", "a job")) for each in self._flying]

    def open(self) -> None:
        """Take work: the executor starts."""
        self._closing = False
        self._seat = self._core.settings.source.add(self)
        self._nudge()

    def close(self) -> None:
        """Finish what is queued, then shut the executor down if it is our own."""
        self._closing = True
        self._nudge()

    def cancel_queued(self) -> None:
        """Cancel what was not handed over."""
        while (record := self._queue.take_oldest()) is not None:
            sink = claim(record)
            if sink is not None:
                self._cancelled.add()
                sink.drop()

    def end(self) -> None:
        """Let the thread go; nothing is queued any more."""
        seat, self._seat = self._seat, None
        if seat is not None:
            seat.stop()

    def vanish(self) -> None:
        """Begin anew in a forked child: what was handed over stayed in the parent."""
        queued = [
            record.pop()
            for line in (self._queue.high, self._queue.normal, self._queue.low)
            for record in line
            if not is_claimed(record)
        ]
        flying = [flight.sink for flight in self._flying]
        self._queue = JobQueue(None)
        self._flying = {}
        self._again.clear()
        self._slots = None
        self.effects.clear()
        self._begin_accounts()
        self._backing.abandon()
        if self._seat is not None:
            self._seat = self._core.settings.source.add(self)
        for sink in (*queued, *flying):
            sink.vanish()

    def _nudge(self) -> None:
        seat = self._seat
        if seat is not None:
            seat.nudge(_AT_ONCE)

    def _queued_too_long(self, record: Record, timeout: float) -> None:
        sink = claim(record)
        if sink is None:
            return

        self.withdrew(sink)
        sink.fail(late_in_queue(self._core.name, timeout))

    # -- the program ---------------------------------------------------------------

    @override
    def step(self, now: float) -> None:
        """Take as many jobs as there is room for."""
        slots = self._slots
        if slots is None:
            if not (len(self._queue) or self._again):
                self._close_if_idle()
                return

            self.effects.append(self._open_executor)
            return

        while self._again and slots:
            flight = self._again.popleft()
            flight.slots = slots
            slots.popleft()
            self.effects.append(partial(self._launch, flight))
        while self._queue.has_work() and slots:
            try:
                record = self._queue.take()
            except IndexError:
                break
            timeout = self._timeouts.pop(id(record), None)
            taken = take_to_run(record)
            if taken is None:
                self._queue.met_husk()
                continue

            slots.popleft()
            fn, context, args, kwargs, sink = taken
            flight = Flight((context, fn, args, kwargs), sink, timeout, slots)
            self._flying[flight] = None
            self.effects.append(partial(self._launch, flight))
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._closing and not len(self._queue) and not self._flying:
            self.effects.append(self._shut)

    def _shut(self) -> None:
        if self._backing.shut():
            self._slots = None
        self._core.something_ended()

    def _open_executor(self) -> None:
        """Have an executor, and know how many jobs it gets at once."""
        try:
            executor = self._backing.open()
        except Exception as error:  # noqa: BLE001 - it goes to who waits
            self._fail_queued(error)
            return

        self.is_local = shares_memory(executor)
        workers = self._workers or workers_of(executor)
        # One more than can run: a worker that ends finds its next job there.
        self._slots = deque([None] * (workers + 1))
        self._nudge()

    def _fail_queued(self, error: Exception) -> None:
        while (record := self._queue.take_oldest()) is not None:
            sink = claim(record)
            if sink is not None:
                self._failed.add()
                self._tell(sink.fail, error)
        self._core.something_ended()

    def _launch(self, flight: Flight) -> None:
        """Hand a job over; this may block."""
        executor = self._backing.executor
        if executor is None:
            self._again.append(flight)  # it broke meanwhile
            self._nudge()
            return

        context, fn, args, kwargs = flight.call
        future: Future[Any]
        try:
            if self.is_local:
                local = (context or Context(), fn, args, kwargs)
                future = executor.submit(call_here, local)
            else:
                number = next(self._numbers)
                future = executor.submit(call_there, (number, fn, args, kwargs))
        except Exception as error:  # noqa: BLE001 - it goes to who waits
            self._lost(flight, executor, error)
            return

        if flight.timeout is not None:
            timekeeper.call_at(
                monotonic() + flight.timeout, partial(self._too_long, flight, future)
            )
        future.add_done_callback(partial(self._landed, flight, executor))

    def _too_long(self, flight: Flight, future: Future[Any]) -> None:
        if not flight.end():
            return

        future.cancel()
        self._failed.add()
        self._tell(flight.sink.fail, late_in_run(flight.timeout))

    def _landed(self, flight: Flight, executor: Executor, future: Future[Any]) -> None:
        """Take what came of a job; called by the executor."""
        if future.cancelled():
            cancelled = JobCancelled("the job was cancelled in its executor")
            self._end(flight, self._failed, flight.sink.fail, cancelled)
            return

        error = future.exception()
        if error is not None:
            self._lost(flight, executor, error)
            return

        value: Any = None
        try:
            value = future.result() if self.is_local else unpack(future.result())
        except BaseException as raised:  # noqa: BLE001 - it goes to who waits
            self._end(flight, self._failed, flight.sink.fail, raised)
            return

        self._end(flight, self._done, flight.sink.succeed, value)

    def _lost(self, flight: Flight, executor: Executor, error: BaseException) -> None:
        """Take it that a job failed outside of its function, or that it raised."""
        if self._backing.lose(executor, error, self._core.something_ended):
            if self._backing.executor is None:
                self._slots = None
            if self._on_broken == "retry" and flight.attempt < _ATTEMPTS:
                flight.attempt += 1
                self._again.append(flight)
                self._nudge()
                return

        self._end(flight, self._failed, flight.sink.fail, error)

    def _end(
        self,
        flight: Flight,
        count: Count,
        tell: Callable[[Any], object],
        outcome: object,
    ) -> None:
        """Free the place of a job, and tell who waits."""
        flight.slots.append(None)
        first = flight.end()
        if first:
            count.add()
        self._flying.pop(flight, None)
        self._nudge()
        if first:
            self._tell(tell, outcome)
        self._core.something_ended()

    def _tell(self, tell: Callable[[Any], object], outcome: object) -> None:
        try:
            tell(outcome)
        except BaseException as error:  # noqa: BLE001 - a callback must not end us
            self._core.report(error, "what was told of a job's end failed")
