"""The thread pool for threads; its twin for tasks is in `aio`.

Not here: how it works (`_core`), what can be asked of it (`api`).
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from cup._core.clock import check_timeout
from cup._core.threads import join_all
from cup._core.wait import block
from cup.errors import WaitTimeout

from ._core import EndAsk
from ._core_handle import Handle
from ._core_limits import check_limits
from ._core_settings import UNSET, Unset, make_settings
from .api import Limits, OnCancel, StopReport, Urgency, WhenFull
from .sync_view import PoolView

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .aio import AsyncThreadPool
    from .api import ThreadPoolAPI

__all__ = ["PoolView", "ThreadPool"]


class ThreadPool(PoolView, Executor):
    """Threads that run jobs; a `concurrent.futures.Executor`, and more.

    One pool serves threads, asyncio loops and trio at the same time: `pool.aio` is its
    face for tasks. All methods are thread-safe. A forked child has the same pool with
    no workers and an empty queue. A pool that nobody holds any more finishes what is
    queued and lets its threads go; so does interpreter exit.

    Args:
        minthreads: Workers that are kept, 0 or more.
        maxthreads: Workers at most.
        name: For `repr`, messages and thread names.
        daemon_threads: Whether workers are daemons, which interpreter exit abandons.
        max_workers: As in the standard library: the maximum, with a minimum of 0. None
            means `min(32, cpus + 4)`.
        thread_name_prefix: Threads are called `<prefix>_<number>`.
        initializer: Called in each worker before its first job. If it raises, the
            pool is broken: its jobs fail with `PoolBroken`.
        initargs: The arguments of `initializer`.
        queue_size: How many jobs may wait for a worker; None for any number.
        when_full: What happens to a job for which there is no room.
        room_timeout: Seconds that "block" waits for room before it raises `PoolFull`;
            None waits for ever.
        keep_alive: Seconds after which an idle worker above the minimum goes; None
            keeps it.
        interrupt_grace: Seconds that an interrupted job gets to end before its worker
            is given up and replaced.
        on_unhandled: Called as `(exception, what)` with what nobody else would see: of
            posted jobs, of callbacks, of jobs whose result was never asked for. Without
            it that is logged as an error by the logger `cup.threadpool`.

    Raises:
        InvalidValue: If a number makes no sense.
        InvalidType: If an argument has the wrong type.
    """

    __slots__ = ()

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

    if not TYPE_CHECKING:
        # Names of the standard class that Dask and others read.

        @property
        def _max_workers(self) -> int:
            return self._core.maximum

        @property
        def _threads(self) -> object:
            workers = list(self._core.workers)
            return {w.thread for w in workers if w.thread.ident is not None}

        @property
        def _broken(self) -> object:
            return self._core.broken or False

    @property
    def aio(self) -> AsyncThreadPool:
        """The face of this very pool for tasks."""
        from .aio import AsyncThreadPool  # noqa: PLC0415 - loads event loops

        return AsyncThreadPool.over(self._handle)

    def options(
        self,
        *,
        urgency: Urgency | int = Urgency.NORMAL,
        queue_timeout: float | None = None,
        run_timeout: float | None = None,
        on_cancel: OnCancel = "wait",
    ) -> PoolView:
        """Return a view of this pool whose jobs have options.

        Args:
            urgency: HIGH before NORMAL before LOW; first come, first served inside.
            queue_timeout: Seconds within which a job must start, else it fails with
                `QueueTimeout`.
            run_timeout: Seconds within which it must end, else it fails with
                `RunTimeout`; it runs on, and its worker is replaced.
            on_cancel: What a cancelled `await` does about a job that runs already.

        Raises:
            InvalidValue: If an option makes no sense.
        """
        limits = check_limits(urgency, queue_timeout, run_timeout, on_cancel)
        return PoolView(self._handle, limits)

    def stop(self, force_stop: bool = False) -> StopReport:
        """Refuse new work, finish what is queued, and wait for the workers to end.

        Inside of a job it waits for all workers but its own. After an interrupted wait
        it can be called again. A stopped pool can be started again.

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
                block(EndAsk(core.ended, core.here()), core.settings.interrupt_grace)
            except WaitTimeout:
                core.give_all_up()
        self._await_end()
        return core.report_of_stop(cancelled)

    def _await_end(self) -> None:
        """Wait until no worker is left, but the calling one."""
        core = self._core
        own = core.here()
        if own is None:
            threads = [worker.thread for worker in list(core.present)]
            block(EndAsk(core.ended, None))
            join_all(threads)
            return

        core.stoppers[own] = None
        core.ended.changed()  # another job may wait for this one to get here
        try:
            block(EndAsk(core.ended, own))
        finally:
            core.stoppers.pop(own, None)

    def try_stop(self, check_interval: float = 0.1) -> bool:
        """Refuse new work and wait a little for the workers to end.

        What is queued still runs, also after this has returned.

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
            block(EndAsk(core.ended, core.here()), timeout)
        except WaitTimeout:
            return False
        return not core.present

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse new work; as `concurrent.futures.Executor.shutdown`.

        Without `wait` it never blocks, and may be called from signal handlers.

        Args:
            wait: Whether to wait until what is queued has run.
            cancel_futures: Cancel what is queued.
        """
        self._core.refuse()
        if cancel_futures:
            self._core.cancel_queued()
        if wait:
            self._await_end()

    def __enter__(self) -> Self:
        self._core.start_if_new()  # `post` alone leaves that to the caller
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.stop()


if TYPE_CHECKING:
    _proof: ThreadPoolAPI = ThreadPool()
