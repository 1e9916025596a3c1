"""Thread pools, for threads and for tasks.

| for threads    | for tasks           | interface                             |
|----------------|---------------------|---------------------------------------|
| `ThreadPool`   | `AsyncThreadPool`   | `ThreadPoolAPI`, `AsyncThreadPoolAPI` |
| `Job`          | `AsyncJob`          | `concurrent.futures.Future`           |
| `PoolExecutor` |                     | `ThreadPoolExecutor`                  |
| `run_in` runs in any executor; inside of jobs there are `current_job`,         |
| `check_cancelled`, `run_in_loop` and `await_in_loop`                           |

One pool serves both: `pool.aio` is its face for tasks, `apool.sync` that for threads.
"""

from typing import TYPE_CHECKING

from ._core_job import Job
from .api import (
    AsyncThreadPoolAPI,
    Limits,
    OnCancel,
    PoolState,
    PoolStats,
    RunTimes,
    StopReport,
    ThreadPoolAPI,
    Urgency,
    WhenFull,
)
from .sync import PoolView, ThreadPool

__all__ = [
    "AsyncJob",
    "AsyncPoolView",
    "AsyncThreadPool",
    "AsyncThreadPoolAPI",
    "Job",
    "Limits",
    "OnCancel",
    "PoolExecutor",
    "PoolState",
    "PoolStats",
    "PoolView",
    "RunTimes",
    "StopReport",
    "ThreadPool",
    "ThreadPoolAPI",
    "Urgency",
    "WhenFull",
    "await_in_loop",
    "check_cancelled",
    "current_job",
    "run_in",
    "run_in_loop",
]

if TYPE_CHECKING:
    from .aio import AsyncJob, AsyncPoolView, AsyncThreadPool, run_in
    from .drop_in import PoolExecutor
    from .inside import await_in_loop, check_cancelled, current_job, run_in_loop
else:

    def __getattr__(name: str) -> object:
        # Literal imports: typos stay visible and freezing tools find the modules.
        # Not `from . import`: that asks this very function again.
        if name in {"AsyncJob", "AsyncPoolView", "AsyncThreadPool", "run_in"}:
            import cup.services.threadpool.aio as module
        elif name == "PoolExecutor":
            import cup.services.threadpool.drop_in as module
        elif name in {"await_in_loop", "check_cancelled", "current_job", "run_in_loop"}:
            import cup.services.threadpool.inside as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
