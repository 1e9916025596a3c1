"""What a job can ask while it runs: who it is, whether it should end, its loop.

Called in a worker, by the code of a job.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from typing_extensions import ParamSpec

from cup._core import wait
from cup._core.park import borrow, give_back
from cup._core.wait import SLICE, Reach
from cup.errors import JobCancelled, LoopGone

from ._core_job import Job
from ._core_limits import Limited
from ._core_worker import worker_here

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cup._core.loops import Loop

    from ._core_record import Sink

__all__ = ["await_in_loop", "check_cancelled", "current_job", "run_in_loop"]

P = ParamSpec("P")
T = TypeVar("T")


def _sink_here() -> Sink | None:
    worker = worker_here()
    if worker is None:
        return None

    sink = worker.core.nested.get(worker) or worker.core.running.get(worker)
    return sink.inner if isinstance(sink, Limited) else sink


def current_job() -> Job[object] | None:
    """Return the job that the calling code runs in; None outside of submitted jobs."""
    sink = _sink_here()
    return cast("Job[object]", sink) if isinstance(sink, Job) else None


def check_cancelled() -> None:
    """Raise if nobody waits for the running job any more.

    That is so when the task that awaits it was cancelled, or the pool is being stopped
    by force. Outside of jobs it does nothing.

    Raises:
        JobCancelled: If the job should end.
    """
    worker = worker_here()
    if worker is None:
        return

    if getattr(_sink_here(), "cancelled", False) is True:
        raise JobCancelled("the task that awaits this job was cancelled")

    if worker.core.forced:
        raise JobCancelled("the pool of this job is being stopped by force")


def _loop_here() -> Loop:
    waiter = getattr(_sink_here(), "waiter", None)
    if waiter is None:
        raise LoopGone("this is not a job that a task awaits: it has no event loop")

    home: Loop = waiter.home
    return home


class _Letter:
    """A function that is posted to a loop, to be called there."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def set(self) -> None:
        """Call it."""
        self._function()


class _Errand(Generic[T]):
    """One call from a worker into a loop."""

    __slots__ = ("_error", "_loop", "_parker", "_value", "done")

    _value: T

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._parker = borrow()
        self._error: BaseException | None = None
        self.done = False

    def end(self, error: BaseException | None) -> None:
        """Say that the call is over, on the loop."""
        self._error = error
        self.done = True
        self._parker.wake()

    def run(self, call: Callable[[], T]) -> None:
        """Run a plain function, on the loop."""
        error = None
        try:
            self._value = call()
        except BaseException as caught:  # noqa: BLE001 - it goes to the worker
            error = caught
        self.end(error)

    async def run_async(self, call: Callable[[], Awaitable[T]]) -> None:
        """Run an async function, in a task of the loop."""
        error = None
        try:
            self._value = await call()
        except BaseException as caught:  # noqa: BLE001 - it goes to the worker
            error = caught
        self.end(error)

    def wait(self, callback: Callable[[], None]) -> T:
        """Send the call to the loop and wait for its outcome, in the worker."""
        if not self._loop.post(_Letter(callback)):
            raise LoopGone("the event loop of this job is closed")

        while not self.done:
            if wait.park(self._parker, monotonic() + SLICE):
                continue

            if self._loop.reach() is Reach.GONE and not self.done:
                raise LoopGone("the event loop of this job was closed meanwhile")
        give_back(self._parker)
        if self._error is None:
            return self._value

        try:
            raise self._error
        finally:
            del self


def run_in_loop(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a plain function on the event loop whose task awaits this job.

    Args:
        fn: Called on the loop; it must not block.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.

    Returns:
        What it returned.

    Raises:
        LoopGone: If no task awaits this job, or its loop was closed.
        BaseException: What `fn` raised.
    """
    errand: _Errand[T] = _Errand(_loop_here())
    return errand.wait(lambda: errand.run(lambda: fn(*args, **kwargs)))


def await_in_loop(
    fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run an async function on the event loop whose task awaits this job.

    Args:
        fn: Runs in a task of its own on that loop.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.

    Returns:
        What it returned.

    Raises:
        LoopGone: If no task awaits this job, or its loop was closed.
        BaseException: What `fn` raised.
    """
    loop = _loop_here()
    errand: _Errand[T] = _Errand(loop)
    return errand.wait(
        lambda: loop.spawn(lambda: errand.run_async(lambda: fn(*args, **kwargs)))
    )
