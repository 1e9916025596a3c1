"""The thread pool for tasks of asyncio and trio; its twin for threads is in `sync`.

Both are faces of one core. The outcome of an awaited call goes straight to its task,
without a future in between (`aio_call`).
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from anyio import CancelScope, get_cancelled_exc_class
from typing_extensions import ParamSpec, Self

from cup._core.clock import check_timeout
from cup._core.loops import ablock, current_loop, wait_until, wait_until_dead
from cup.errors import InvalidType, JobCancelled, JobTimeout, WaitTimeout

from ._core import EndAsk
from ._core_handle import Face, Handle
from ._core_intake import Verdict, make_room, offer
from ._core_job import Job
from ._core_limits import check_limits
from ._core_queue import RoomAsk
from ._core_record import CallbackSink, Record, claim
from ._core_settings import UNSET, Unset, check_at_least_one, make_settings
from ._core_stream import Stream
from .aio_call import Call, outbox_of
from .api import Limits, OnCancel, StopReport, Urgency, WhenFull

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Generator,
        Iterable,
    )
    from concurrent.futures import Executor, Future
    from types import TracebackType

    from .api import AsyncThreadPoolAPI
    from .sync import ThreadPool

__all__ = ["AsyncJob", "AsyncPoolView", "AsyncThreadPool", "run_in"]

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")


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
        """Have `fn(job)` called at the end, in the worker; at once if that was before."""
        self.sync.add_done_callback(fn)

    def __repr__(self) -> str:
        return f"<AsyncJob of {self.sync!r}>"

    async def _end(self, timeout: float | None) -> None:
        timeout = check_timeout(timeout)
        loop = current_loop()
        await loop.immediate()
        job = self.sync
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


class AsyncPoolView(Face):
    """A pool as seen with options: every job taken through it has them.

    Made by `AsyncThreadPool.options`; twin of `PoolView`.
    """

    __slots__ = ()

    async def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call in a worker, wait for it, and return its result.

        Twin of `ThreadPool.run`. Context variables travel with the job. A cancelled
        task takes its job out of the queue; if that runs already, the view's
        `on_cancel` says whether the task waits for its end. In either case the job
        can notice by `cup.services.threadpool.check_cancelled`.

        Args:
            fn: What is called, in a worker.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            PoolClosed: If the pool was stopped.
            JobCancelled: If the pool dropped the job.
            BaseException: What `fn` raised.
        """
        loop = current_loop()
        await loop.check_cancelled()
        waiter = loop.make_waiter()
        core = self._core
        call: Call[T] = Call(core, waiter)
        record: Record = [fn, copy_context(), args, kwargs, call]
        if core.plain and self._simple and callable(fn):
            outbox_of(core, loop).put(record)
        else:
            await self._offer(record, starts=True)
        try:
            while not call.done:
                await waiter.wait(None)
        except GeneratorExit:
            self._abandon(call, record)
            raise
        except BaseException:
            await self._give_up(call, record)
            raise
        return call.outcome()

    def _abandon(self, call: Call[Any], record: Record) -> bool:
        """Take the call back; False if it runs."""
        call.cancelled = True
        sink = claim(record)
        if sink is None:
            return False

        self._core.withdrew(sink)
        return True

    async def _give_up(self, call: Call[Any], record: Record) -> None:
        """Do what `on_cancel` says; the task was cancelled while it waited."""
        if self._abandon(call, record) or self._limits.on_cancel == "abandon":
            return

        cancelled = get_cancelled_exc_class()
        with CancelScope(shield=True):
            while not call.done:
                try:
                    await call.waiter.wait(None)
                except cancelled:
                    continue  # asyncio's own cancel reaches into a shield

    async def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncJob[T]:
        """Queue a call and return its job; starts a pool that was never started.

        Twin of `ThreadPool.submit`. It waits only for room in a bounded queue.

        Args:
            fn: What is called, in a worker.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            PoolClosed: If the pool was stopped.
            PoolFull: If its queue is full, and it is to refuse.
            PoolBroken: If the initializer of a worker failed.
            InvalidType: If `fn` cannot be called.
        """
        await current_loop().immediate()
        record: Record = [fn, copy_context(), args, kwargs]
        job: Job[T] = Job(self._core, record)
        await self._offer(record, starts=True)
        return AsyncJob(job)

    async def post(
        self, fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Queue a call that nobody waits for; its exception is reported.

        Twin of `ThreadPool.post`.

        Args:
            fn: What is called, in a worker.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            PoolClosed: If the pool was stopped.
            PoolFull: If its queue is full, and it is to refuse.
            PoolBroken: If the initializer of a worker failed.
            InvalidType: If `fn` cannot be called.
        """
        await current_loop().immediate()
        core = self._core
        await self._offer([fn, copy_context(), args, kwargs, core.nobody], starts=False)

    async def add_1job(
        self, func: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Queue a call that nobody waits for: the older name of `post`.

        Twin of `ThreadPool.add_1job`.
        """
        await self.post(func, *args, **kwargs)

    async def add_1job_with_callback(
        self,
        result_callback: Callable[[bool, Any], object],
        func: Callable[P, object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Queue a call whose outcome goes to a callback.

        Twin of `ThreadPool.add_1job_with_callback`: the callback runs in a worker.

        Args:
            result_callback: Called exactly once, with `(True, result)` or with
                `(False, exception)`.
            func: What is called, in a worker.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            PoolClosed: If the pool was stopped.
            PoolFull: If its queue is full, and it is to refuse.
            InvalidType: If `func` or `result_callback` cannot be called.
        """
        if not callable(result_callback):
            raise InvalidType(f"result_callback must be callable: {result_callback!r}")

        await current_loop().immediate()
        context = copy_context()
        sink = CallbackSink(self._core, result_callback, context)
        await self._offer([func, context, args, kwargs, sink], starts=False)

    def each(
        self,
        fn: Callable[[A], T],
        items: Iterable[A],
        *,
        ordered: bool = True,
        limit: int | None = None,
    ) -> AsyncIterator[T]:
        """Call `fn` with each item, and yield the results while they come.

        Twin of `ThreadPool.each`, for `async for`.

        Args:
            fn: Takes one item; called in a worker.
            items: What to call it with; may be endless.
            ordered: Whether results come in the order of the items, or as they come.
            limit: How many calls may be ahead of the consumer; None for twice the
                maximum of workers.

        Raises:
            PoolClosed: If the pool was stopped.
            BaseException: What `fn` raised, at its place among the results.
            InvalidValue: If `limit` is below 1.
        """
        limit = 2 * self._core.maximum if limit is None else limit
        check_at_least_one("limit", limit)
        calls = ((item,) for item in items)
        stream = Stream(self._core, fn, calls, ordered=ordered, limit=limit)
        return self._results(stream)

    async def _results(self, stream: Stream[T]) -> AsyncGenerator[T, None]:
        try:
            while True:
                for record in stream.next_records():
                    await self._offer(record, starts=True)
                cell = stream.pop()
                if cell is not None:
                    await current_loop().immediate()
                    yield cell.outcome()
                elif stream.in_flight():
                    await self._await_next(stream)
                else:
                    return
        finally:
            stream.cancel()

    async def _await_next(self, stream: Stream[Any]) -> None:
        ask = stream.ask()
        try:
            await ablock(ask)
        finally:
            stream.got()

    async def _offer(self, record: Record, *, starts: bool) -> None:
        """Queue a record under the options of this view, by the policy of the pool."""
        core = self._core
        if offer(core, record, self._limits, starts=starts) is Verdict.QUEUED:
            return

        if make_room(core, record, runs=False) is Verdict.WAIT:
            room = core.queue.room
            assert room is not None, "only a bounded pool has a policy"
            try:
                await ablock(RoomAsk(room), core.settings.room_timeout)
            except WaitTimeout as error:
                core.refused.add()
                raise room.full(core.name) from error
        offer(core, record, self._limits, starts=starts, has_place=True)


class AsyncThreadPool(AsyncPoolView):
    """Threads that run jobs, awaited from asyncio and trio; twin of `ThreadPool`.

    One pool may be used by tasks of several loops, and by threads, at the same time:
    `apool.sync` is its face for threads.

    `async with` finishes what is queued, as the sync face does. When it is left by an
    exception or cancelled, it cancels what is queued and waits, shielded, for at most
    `exit_grace` seconds for what runs.

    Args:
        minthreads: Workers that are kept, 0 or more.
        maxthreads: Workers at most.
        name: For `repr`, messages and thread names.
        daemon_threads: Whether workers are daemons, which interpreter exit abandons.
        max_workers: As in the standard library: the maximum, with a minimum of 0.
        thread_name_prefix: Threads are called `<prefix>_<number>`.
        initializer: Called in each worker before its first job.
        initargs: The arguments of `initializer`.
        queue_size: How many jobs may wait for a worker; None for any number.
        when_full: What happens to a job for which there is no room; "caller_runs"
            waits for room, since a task must not run it.
        room_timeout: Seconds to wait for room before `PoolFull`; None for ever.
        keep_alive: Seconds after which an idle worker above the minimum goes.
        on_unhandled: Called as `(exception, what)` with what nobody else would see.
        exit_grace: Seconds that a cancelled `async with` waits for running jobs.

    Raises:
        InvalidValue: If a number makes no sense.
        InvalidType: If an argument has the wrong type.
    """

    __slots__ = ("_exit_grace",)

    def __init__(
        self,
        minthreads: int | Unset = UNSET,
        maxthreads: int | Unset = UNSET,
        name: str | None = None,
        daemon_threads: bool = False,
        *,
        max_workers: int | Unset | None = UNSET,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        queue_size: int | None = None,
        when_full: WhenFull = "block",
        room_timeout: float | None = None,
        keep_alive: float | None = 10.0,
        on_unhandled: Callable[[BaseException, str], object] | None = None,
        exit_grace: float | None = 10.0,
    ) -> None:
        settings = make_settings(
            minthreads=minthreads,
            maxthreads=maxthreads,
            max_workers=max_workers,
            name=name,
            thread_name_prefix=thread_name_prefix,
            daemon_threads=daemon_threads,
            initializer=initializer,
            initargs=initargs,
            queue_size=queue_size,
            when_full=when_full,
            room_timeout=room_timeout,
            keep_alive=keep_alive,
            on_unhandled=on_unhandled,
        )
        super().__init__(Handle(settings), Limits())
        self._exit_grace = check_timeout(exit_grace, "exit_grace")

    @classmethod
    def over(cls, handle: Handle) -> Self:
        """Return a face of a pool that exists."""
        face = super().over(handle)
        face._exit_grace = 10.0  # noqa: SLF001 - this is its constructor
        return face

    @property
    def sync(self) -> ThreadPool:
        """The face of this very pool for threads."""
        from .sync import ThreadPool  # noqa: PLC0415 - the twins know each other

        return ThreadPool.over(self._handle)

    def options(
        self,
        *,
        urgency: Urgency | int = Urgency.NORMAL,
        queue_timeout: float | None = None,
        run_timeout: float | None = None,
        on_cancel: OnCancel = "wait",
    ) -> AsyncPoolView:
        """Return a view of this pool whose jobs have options.

        Twin of `ThreadPool.options`.

        Args:
            urgency: HIGH before NORMAL before LOW; first come, first served inside.
            queue_timeout: Seconds within which a job must start.
            run_timeout: Seconds within which it must end.
            on_cancel: What a cancelled `await` does about a job that runs already.

        Raises:
            InvalidValue: If an option makes no sense.
        """
        limits = check_limits(urgency, queue_timeout, run_timeout, on_cancel)
        return AsyncPoolView(self._handle, limits)

    async def stop(self, force_stop: bool = False) -> StopReport:
        """Refuse new work, finish what is queued, and wait for the workers to end.

        Twin of `ThreadPool.stop`. When it is cancelled, the pool goes on stopping, and
        this can be called again.

        Args:
            force_stop: Cancel what is queued, and wait only for what runs.

        Returns:
            What happened; true when no worker is left.
        """
        core = self._core
        core.refuse()
        cancelled = core.cancel_queued() if force_stop else 0
        own = core.here()
        threads = [worker.thread for worker in list(core.workers) if worker is not own]
        await ablock(EndAsk(core.ended, own))
        await wait_until_dead(threads)
        return core.report_of_stop(cancelled)

    async def try_stop(self, check_interval: float = 0.1) -> bool:
        """Refuse new work and wait a little for the workers to end.

        Twin of `ThreadPool.try_stop`.

        Args:
            check_interval: Seconds to wait at most.

        Returns:
            True if no worker is left.

        Raises:
            InvalidValue: If `check_interval` is NaN.
        """
        core = self._core
        timeout = check_timeout(check_interval, "check_interval")
        core.refuse()
        try:
            await ablock(EndAsk(core.ended, core.here()), timeout)
        except WaitTimeout:
            return False
        return not core.workers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                await self.stop()
        except BaseException:
            await self._stop_in_grace()
            raise
        if error is not None:
            await self._stop_in_grace()

    async def _stop_in_grace(self) -> None:
        core = self._core
        core.refuse()
        core.cancel_queued()
        with CancelScope(shield=True):
            try:
                await ablock(EndAsk(core.ended, core.here()), self._exit_grace)
            except WaitTimeout:
                core.report_overstay()


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


if TYPE_CHECKING:
    _proof: AsyncThreadPoolAPI = AsyncThreadPool()
