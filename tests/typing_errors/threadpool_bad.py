"""What type checkers must refuse in the thread pool."""

from cup.services.threadpool import (
    AsyncThreadPool,
    ThreadPool,
    await_in_loop,
    run_in_loop,
)


def area(width: int, *, height: float = 1.0) -> float:
    return width * height


async def fetch(url: str) -> bytes:
    return url.encode()


def arguments(pool: ThreadPool) -> None:
    pool.submit(area, "2")  # error: arg-type
    pool.submit(area, 2, depth=3)  # error: call-arg
    pool.submit(area)  # error: call-arg
    pool.post(area, height=None)  # error: call-arg, arg-type
    pool.run(area, 2, 3)  # error: call-arg
    pool.options(urgency=0).submit(len, 5)  # error: arg-type
    pool.each(ord, [1])  # error: arg-type


def results(pool: ThreadPool) -> None:
    text: str = pool.submit(area, 2).result()  # error: assignment
    pool.submit(area, 2).result("soon")  # error: arg-type
    pool.submit(area, 2) + 1  # error: operator
    del text


def options(pool: ThreadPool) -> None:
    pool.options(on_cancel="explode")  # error: arg-type
    ThreadPool(when_full="explode")  # error: arg-type
    ThreadPool(workers=3)  # error: call-arg


async def colours(pool: ThreadPool, tasks: AsyncThreadPool) -> None:
    await pool.stop()  # error: misc
    await pool.run(area, 2)  # error: misc
    await tasks.submit(area, "2")  # error: arg-type
    (await tasks.submit(area, 2)) + 1.0  # error: operator
    tasks.run(area, 2).bit_length()  # error: attr-defined
    with tasks:  # error: attr-defined
        pass


def inside_of_a_job() -> None:
    run_in_loop(area, "2")  # error: arg-type
    await_in_loop(area, 2)  # error: arg-type
    await_in_loop(fetch, 2)  # error: arg-type
