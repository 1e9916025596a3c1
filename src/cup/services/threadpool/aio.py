"""The thread pool for tasks of asyncio and trio; its twin for threads is in `sync`.

Both are faces of one core. The outcome of an awaited call goes straight to its task,
without a future in between (`aio_call`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio import CancelScope
from typing_extensions import Self

from cup._core.clock import check_timeout
from cup._core.leaving_aio import StopsAtExit
from cup._core.loops import ablock, wait_until_dead
from cup.errors import WaitTimeout

from ._core import EndAsk
from ._core_handle import Handle
from ._core_limits import check_limits
from ._core_settings import UNSET, Unset, make_settings
from .aio_job import AsyncJob, run_in
from .aio_view import AsyncPoolView
from .api import Limits, OnCancel, StopReport, Urgency, WhenFull

if TYPE_CHECKING:
    from collections.abc import Callable

    from .api import AsyncThreadPoolAPI
    from .sync import ThreadPool

__all__ = ["AsyncJob", "AsyncPoolView", "AsyncThreadPool", "run_in"]


class AsyncThreadPool(StopsAtExit, AsyncPoolView):
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
        interrupt_grace: Seconds that an interrupted job gets to end before its worker
            is given up and replaced.
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
        interrupt_grace: float = 2.0,
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
            interrupt_grace=interrupt_grace,
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
            force_stop: Cancel what is queued, interrupt what runs, and wait for that
                for at most `interrupt_grace` seconds. What then still runs is given
                up: who waits for it gets `JobCancelled`.

        Returns:
            What happened; true when no job runs any more.
        """
        core = self._core
        core.refuse()
        cancelled = 0
        if force_stop:
            core.forced = True
            cancelled = core.cancel_queued()
            core.interrupt_all()
            try:
                await ablock(
                    EndAsk(core.ended, core.here()), core.settings.interrupt_grace
                )
            except WaitTimeout:
                core.give_all_up()
        await self._await_end()
        return core.report_of_stop(cancelled)

    async def _await_end(self) -> None:
        """Wait until no worker is left, but the one that this loop runs in."""
        core = self._core
        own = core.here()
        if own is None:
            threads = [worker.thread for worker in list(core.present)]
            await ablock(EndAsk(core.ended, None))
            await wait_until_dead(threads)
            return

        core.stoppers[own] = None
        core.ended.changed()  # another job may wait for this one to get here
        try:
            await ablock(EndAsk(core.ended, own))
        finally:
            core.stoppers.pop(own, None)

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
        return not core.present

    async def __aenter__(self) -> Self:
        self._core.start_if_new()  # `post` alone leaves that to the caller
        return self

    async def _stop_in_grace(self) -> None:
        core = self._core
        core.refuse()
        core.cancel_queued()
        with CancelScope(shield=True):
            try:
                await ablock(EndAsk(core.ended, core.here()), self._exit_grace)
            except WaitTimeout:
                core.report_overstay()


if TYPE_CHECKING:
    _proof: AsyncThreadPoolAPI = AsyncThreadPool()
