"""A worker: one thread that takes records and runs them.

Its loop is the hot path of the pool. It leans on single steps of deques and dicts, and
on one rule, everywhere: publish first, look second. A submitter appends its record and
then looks for idle workers; a worker publishes itself as idle and then looks for
records. One of the two sees the other.

A worker is marked free before it delivers a result, so that who gets the result and
submits the next job finds it free.
"""

from __future__ import annotations

from _thread import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any

from cup._core import fork
from cup._core.fork import stamp
from cup._core.park import make_parker
from cup._core.threads import make_thread

from ._core_stats import Totals

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from contextvars import Context

    from ._core_record import Sink
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
    """

    done: int
    failed: int

    __slots__ = ("_parker", "core", "keeps_seat", "lost", "number", "thread")

    def __init__(self, core: Staff, number: int) -> None:
        super().__init__()
        self.core: Staff = core
        self._parker = make_parker()
        self.number: int = number
        self.lost: bool = False
        self.keeps_seat: bool = True
        self.thread: threading.Thread = make_thread(
            self._run, name=f"{core.prefix}_{number}", daemon=core.daemon
        )

    def _run(self) -> None:
        _workers[get_ident()] = self
        try:
            self._live()
        finally:
            _workers.pop(get_ident(), None)

    def _live(self) -> None:
        core = self.core
        if not core.initialise():
            core.leave(self)
            return

        while True:
            self._work()
            if self.gone() or core.leave(self):
                return

    def gone(self) -> bool:
        """Tell whether this thread is no worker any more: given up, or in a child."""
        return self.lost or not stamp[0]

    def _work(self) -> None:
        """Run records until it is time to leave."""
        core = self.core
        queue = core.queue
        pop = queue.normal.popleft
        room = queue.room
        running = core.running
        idle = core.idle
        while True:
            try:
                record = queue.take() if queue.mixed else pop()
            except IndexError:
                if self._await_work():
                    continue
                return

            if record is core.marked:
                core.unmark()
            try:
                sink: Sink = record.pop()
            except IndexError:
                queue.met_husk()
                continue

            fn, context, args, kwargs = record
            record.clear()
            running[self] = sink
            if room is not None:
                room.free()
            if idle and not core.waking and queue.has_work():
                core.kick()
            try:
                if self.done & _SAMPLE:
                    value = context.run(fn, *args, **kwargs)
                else:
                    value = self._run_timed(context, fn, args, kwargs)
            except BaseException as error:  # noqa: BLE001 - it goes to who waits
                del fn, context, args, kwargs
                self._fail(sink, error)
            else:
                del fn, context, args, kwargs
                self._succeed(sink, value)
                del value
            del sink, record
            if self.lost or not stamp[0] or (core.requests and core.dismiss(self)):
                return

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

    def _succeed(self, sink: Sink, value: Any) -> None:
        self.done += 1
        self.core.running.pop(self, None)
        if self.gone():
            return

        try:
            sink.succeed(value)
        except BaseException as error:  # noqa: BLE001 - a callback must not end us
            self.core.report(error, "what was told of a job's end failed")

    def _fail(self, sink: Sink, error: BaseException) -> None:
        self.done += 1
        self.failed += 1
        self.core.running.pop(self, None)
        if self.gone():
            return

        try:
            sink.fail(error)
        except BaseException as second:  # noqa: BLE001 - a callback must not end us
            self.core.report(second, "what was told of a job's end failed")

    def _await_work(self) -> bool:
        """Park until there may be work; False when it is time to leave."""
        core = self.core
        if core.dismiss(self) or (core.draining and not core.queue.has_work()):
            return False

        idle = core.idle
        parker = self._parker
        idle.append(parker)
        # Published first, looked at second.
        if core.queue.has_work() or core.requests or core.draining:
            try:
                idle.remove(parker)
            except ValueError:
                parker.park()  # somebody is waking us: consume it
                core.waking = False
            return True

        if core.keep_alive is None or len(core.workers) <= core.minimum:
            parker.park()
        elif not parker.park_until(monotonic() + core.keep_alive):
            try:
                idle.remove(parker)
            except ValueError:
                parker.park()
            else:
                return core.queue.has_work() or not core.retire(self)
        core.waking = False
        return True
