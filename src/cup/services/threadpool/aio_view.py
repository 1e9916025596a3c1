"""A pool with options, for tasks: what `AsyncThreadPool` and its views share.

Twin: `sync_view`.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CancelScope, get_cancelled_exc_class
from typing_extensions import ParamSpec

from cup._core.context import job_context
from cup._core.loops import ablock, current_loop
from cup.errors import InvalidType, JobInterrupted, WaitTimeout

from ._core_handle import Face
from ._core_intake import Verdict, disown, make_room, offer
from ._core_job import Job
from ._core_queue import RoomAsk
from ._core_record import CallbackSink, Record, claim
from ._core_settings import check_at_least_one
from ._core_stream import Stream
from .aio_call import Call, open_outbox
from .aio_job import AsyncJob
from .aio_stream import AsyncResults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

__all__ = ["AsyncPoolView"]

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")


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
        waiter = loop.make_waiter()
        core = self._core
        call: Call[T] = Call(core, waiter)
        record: Record = [fn, job_context(), args, kwargs, call]
        if core.plain and self._simple and callable(fn):
            outbox = core.outboxes.get(loop) or open_outbox(core, loop)
            lone = outbox.lone
            if lone is None or not lone.woken:
                outbox.put(record)
            else:
                await loop.check_cancelled()
                outbox.lone = waiter
                core.enqueue(record)
        else:
            await loop.check_cancelled()
            await self._offer(record, starts=True)
        try:
            if core.run_here(record):  # this loop runs in a job of the same full pool
                await loop.checkpoint()
            while not call.done:
                await waiter.parking()
        except GeneratorExit:
            self._abandon(call, record)
            raise
        except BaseException:
            await self._give_up(call, record)
            raise
        return call.value if call.error is None else call.outcome()

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
        if self._abandon(call, record):
            call.waiter.set()  # nobody else will, and the outbox may look at it
            return

        if self._limits.on_cancel == "abandon":
            return

        core = self._core
        grace = None
        if self._limits.on_cancel == "interrupt":
            core.interrupt(call, JobInterrupted("the awaiting task was cancelled"))
            grace = core.settings.interrupt_grace
        if not await _wait_shielded(call, grace):
            core.give_up(call)

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
        record: Record = [fn, job_context(), args, kwargs]
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
        await self._offer([fn, job_context(), args, kwargs, core.nobody], starts=False)

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
        context = job_context()
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

        Twin of `ThreadPool.each`, for `async for`; left early, it cancels what has not
        started, too.

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
        return AsyncResults(stream, self._offer_started)

    async def _offer_started(self, record: Record) -> None:
        await self._offer(record, starts=True)

    async def _offer(self, record: Record, *, starts: bool) -> None:
        """Queue a record under the options of this view, by the policy of the pool."""
        core, limits = self._core, self._limits
        placed = False
        try:
            while (
                offer(core, record, limits, starts=starts, has_place=placed)
                is Verdict.FULL
            ):
                verdict = make_room(core, record, runs=False)
                if verdict is Verdict.DONE:
                    return

                placed = verdict is Verdict.PLACED or await self._wait_for_room()
        except BaseException:
            disown(record)
            raise

    async def _wait_for_room(self) -> bool:
        """Wait for a place; False if the pool does not hand out any now."""
        core = self._core
        room = core.queue.room
        assert room is not None, "only a bounded pool has a policy"
        try:
            return await ablock(RoomAsk(room), core.settings.room_timeout)
        except WaitTimeout as error:
            core.refused.add()
            raise room.full(core.name) from error


async def _wait_shielded(call: Call[Any], grace: float | None) -> bool:
    """Wait for the end of a call whose task was cancelled; False if it does not end."""
    cancelled = get_cancelled_exc_class()
    deadline = None if grace is None else monotonic() + grace
    with CancelScope(shield=True):
        while not call.done:
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return False

            try:
                await call.waiter.wait(left)
            except cancelled:
                continue  # asyncio's own cancel reaches into a shield
    return True
