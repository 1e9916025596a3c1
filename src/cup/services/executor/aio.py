"""The executor for tasks of asyncio and trio; its twin for threads is in `sync`.

Both are faces of one core. Functions run on workers, coroutine functions as tasks of
the loop that scheduled them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from anyio import CancelScope, to_thread
from typing_extensions import ParamSpec, Self

from cup._core.clock import check_timeout
from cup._core.leaving_aio import StopsAtExit
from cup._core.loops import ablock, current_loop, wait_until_dead
from cup.errors import WaitTimeout
from cup.services.threadpool._core import EndAsk

from ._core_face import Hold
from ._core_quiet import QuietAsk
from ._core_settings import check_options, make_settings
from .aio_crew import LoopCrew
from .aio_handle import AsyncHandle, AsyncScheduledJob, AsyncSeries
from .aio_view import AsyncExecutorView
from .api_values import (
    CatchUp,
    ExecutorReport,
    Jitter,
    JobOptions,
    OnBroken,
    Overlap,
    Urgency,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from .api import AsyncExecutorAPI, Backend, JobStore, TimeSource
    from .sync import ExecutionService

__all__ = [
    "AsyncExecutionService",
    "AsyncExecutorView",
    "AsyncHandle",
    "AsyncScheduledJob",
    "AsyncSeries",
]

P = ParamSpec("P")
T = TypeVar("T")


class AsyncExecutionService(StopsAtExit, AsyncExecutorView):
    """Runs calls later, again and again, by the calendar; twin of `ExecutionService`.

    Functions run on workers, coroutine functions in the loop that scheduled them. One
    service may be used by tasks of several loops, and by threads, at the same time:
    `service.sync` is its face for threads.

    `async with` ends as `stop` does. When it is left by an exception or cancelled, it
    cancels what is queued and waits, shielded, for at most `exit_grace` seconds for
    what runs.

    Args:
        delay_exe_thdnum: Workers for jobs that were delayed, at most.
        queue_exec_thdnum: Workers for jobs that were queued, at most.
        name: For `repr`, messages and thread names.
        interrupt_grace: Seconds that an interrupted job gets to end before its worker
            is given up and replaced.
        on_unhandled: Called as `(exception, what)` with what nobody else would see.
        time_source: Where time comes from; None for the clocks of this machine.
        backend: Another executor that runs the jobs, or a function that makes one.
        backend_workers: How many workers it has, where that cannot be seen.
        on_broken: What happens to jobs whose backend breaks while it has them.
        store: Where jobs with a `key` are kept, to outlive this process.
        exit_grace: Seconds that a cancelled `async with` waits for running jobs.

    Raises:
        InvalidValue: If a number makes no sense.
        InvalidType: If an argument has the wrong type.
    """

    __slots__ = ("_exit_grace",)

    def __init__(
        self,
        delay_exe_thdnum: int = 3,
        queue_exec_thdnum: int = 4,
        name: str | None = None,
        *,
        interrupt_grace: float = 2.0,
        on_unhandled: Callable[[BaseException, str], object] | None = None,
        time_source: TimeSource | None = None,
        backend: Backend | None = None,
        backend_workers: int | None = None,
        on_broken: OnBroken = "fail",
        store: JobStore | None = None,
        exit_grace: float | None = 10.0,
    ) -> None:
        settings = make_settings(
            delay_exe_thdnum,
            queue_exec_thdnum,
            name,
            interrupt_grace=interrupt_grace,
            on_unhandled=on_unhandled,
            time_source=time_source,
            backend=backend,
            backend_workers=backend_workers,
            on_broken=on_broken,
            store=store,
        )
        super().__init__(Hold(settings), JobOptions())
        self._exit_grace = check_timeout(exit_grace, "exit_grace")

    @classmethod
    def over(cls, hold: Hold) -> Self:
        """Return a face of an executor that exists."""
        face = super().over(hold)
        face._exit_grace = 10.0  # noqa: SLF001 - this is a constructor
        return face

    @classmethod
    def singleton_instance(
        cls,
        delay_exe_thdnum: int = 3,
        queue_exec_thdnum: int = 4,
        name: str | None = None,
    ) -> Self:
        """Return the one service of this process for these arguments."""
        key = (cls, delay_exe_thdnum, queue_exec_thdnum, name)
        found = _services.get(key)
        if found is None:
            found = _services.setdefault(
                key, cls(delay_exe_thdnum, queue_exec_thdnum, name)
            )
        assert isinstance(found, cls)
        return found

    @property
    def sync(self) -> ExecutionService:
        """The face of this very service for threads."""
        from .sync import ExecutionService  # noqa: PLC0415 - the twins know each other

        return ExecutionService.over(self._hold)

    def options(
        self,
        *,
        urgency: Urgency | int = Urgency.NORMAL,
        queue_timeout: float | None = None,
        run_timeout: float | None = None,
        overlap: Overlap = "queue_one",
        catch_up: CatchUp | str = "latest",
        jitter: Jitter | float | None = None,
        max_runs: int | None = None,
        until: datetime | float | None = None,
        stop_after_failures: int | None = None,
        name: str | None = None,
        key: str | None = None,
        history: int = 16,
        cancel_with_waiter: bool = False,
    ) -> AsyncExecutorView:
        """Return a view of this service whose jobs have options.

        Twin of `ExecutionService.options`, where each is explained.

        Args:
            urgency: HIGH before NORMAL before LOW; first come, first served inside.
            queue_timeout: Seconds, from when it is due, within which a job must start,
                else it fails with `QueueTimeout`; None never drops it.
            run_timeout: Seconds within which a run must end, else it is interrupted
                and fails with `RunTimeout`.
            overlap: What a series does when a run is due before the last has ended.
            catch_up: What a series does about runs that were missed: "none", "latest",
                "all", or a `CatchUp`.
            jitter: Delays each run of a series by up to so many seconds.
            max_runs: After so many runs a series ends.
            until: A series plans no run after this time.
            stop_after_failures: So many failed runs in a row end a series.
            name: What jobs are called in reports, and what a stable jitter and the `H`
                of cron expressions follow from.
            key: What a stored job is known by; see `JobStore`.
            history: How many runs of a series are remembered.
            cancel_with_waiter: Whether a job is cancelled with the task that awaits it.

        Raises:
            InvalidValue: If an option makes no sense.
            InvalidType: If one has the wrong type.
        """
        return AsyncExecutorView(
            self._hold,
            check_options(
                urgency=urgency,
                queue_timeout=queue_timeout,
                run_timeout=run_timeout,
                overlap=overlap,
                catch_up=catch_up,
                jitter=jitter,
                max_runs=max_runs,
                until=until,
                stop_after_failures=stop_after_failures,
                name=name,
                key=key,
                history=history,
                cancel_with_waiter=cancel_with_waiter,
                has_store=self._core.ledger is not None,
            ),
        )

    async def delay_exec(
        self,
        delay_time_insec: float,
        function: Callable[P, T],
        urgency: Urgency | int,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncScheduledJob[T]:
        """Run a call in so many seconds: the older form of `after`.

        Twin of `ExecutionService.delay_exec`: for functions, which run in workers.
        """
        await current_loop().immediate()
        lane = self._urgent(self._then, urgency)
        return AsyncScheduledJob(
            self._after(lane, delay_time_insec, function, args, kwargs, starts=False)
        )

    async def queue_exec(
        self,
        function: Callable[P, object],
        urgency: Urgency | int,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Run a call as soon as a worker is free, and forget it.

        Twin of `ExecutionService.queue_exec`: for functions, which run in workers.
        """
        await current_loop().immediate()
        self._post(function, urgency, args, kwargs)

    async def stop(self, wait_workerstop: bool = True) -> ExecutorReport:
        """Run what is due, cancel what is not, and say what became of everything.

        Twin of `ExecutionService.stop`. When it is cancelled, the executor goes on
        stopping, and this can be called again.

        Args:
            wait_workerstop: Whether to wait for the end.

        Returns:
            What became of everything; true when nothing runs any more.
        """
        core = self._core
        core.begin_stop()
        if not wait_workerstop:
            return core.make_report()

        with _Stopping(self):
            await ablock(QuietAsk(core.quiet))
            for pool in core.pools():
                threads = [worker.thread for worker in list(pool.core.present)]
                await ablock(EndAsk(pool.core.ended, None))
                await wait_until_dead(threads)
        await self._finish_store()
        return core.make_report()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def _stop_in_grace(self) -> None:
        core = self._core
        core.begin_stop()
        core.cancel_queued()
        with CancelScope(shield=True):
            try:
                for pool in core.pools():
                    await ablock(EndAsk(pool.core.ended, None), self._exit_grace)
            except WaitTimeout:
                core.report_overstay()
            await self._finish_store()

    async def _finish_store(self) -> None:
        core = self._core
        if core.ledger is not None:
            await to_thread.run_sync(core.finish_store)


class _Stopping:
    """Tells the crew of this loop that the calling task waits for the end.

    If that is a job itself, nobody waits for it meanwhile.
    """

    __slots__ = ("_joined", "_service")

    def __init__(self, service: AsyncExecutionService) -> None:
        self._service = service
        self._joined: list[LoopCrew] = []

    def __enter__(self) -> None:
        core = self._service.core
        for crew in core.crews:
            if isinstance(crew, LoopCrew) and crew.enter_stop():
                self._joined.append(crew)
        core.something_ended()

    def __exit__(self, *_: object) -> None:
        for crew in self._joined:
            crew.leave_stop()


_services: dict[tuple[type[AsyncExecutionService], int, int, str | None], object] = {}

if TYPE_CHECKING:
    _proof: AsyncExecutorAPI = AsyncExecutionService()
