"""Jobs that run later, again and again, by the calendar, or as soon as possible.

| for threads                | for tasks                       | interface           |
|----------------------------|---------------------------------|---------------------|
| `ExecutionService`         | `AsyncExecutionService`         | `ExecutorAPI`, ...  |
| `ScheduledJob`, `Series`   | `AsyncScheduledJob`, ...        |                     |
| `CronExecution`, `CronTask` |                                |                     |
| `Cron` tells when something is due by the calendar, in any time zone               |

One service serves both: `service.aio` is its face for tasks.
"""

from typing import TYPE_CHECKING

from ._core_cron import Cron, DstPolicy
from ._core_handle import ScheduledJob
from ._core_series_handle import Series
from .api import AsyncExecutorAPI, Backend, ExecutorAPI, JobStore, TimeSource
from .api_values import (
    URGENCY_HIGH,
    URGENCY_LOW,
    URGENCY_NORMAL,
    Aligned,
    CatchUp,
    ExecutorReport,
    ExecutorState,
    ExecutorStats,
    FixedDelay,
    FixedRate,
    Jitter,
    OnBroken,
    Overlap,
    RunOutcome,
    RunRecord,
    TimerLateness,
    Urgency,
)
from .log_store import LogStore
from .memory_store import MemoryStore
from .sync import ExecutionService, ExecutorView
from .sync_seed import CronExecution, CronTask

__all__ = [
    "URGENCY_HIGH",
    "URGENCY_LOW",
    "URGENCY_NORMAL",
    "Aligned",
    "AsyncExecutionService",
    "AsyncExecutorAPI",
    "AsyncExecutorView",
    "AsyncScheduledJob",
    "AsyncSeries",
    "Backend",
    "CatchUp",
    "Cron",
    "CronExecution",
    "CronTask",
    "DstPolicy",
    "ExecutionService",
    "ExecutorAPI",
    "ExecutorReport",
    "ExecutorState",
    "ExecutorStats",
    "ExecutorView",
    "FixedDelay",
    "FixedRate",
    "Jitter",
    "JobStore",
    "LogStore",
    "MemoryStore",
    "OnBroken",
    "Overlap",
    "RunOutcome",
    "RunRecord",
    "ScheduledJob",
    "Series",
    "TimeSource",
    "TimerLateness",
    "Urgency",
]

if TYPE_CHECKING:
    from .aio import (
        AsyncExecutionService,
        AsyncExecutorView,
        AsyncScheduledJob,
        AsyncSeries,
    )
else:

    def __getattr__(name: str) -> object:
        # Literal imports: typos stay visible and freezing tools find the modules.
        # Not `from . import`: that asks this very function again.
        if name in {
            "AsyncExecutionService",
            "AsyncExecutorView",
            "AsyncScheduledJob",
            "AsyncSeries",
        }:
            import cup.services.executor.aio as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
