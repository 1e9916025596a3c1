"""A job: the future of one call, cheap until somebody looks closely.

`Job` is a `concurrent.futures.Future` whose condition is made at first look. Until then
its end is one atomic step (`dict.setdefault`), which excludes the making of the
condition: `concurrent.futures.wait` and `as_completed` read the state twice under the
condition, and must never see it change in between.

Not here: queues and workers. A job knows its pool only as an `Owner`.
"""

from __future__ import annotations

import logging
import reprlib
import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from cup._core import wait
from cup._core.clock import check_timeout, deadline_after
from cup._core.gil import MUTEX_PATHS
from cup._core.park import LockParker, borrow, give_back
from cup.errors import JobCancelled, JobInterrupted, JobTimeout

from ._core_owner import Unretrieved, Wakeable, wake_all
from ._core_record import claim, is_claimed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cup._core.interrupt import Interrupt

    from ._core_owner import Owner
    from ._core_record import Record

__all__ = ["Job"]

T = TypeVar("T")

PENDING: Final = "PENDING"
RUNNING: Final = "RUNNING"
CANCELLED: Final = "CANCELLED_AND_NOTIFIED"
FINISHED: Final = "FINISHED"
_ENDED: Final = (FINISHED, CANCELLED)

_LOOK_AGAIN = 0.05  # seconds between two looks whether all workers wait

_log = logging.getLogger("cup.threadpool")

_brief = reprlib.Repr()  # it also stands what an outcome's own `repr` raises
_brief.maxother = _brief.maxstring = 80

_KNOWN_FIELDS = {
    "_condition",
    "_done_callbacks",
    "_exception",
    "_result",
    "_state",
    "_waiters",
}
PLAIN: Final = MUTEX_PATHS or set(vars(Future())) != _KNOWN_FIELDS
"""Whether every job has its condition from the start, as any other future has."""


class Job(Future[T]):
    """The result of one call, in a pool: a `concurrent.futures.Future`, and more.

    It can be waited for by threads (`result`), by tasks of asyncio and trio
    (`await job`), and by whatever takes a `concurrent.futures.Future`. All methods are
    thread-safe; `cancel` may also be called from signal handlers and finalizers.
    """

    brief: bool = True

    # The state while nothing is stored. An instance stores it when it has ended, or
    # when its condition exists: then it ends under that.
    _state: str = PENDING
    _result: T | None = None
    _exception: BaseException | None = None
    _owner: Owner
    _record: Record
    _condition: threading.Condition
    _waiters: list[Any]

    def __init__(self, owner: Owner, record: Record) -> None:
        if PLAIN:
            super().__init__()
        self._owner = owner
        self._record = record
        record.append(self)

    if not TYPE_CHECKING:

        def __getattr__(self, name):  # noqa: ANN001, ANN204
            if name == "_condition":
                fields = self.__dict__
                # From here on the end is not a single step any more: it comes under
                # the condition. The order of these two lines is what excludes a race.
                fields.setdefault("_state", PENDING)
                fields.setdefault("_waiters", [])
                return fields.setdefault("_condition", threading.Condition())
            if name == "_waiters":
                return self.__dict__.setdefault("_waiters", [])
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "pending"
        if self.running():
            state = "running"
        elif self._state == FINISHED:
            error = self._exception
            outcome = _brief.repr(self._result if error is None else error)
            state = f"{'returned' if error is None else 'raised'} {outcome}"
        return f"<{type(self).__name__} at {id(self):#x} {state}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a Job cannot be pickled: it belongs to a pool of this process")

    # -- what the caller does ------------------------------------------------------

    def cancel(self) -> bool:
        """Take the job out of the queue.

        Never blocks.

        Returns:
            True if it is cancelled, now or before; False if it has started.
        """
        if not self._leave_queue():
            return self.cancelled()

        self._end(CANCELLED)
        return True

    def _leave_queue(self) -> bool:
        sink = claim(self._record)
        if sink is None:
            return False

        self._owner.withdrew(sink)
        return True

    def interrupt(self, error: Interrupt | None = None) -> bool:
        """Raise an exception inside of the running job, to end it.

        It ends any wait of this library at once, reaches Python code soon, waits while
        the job holds one of our locks or is inside of `cup.thread.shield`, and never
        hits another job. It cannot reach C code before that returns.

        Args:
            error: An exception, or a class of exceptions that takes no arguments; None
                for `JobInterrupted`, which `result` turns into `JobCancelled`.

        Returns:
            True if it will be raised, unless the job ends first; False if the job does
            not run.

        Raises:
            InvalidType: If `error` is no exception.
        """
        return self._owner.interrupt(self, JobInterrupted() if error is None else error)

    def cancelled(self) -> bool:
        """Tell whether the job was cancelled before it started."""
        return self._state == CANCELLED

    def running(self) -> bool:
        """Tell whether the job has started and not ended."""
        return not self.done() and is_claimed(self._record)

    def done(self) -> bool:
        """Tell whether the job has ended: by a result, an exception, or a cancel."""
        return self._state in _ENDED

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end and return what the function returned.

        Inside a job of the same full pool a queued job is run right here, instead of
        waiting for ever for a free worker.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            JobTimeout: If the job has not ended in time.
            JobCancelled: If it was cancelled.
            BaseException: What the function raised.
        """
        if self._state != FINISHED:
            self._await_end(timeout)
        error = self._exception
        if error is not None:
            self._retrieved()
            try:
                raise error
            finally:
                # The traceback now holds this frame: no cycle through it.
                del self, error

        return cast("T", self._result)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return what the function raised, None if nothing.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            JobTimeout: If the job has not ended in time.
            JobCancelled: If it was cancelled.
        """
        if self._state != FINISHED:
            self._await_end(timeout)
        if self._exception is not None:
            self._retrieved()
        return self._exception

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have `fn(job)` called at the end, in the worker; at once if it has ended.

        Exceptions of `fn` are logged. Callbacks run in the order they were added.
        """
        callbacks: deque[Callable[[Future[T]], object]] = self.__dict__.setdefault(
            "_callbacks", deque()
        )
        callbacks.append(fn)
        # Added first, looked at second: the worker sees the callback, or we the end.
        if self.done():
            self._run_callbacks(callbacks)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait on this task for the result; its cancellation leaves the job alone."""
        from .aio_job import AsyncJob  # noqa: PLC0415 - loads event loops

        return AsyncJob(self).__await__()

    # -- what the pool does --------------------------------------------------------

    def succeed(self, value: T) -> None:
        """End with a result."""
        self._result = value
        self._end(FINISHED)

    def fail(self, error: BaseException) -> None:
        """End with an exception, which is reported if nobody ever looks at it."""
        self.__dict__["_unretrieved"] = Unretrieved.guard(
            self._owner, error, "an exception of a job was never retrieved"
        )
        self._exception = error
        self._end(FINISHED)

    def drop(self) -> None:
        """End as cancelled; the pool has taken the job out of its queue."""
        self._end(CANCELLED)

    def vanish(self) -> None:
        """End as cancelled in a forked child; locks may be held by vanished threads."""
        self._state = CANCELLED
        if "_condition" in self.__dict__:
            self._condition = threading.Condition()

    def set_running_or_notify_cancel(self) -> bool:
        """Do what `Future` promises, for code that drives futures itself."""
        if self.done():
            return False

        self._leave_queue()
        return True

    def set_result(self, result: T) -> None:
        """End with a result; `InvalidStateError` if the job has ended."""
        self._refuse_second_end()
        self._leave_queue()
        self.succeed(result)

    def set_exception(self, exception: BaseException | None) -> None:
        """End with an exception; `InvalidStateError` if the job has ended."""
        self._refuse_second_end()
        self._leave_queue()
        if exception is None:
            self._end(FINISHED)
        else:
            self.fail(exception)

    def _refuse_second_end(self) -> None:
        if self.done():
            raise InvalidStateError(f"{self._state}: {self!r}")

    def _end(self, state: str) -> None:
        """Store the state, then tell everybody: the one moment of this class."""
        fields = self.__dict__
        if fields.setdefault("_state", state) != state:
            self._end_under_condition(state)
        parked: deque[Wakeable] | None = fields.get("_parked")
        if parked is not None:
            wake_all(parked)
        callbacks = fields.get("_callbacks")
        if callbacks:
            self._owner.relieve()  # they are of users, and may last
            self._run_callbacks(callbacks)

    def _end_under_condition(self, state: str) -> None:
        with self._condition:
            if self.done():
                raise InvalidStateError(f"the job has ended before: {self._state}")

            self._state = state
            for waiter in self._waiters:
                if state == CANCELLED:
                    waiter.add_cancelled(self)
                elif self._exception is not None:
                    waiter.add_exception(self)
                else:
                    waiter.add_result(self)
            self._condition.notify_all()

    def _run_callbacks(self, callbacks: deque[Callable[[Future[T]], object]]) -> None:
        while callbacks:
            try:
                callback = callbacks.popleft()
            except IndexError:
                return

            try:
                callback(self)
            except Exception:  # noqa: BLE001 - as every future does
                _log.exception("exception calling callback for %r", self)
            finally:
                if callbacks:  # also when a callback raised SystemExit
                    self._run_callbacks(callbacks)

    def _retrieved(self) -> None:
        guard: Unretrieved | None = self.__dict__.pop("_unretrieved", None)
        if guard is not None:
            guard.disarm()

    def run_here(self) -> None:
        """Run it in the calling worker, if to wait for it would never end."""
        self._owner.run_here(self._record)

    def _await_end(self, timeout: float | None) -> None:
        """Wait until the job has ended; raise if that is by a cancel, or too late."""
        seconds = check_timeout(timeout)
        if not self.done() and seconds is None:
            self.run_here()
        if not self.done() and not self._park(deadline_after(seconds)):
            raise JobTimeout(
                f"the job has not ended within {timeout} s", timeout=timeout
            )

        if self._state == CANCELLED:
            raise JobCancelled("the job was cancelled before it started")

    def _park(self, deadline: float | None) -> bool:
        """Park the calling thread until the end; False if the deadline came first."""
        if deadline is None and self._owner.may_starve(self._record):
            return self._park_and_help()

        parker = borrow() if deadline is None else LockParker()
        self.add_waiter(parker)
        woken = False
        try:
            while not self.done():
                woken = False
                if not wait.park(parker, deadline):
                    return self.done()
                woken = True
        finally:
            if not woken:  # else who woke it has taken it off the list
                self.remove_waiter(parker)
        if woken and deadline is None:
            give_back(parker)  # its one wake has come
        return True

    def _park_and_help(self) -> bool:
        """Park a worker of the same pool, which runs the job if nobody else will."""
        parker = LockParker()
        self.add_waiter(parker)
        try:
            while not self.done():
                if not wait.park(parker, monotonic() + _LOOK_AGAIN):
                    self.run_here()
        finally:
            self.remove_waiter(parker)
        return True

    def add_waiter(self, waiter: Wakeable) -> None:
        """Have a thread or task woken at the end; it looks at `done` afterwards."""
        parked: deque[Wakeable] = self.__dict__.setdefault("_parked", deque())
        parked.append(waiter)

    def remove_waiter(self, waiter: Wakeable) -> None:
        """Forget a waiter, unless it is being woken."""
        try:
            self.__dict__["_parked"].remove(waiter)
        except ValueError:
            pass
