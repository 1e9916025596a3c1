"""A worker: one thread that takes records and runs them.

Its loop is the hot path of the pool. It leans on single steps of deques and dicts, and
on one rule, everywhere: publish first, look second. A submitter appends its record and
then looks for idle workers; a worker publishes itself as idle and then looks for
records. One of the two sees the other.

A worker is marked free before it delivers a result, so that who gets the result and
submits the next job finds it free. Delivering wakes somebody, who often runs at once
and submits the next job while the worker has not come back to the queue: as long as
`coming` says that it will at once, no other is woken for that job.
"""

from __future__ import annotations

import sys
from _thread import allocate_lock, get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any

from cup._core import fork
from cup._core.fork import stamp
from cup._core.interrupt import Interrupt, Target
from cup._core.park import make_parker
from cup._core.threads import OwnThread
from cup.errors import JobCancelled, JobInterrupted

from ._core_stats import Totals

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from types import FrameType

    from ._core_record import Record, Sink
    from ._core_staff import Staff

__all__ = ["Worker", "worker_here"]

_SAMPLE = 7  # a mask: one job in eight is timed


_workers: dict[int, Worker] = {}
fork.on_fork(_workers.clear)


def worker_here() -> Worker | None:
    """Return the worker that the calling thread is."""
    return _workers.get(get_ident())


class Worker(Totals):
    """One thread of a pool, and what only it counts.

    Attributes:
        number: Its number in the pool, free again when it leaves.
        lost: Whether its pool has given it up: it must touch nothing any more.
        keeps_seat: Whether the pool may have another worker once it has left.
        current: The sink of the job that runs, while that can be interrupted.
    """

    done: int
    failed: int

    __slots__ = (
        "_claim",
        "_claims",
        "_parker",
        "_target",
        "core",
        "current",
        "keeps_seat",
        "lost",
        "number",
        "thread",
    )

    def __init__(self, core: Staff, number: int) -> None:
        super().__init__()
        self.core: Staff = core
        self._parker = make_parker()
        self.number: int = number
        self.lost: bool = False
        self.keeps_seat: bool = True
        self.current: Sink | None = None
        self._claim: Sink | None = None
        self._claims = allocate_lock()
        self._target = Target()
        self.thread: OwnThread = OwnThread(
            self._run, name=f"{core.prefix}_{number}", daemon=core.daemon
        )

    def _run(self) -> None:
        _workers[get_ident()] = self
        self._target.open()
        try:
            if self.core.initialise():
                self._live()
            else:
                self.core.leave(self)
        finally:
            self._target.close()
            if self.lost and stamp[0]:
                self.core.overstayed(self)
            _workers.pop(get_ident(), None)

    def _live(self) -> None:
        while True:
            self.core.coming = False  # what is raised here may have left it behind
            try:
                self._work()
            except BaseException as error:  # noqa: BLE001 - an interrupt, see `_settle`
                sink = self._settle()
                if sink is not None:
                    self._fail(sink, error)
                else:
                    self.core.report(error, "a worker failed")
                continue
            if self.gone() or self.core.leave(self):
                return

    def wake(self) -> None:
        """Make the worker look around, if it is idle; thread-safe."""
        self._parker.wake()

    def function(self) -> object:
        """Return the function of the job that runs, as far as it can be told.

        It is read from the frames of the thread: to note it would cost every job.
        """
        frames: Callable[[], dict[int, FrameType]] = vars(sys)["_current_frames"]
        frame = frames().get(self.thread.ident or 0)
        while frame is not None and frame.f_code is not Worker._perform.__code__:
            frame = frame.f_back
        found = {} if frame is None else frame.f_locals
        fn = found.get("fn")
        # One that has a limit runs inside of its sink.
        limited = getattr(fn, "__self__", self) is found.get("sink")
        return found["args"][0] if limited else fn

    def gone(self) -> bool:
        """Tell whether this thread is no worker any more: given up, or in a child."""
        return self.lost or not stamp[0]

    def _work(self) -> None:
        """Run records until it is time to leave."""
        core = self.core
        queue = core.queue
        pop = queue.normal.popleft
        perform = self._perform
        while True:
            try:
                record = queue.take() if queue.mixed else pop()
            except IndexError:
                if self._await_work():
                    continue
                return

            if record is core.marked:
                core.unmark()
            if not perform(record):
                queue.met_husk()
            if self.lost or not stamp[0] or (core.requests and core.dismiss(self)):
                return

    def _perform(self, record: Record) -> bool:
        """Run a record and deliver what came of it; False if somebody else took it."""
        try:
            fn, context, args, kwargs, sink = record
            if record.pop() is not sink:  # read first, taken second
                return False
        except (IndexError, ValueError):
            return False

        record.clear()
        core = self.core
        core.running[self] = sink
        if core.bounded and sink is not core.herald:
            core.free_place()
        # Counted as running first, looked at second: a submitter in between saw a
        # worker that would come for its job, and now it does not.
        if not core.waking and core.queue.has_work() and (core.idle or core.seats):
            core.engage()
        try:
            self.current = sink  # from here on the job can be interrupted
            if not self.done & _SAMPLE:
                value = self._run_timed(context, fn, args, kwargs)
            elif args or kwargs:
                value = context.run(fn, *args, **kwargs)
            else:
                value = context.run(fn)  # takes a third of the other call
            self.current = None
            if self._claim is not None:
                self._settle()
        except BaseException as error:  # noqa: BLE001 - it goes to who waits
            del fn, context, args, kwargs
            self._fail(sink, error)
            del sink  # no cycle through the traceback
        else:
            del fn, context, args, kwargs
            self._succeed(sink, value)
        return True

    def _run_timed(
        self,
        context: Context,
        fn: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        """Run one call of the sample."""
        start = monotonic()
        try:
            return context.run(fn, *args, **kwargs)
        finally:
            self.sample(monotonic() - start)

    # -- the end of a job ----------------------------------------------------------

    def _succeed(self, sink: Sink, value: Any) -> None:
        self.done += 1
        self.core.running.pop(self, None)
        if self.lost or not stamp[0]:  # `gone`, without the call
            return

        if sink.brief:
            self.core.coming = True
        try:
            sink.succeed(value)
        except BaseException as error:  # noqa: BLE001 - a callback must not end us
            self.core.report(error, "what was told of a job's end failed")
        self.core.coming = False  # from here on it looks at the queue

    def _fail(self, sink: Sink, error: BaseException) -> None:
        self.current = None
        if self._claim is not None:
            self._settle()
        self.done += 1
        self.failed += 1
        self.core.running.pop(self, None)
        if self.lost or not stamp[0]:  # `gone`, without the call
            return

        if isinstance(error, JobInterrupted):
            cancelled = JobCancelled("the job was interrupted while it ran")
            cancelled.__cause__ = error
            error = cancelled
        try:
            sink.fail(error)
        except BaseException as second:  # noqa: BLE001 - a callback must not end us
            self.core.report(second, "what was told of a job's end failed")

    # -- interrupts ----------------------------------------------------------------

    def interrupt(self, sink: Sink, interrupt: Interrupt) -> bool:
        """Interrupt the job of `sink`, if this worker runs it; thread-safe.

        The claim is made first, then the current job is looked at; the worker says
        first that its job has ended, then looks for a claim. So either this sees that
        the job has ended, or the worker sees the claim and settles it, before it does
        anything else: no interrupt reaches another job or the pool.
        """
        with self._claims:
            self._claim = sink
            if self.current is not sink:
                self._claim = None
                return False

            return self._target.post(interrupt)

    def give_up(self, sink: Sink) -> bool:
        """Cut this worker off from its pool while it runs the job of `sink`."""
        with self._claims:
            self._claim = sink
            if self.current is not sink or self.lost:
                return False

            self.lost = True
            return True

    def _settle(self) -> Sink | None:
        """See to it that no interrupt of the job that has ended comes any more.

        Until then one may be raised anywhere in this thread: inside of the `try` around
        the job, or, when the job itself has raised, on the way from there to here;
        `_live` catches that one.
        """
        self.current = None
        with self._claims:
            self._target.withdraw()
            sink, self._claim = self._claim, None
        return sink

    # -- between jobs --------------------------------------------------------------

    def _await_work(self) -> bool:
        """Park until there may be work; False when it is time to leave."""
        core = self.core
        if core.requests and core.dismiss(self):
            return False

        if core.draining and not core.queue.has_work():
            return False

        parker = self._parker
        woken = True
        core.idle.append(parker)
        try:
            # Published first, looked at second.
            if not (core.queue.has_work() or core.requests or core.draining):
                if core.keep_alive is None or len(core.workers) <= core.minimum:
                    parker.park()
                else:
                    woken = parker.park_until(monotonic() + core.keep_alive)
        finally:
            core.idle.remove(parker)
            core.waking = False  # who wakes the next one finds another in `idle`
        return woken or core.queue.has_work() or not core.retire(self)
