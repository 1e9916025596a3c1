"""What a job can ask while it runs: who it is, whether it should end, its loop.

Called in a worker, by the code of a job.
"""

from __future__ import annotations

from functools import partial
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
    from cup._core.park import Parker

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


class _Errand(Generic[T]):
    """One call from a worker into a loop."""

    __slots__ = ("_error", "_loop", "_parker", "_value", "done")

    _value: T

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._parker: Parker | None = None
        self._error: BaseException | None = None
        self.done = False

    def set(self) -> None:
        """Make the call or have it made; the loop does this, when it is posted."""
        raise NotImplementedError

    def _end(self, error: BaseException | None) -> None:
        """Say that the call is over, on the loop."""
        self._error = error
        self.done = True
        parker = self._parker
        if parker is not None:
            parker.wake()

    def run(self) -> T:
        """Send the call to the loop and wait for its outcome, in the worker."""
        if not self._loop.post(self):
            raise LoopGone("the event loop of this job is closed")

        # The loop often runs while it is being woken: then this thread never parks.
        if not self.done:
            self._park()
        error, self._error = self._error, None
        if error is None:
            return self._value

        try:
            raise error
        finally:
            del self, error  # no cycle through the traceback

    def _park(self) -> None:
        parker = self._parker = borrow()
        woken = False
        # Set first, looked at second, as the loop does the other way round.
        while not self.done:
            woken = wait.park(parker, monotonic() + SLICE)
            if not woken and self._loop.reach() is Reach.GONE and not self.done:
                raise LoopGone("the event loop of this job was closed meanwhile")
        if woken:
            give_back(parker)  # its one wake has come


class _PlainErrand(_Errand[T]):
    """Calls a plain function."""

    __slots__ = ("_call",)

    def __init__(self, loop: Loop, call: Callable[[], T]) -> None:
        super().__init__(loop)
        self._call = call

    def set(self) -> None:
        """Make the call."""
        error = None
        try:
            self._value = self._call()
        except BaseException as caught:  # noqa: BLE001 - it goes to the worker
            error = caught
        self._end(error)


class _AsyncErrand(_Errand[T]):
    """Awaits an async function, in a task of its own."""

    __slots__ = ("_call",)

    def __init__(self, loop: Loop, call: Callable[[], Awaitable[T]]) -> None:
        super().__init__(loop)
        self._call = call

    def set(self) -> None:
        """Start the task."""
        self._loop.spawn(self._make_call)

    async def _make_call(self) -> None:
        error = None
        try:
            self._value = await self._call()
        except BaseException as caught:  # noqa: BLE001 - it goes to the worker
            error = caught
        self._end(error)


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
    return _PlainErrand(_loop_here(), partial(fn, *args, **kwargs)).run()


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
    return _AsyncErrand(_loop_here(), partial(fn, *args, **kwargs)).run()
