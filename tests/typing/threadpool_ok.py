"""What type checkers must see in the thread pool. Checked, not run."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, Future

from typing_extensions import assert_type

from cup.protocols import AsyncThreadPoolAPI, ThreadPoolAPI
from cup.services.threadpool import (
    AsyncJob,
    AsyncThreadPool,
    Job,
    PoolView,
    StopReport,
    ThreadPool,
    await_in_loop,
    current_job,
    run_in_loop,
)


def area(width: int, *, height: float = 1.0) -> float:
    return width * height


async def fetch(url: str) -> bytes:
    return url.encode()


def threads(pool: ThreadPool) -> None:
    assert_type(pool.submit(area, 2, height=3.0), Job[float])
    assert_type(pool.submit(area, 2).result(), float)
    assert_type(pool.run(area, 2), float)
    assert_type(pool.each(str, [1, 2]), Iterator[str])
    assert_type(pool.stop(force_stop=True), StopReport)
    assert_type(pool.options(run_timeout=1.0), PoolView)
    assert_type(pool.options(urgency=0).submit(len, "abc"), Job[int])
    assert_type(pool.aio, AsyncThreadPool)
    as_executor: Executor = pool
    as_future: Future[float] = pool.submit(area, 2)
    as_protocol: ThreadPoolAPI = pool
    del as_executor, as_future, as_protocol


async def tasks(pool: AsyncThreadPool) -> None:
    assert_type(await pool.run(area, 2, height=3.0), float)
    assert_type(await pool.submit(area, 2), AsyncJob[float])
    assert_type(await (await pool.submit(area, 2)), float)
    assert_type(pool.each(str, [1, 2]), AsyncIterator[str])
    assert_type(pool.sync, ThreadPool)
    as_protocol: AsyncThreadPoolAPI = pool
    del as_protocol


def inside_of_a_job() -> None:
    assert_type(run_in_loop(area, 2, height=3.0), float)
    assert_type(await_in_loop(fetch, "x"), bytes)
    assert_type(current_job(), Job[object] | None)
