"""What type checkers must see in the executor. Checked, not run."""

from concurrent.futures import Executor, Future, ProcessPoolExecutor
from datetime import datetime, timezone

from typing_extensions import assert_type

from cup.protocols import AsyncExecutorAPI, ExecutorAPI
from cup.services.executor import (
    Aligned,
    AsyncExecutionService,
    AsyncExecutorView,
    AsyncScheduledJob,
    AsyncSeries,
    CatchUp,
    Cron,
    CronExecution,
    CronTask,
    ExecutionService,
    ExecutorReport,
    ExecutorView,
    FixedDelay,
    Jitter,
    JobStore,
    MemoryStore,
    RunRecord,
    ScheduledJob,
    Series,
    TimeSource,
    Urgency,
)
from cup.testing import VirtualDriver


def area(width: int, *, height: float = 1.0) -> float:
    return width * height


async def fetch(url: str) -> bytes:
    return url.encode()


def threads(service: ExecutionService) -> None:
    assert_type(service.submit(area, 2, height=3.0), ScheduledJob[float])
    assert_type(service.after(1, area, 2).result(), float)
    assert_type(service.at(datetime.now(timezone.utc), area, 2), ScheduledJob[float])
    assert_type(service.every(5, area, 2), Series[float])
    assert_type(service.every(FixedDelay(5), area, 2).result(1), float)
    assert_type(service.every(Aligned(60), area, 2).history, tuple[RunRecord, ...])
    assert_type(service.cron(Cron("* * * * *", "UTC"), area, 2), Series[float])
    assert_type(service.cron("@daily", area, 2).next_run, datetime | None)
    assert_type(service.delay_exec(5, area, 1, 2, height=1.0), ScheduledJob[float])
    service.queue_exec(area, Urgency.LOW, 2)
    assert_type(service.stop(), ExecutorReport)
    view = service.options(urgency=0, overlap=2, catch_up=CatchUp.all(3), jitter=2.0)
    assert_type(view, ExecutorView)
    assert_type(view.after(1, len, "abc"), ScheduledJob[int])
    assert_type(
        service.options(jitter=Jitter(2, stable=True), overlap="skip"), ExecutorView
    )
    assert_type(service.aio, AsyncExecutionService)
    as_future: Future[float] = service.submit(area, 2).future
    as_protocol: ExecutorAPI = service
    del as_future, as_protocol


async def tasks(service: AsyncExecutionService) -> None:
    assert_type(await service.submit(area, 2, height=3.0), AsyncScheduledJob[float])
    assert_type(await service.submit(fetch, "x"), AsyncScheduledJob[bytes])
    assert_type(await (await service.after(1, fetch, "x")), bytes)
    assert_type(await (await service.after(1, area, 2)).result(1), float)
    assert_type(await service.at(1e9, fetch, "x"), AsyncScheduledJob[bytes])
    assert_type(await service.every(1, fetch, "x"), AsyncSeries[bytes])
    assert_type(await service.cron("@daily", area, 2), AsyncSeries[float])
    assert_type(await service.stop(), ExecutorReport)
    assert_type(service.options(run_timeout=1), AsyncExecutorView)
    assert_type(service.sync, ExecutionService)
    as_protocol: AsyncExecutorAPI = service
    del as_protocol


def making(given: Executor) -> None:
    ExecutionService(2, 3, "name", backend=given)
    ExecutionService(backend=lambda: ProcessPoolExecutor(2), on_broken="retry")
    source: TimeSource = VirtualDriver()
    store: JobStore = MemoryStore()
    ExecutionService(time_source=source, store=store)


def older(cron: CronExecution) -> None:
    task = CronTask(
        "name", "Asia/Shanghai", {"minute": [0], "hour": None}, "id", area, 2
    )
    assert_type(task.next_schedtime(), datetime)
    cron.schedule(task)
    assert_type(cron.calcel_delay_exec("id"), bool)
    assert_type(cron.get_tasks(), list[CronTask])
    assert_type(cron.get_taskbyid("id"), CronTask | None)
