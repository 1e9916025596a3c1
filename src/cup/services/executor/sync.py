"""The executor for threads; its twin for tasks is in `aio`.

Not here: how it works (`_core`), what can be asked of it (`api`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from typing_extensions import ParamSpec, Self

from cup._core.threads import join_all
from cup._core.wait import block
from cup.services.threadpool._core import EndAsk

from ._core_face import Hold
from ._core_quiet import HopelessAsk, QuietAsk
from ._core_settings import check_options, make_settings
from .api_values import (
    CatchUp,
    ExecutorReport,
    Jitter,
    JobOptions,
    OnBroken,
    Overlap,
    Urgency,
)
from .sync_view import ExecutorView

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType

    from ._core_handle import ScheduledJob
    from .aio import AsyncExecutionService
    from .api import Backend, ExecutorAPI, JobStore, TimeSource

__all__ = ["ExecutionService", "ExecutorView"]

P = ParamSpec("P")
T = TypeVar("T")


class ExecutionService(ExecutorView):
    """Runs calls later, again and again, by the calendar, or as soon as possible.

    One thread keeps all timers, a million of them; two groups of workers run the jobs:
    one what was delayed, one what was queued. One service serves threads, asyncio
    loops and trio at the same time: `service.aio` is its face for tasks. All methods
    are thread-safe. A forked child has the same service with nothing in it.

    No job is dropped silently: `stop` reports what became of each, `stats` counts.

    Args:
        delay_exe_thdnum: Workers for jobs that were delayed, at most.
        queue_exec_thdnum: Workers for jobs that were queued, at most.
        name: For `repr`, messages and thread names.
        interrupt_grace: Seconds that an interrupted job gets to end before its worker
            is given up and replaced.
        on_unhandled: Called as `(exception, what)` with what nobody else would see.
            Without it that is logged as an error.
        time_source: Where time comes from; None for the clocks of this machine.
        backend: Another executor that runs the jobs (a `ProcessPoolExecutor`, loky's,
            Dask's, mpi4py's ...), or a function that makes one. Urgency stays here:
            it is given about as many jobs as it has workers.
        backend_workers: How many workers it has, where that cannot be seen.
        on_broken: What happens to jobs whose backend breaks while it has them.
        store: Where jobs with a `key` are kept, to outlive this process.

    Raises:
        InvalidValue: If a number makes no sense.
        InvalidType: If an argument has the wrong type.
    """

    __slots__ = ()

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
    def aio(self) -> AsyncExecutionService:
        """The face of this very service for tasks."""
        from .aio import AsyncExecutionService  # noqa: PLC0415 - loads event loops

        return AsyncExecutionService.over(self._hold)

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
    ) -> ExecutorView:
        """Return a view of this service whose jobs have options.

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
        return ExecutorView(
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

    def delay_exec(
        self,
        delay_time_insec: float,
        function: Callable[P, T],
        urgency: Urgency | int,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> ScheduledJob[T]:
        """Run a call in so many seconds: the older form of `after`.

        Before `run` it only waits.

        Args:
            delay_time_insec: Seconds; zero or less means now.
            function: What is called, in a worker for delayed jobs.
            urgency: `URGENCY_HIGH`, `URGENCY_NORMAL` or `URGENCY_LOW`.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            ExecutorClosed: If the service was stopped.
            InvalidType: If `function` cannot be called.
            InvalidValue: If the delay or the urgency makes no sense.
        """
        lane = self._urgent(self._then, urgency)
        return self._after(lane, delay_time_insec, function, args, kwargs, starts=False)

    def queue_exec(
        self,
        function: Callable[P, object],
        urgency: Urgency | int,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Run a call as soon as a worker is free, and forget it.

        Its exception is reported. Before `run` it only waits.

        Args:
            function: What is called, in a worker for queued jobs.
            urgency: `URGENCY_HIGH`, `URGENCY_NORMAL` or `URGENCY_LOW`.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            ExecutorClosed: If the service was stopped.
            InvalidType: If `function` cannot be called.
            InvalidValue: If the urgency makes no sense.
        """
        self._post(function, urgency, args, kwargs)

    def stop(self, wait_workerstop: bool = True) -> ExecutorReport:
        """Run what is due, cancel what is not, and say what became of everything.

        New jobs are refused. What is queued or due runs to its end; jobs whose time
        has not come, and series, are cancelled. May be called inside of a job (it then
        waits for all others), by several threads, and again. A stopped service can be
        started again.

        Args:
            wait_workerstop: Whether to wait for the end.

        Returns:
            What became of everything; true when nothing runs any more.

        Raises:
            BlockingInLoop: If coroutines are left that only the loop of the calling
                thread could run, which would wait here.
        """
        core = self._core
        core.begin_stop()
        if not wait_workerstop:
            return core.make_report()

        own = core.enter_stop()
        try:
            stuck = core.waits_for_this_loop()
            block((HopelessAsk if stuck else QuietAsk)(core.quiet))
            for pool in core.pools():
                threads = [worker.thread for worker in list(pool.core.present)]
                block(EndAsk(pool.core.ended, own))
                if own is None:
                    join_all(threads)
        finally:
            core.leave_stop(own)
        core.finish_store()
        return core.make_report()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


_services: dict[tuple[type[ExecutionService], int, int, str | None], object] = {}

if TYPE_CHECKING:
    _proof: ExecutorAPI = ExecutionService()
