"""A job, for tasks: the async view of `Job`, and calls in foreign executors.

Not here: calls that a task awaits at once (`aio_call`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from typing_extensions import ParamSpec

from cup._core.clock import check_timeout
from cup._core.loops import current_loop, wait_until
from cup.errors import JobCancelled, JobTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Executor, Future

    from cup._core.interrupt import Interrupt

    from ._core_job import Job

__all__ = ["AsyncJob", "run_in"]

P = ParamSpec("P")
T = TypeVar("T")


class AsyncJob(Generic[T]):
    """The result of one call, for tasks: a view of a `Job`; twin of `Job`.

    `await job` waits for the result. Cancelling the waiting task leaves the job alone.
    """

    __slots__ = ("sync",)

    sync: Job[T]
    """The job itself, for threads."""

    def __init__(self, job: Job[T]) -> None:
        self.sync = job

    def __await__(self) -> Generator[Any, None, T]:
        return self.result().__await__()

    async def result(self, timeout: float | None = None) -> T:
        """Wait for the end and return what the function returned.

        Twin of `Job.result`.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            JobTimeout: If the job has not ended in time.
            JobCancelled: If it was cancelled; never asyncio's `CancelledError`.
            BaseException: What the function raised.
        """
        await self._end(timeout)
        return self.sync.result()

    async def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return what the function raised, None if nothing.

        Twin of `Job.exception`.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            JobTimeout: If the job has not ended in time.
            JobCancelled: If it was cancelled.
        """
        await self._end(timeout)
        return self.sync.exception()

    def cancel(self) -> bool:
        """Take the job out of the queue."""
        return self.sync.cancel()

    def interrupt(self, error: Interrupt | None = None) -> bool:
        """Raise an exception inside of the running job, to end it.

        Twin of `Job.interrupt`.

        Args:
            error: An exception, or a class of exceptions that takes no arguments; None
                for `JobInterrupted`.

        Returns:
            True if it will be raised, unless the job ends first; False if the job does
            not run.
        """
        return self.sync.interrupt(error)

    def cancelled(self) -> bool:
        """Tell whether the job was cancelled before it started."""
        return self.sync.cancelled()

    def running(self) -> bool:
        """Tell whether the job has started and not ended."""
        return self.sync.running()

    def done(self) -> bool:
        """Tell whether the job has ended: by a result, an exception, or a cancel."""
        return self.sync.done()

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have `fn(job)` called at the end, in the worker; at once if it has ended."""
        self.sync.add_done_callback(fn)

    def __repr__(self) -> str:
        return f"<AsyncJob of {self.sync!r}>"

    async def _end(self, timeout: float | None) -> None:
        timeout = check_timeout(timeout)
        loop = current_loop()
        await loop.immediate()
        job = self.sync
        if timeout is None and not job.done():
            # In a loop that runs in a job of the same full pool, nobody else would.
            job.run_here()
        if job.done():
            return

        waiter = loop.make_waiter()
        job.add_waiter(waiter)
        try:
            if not await wait_until(job.done, waiter, timeout):
                raise JobTimeout(
                    f"the job has not ended within {timeout} s", timeout=timeout
                )
        finally:
            job.remove_waiter(waiter)


async def run_in(
    executor: Executor, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a call in any `concurrent.futures.Executor` and await it, on any loop.

    For process pools, loky, Dask, mpi4py, also under trio. A cancelled task cancels
    the call, if that has not started, and does not wait for it else.

    Args:
        executor: Where to run it.
        fn: What is called.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.

    Raises:
        JobCancelled: If somebody else cancelled the call.
        BaseException: What `fn` raised.
    """
    loop = current_loop()
    await loop.check_cancelled()
    waiter = loop.make_waiter()
    future = executor.submit(fn, *args, **kwargs)
    future.add_done_callback(lambda _: waiter.wake())
    try:
        await wait_until(future.done, waiter)
    except BaseException:
        future.cancel()
        raise
    if future.cancelled():
        raise JobCancelled("the call was cancelled in its executor")

    return future.result()
