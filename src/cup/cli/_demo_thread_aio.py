"""Locks and interrupts, in tasks; the twin for threads is `_demo_thread`."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from cup.errors import LockDeadlock, LockTimeout
from cup.services.threadpool import AsyncThreadPool
from cup.thread import AsyncRWLock, CupThread

from . import _demo_thread as twin
from ._demo_part import AsyncPart
from ._demo_thread import (
    TERMINATED,
    Loops,
    Sheet,
    Visits,
    has_met,
    holder_in,
    tell_cut_off,
    tell_valid,
)
from ._demo_threadpool import PATIENCE, counted, opened_at_last
from ._demo_threadpool_aio import wait_until

if TYPE_CHECKING:
    from ._demo_part import Stage

__all__ = ["PARTS"]


async def turns(stage: Stage) -> None:
    """Have readers and writers ask while readers are inside; watch who comes when."""
    readers = stage.many(8, 4)
    lock = AsyncRWLock()
    visits = Visits()
    gate = anyio.Event()
    asked = 0

    async def read() -> None:
        async with lock.read():
            visits.reads(lock.stats())
            await gate.wait()

    async def write() -> None:
        async with lock.write():
            visits.writes(lock.stats())

    async with anyio.create_task_group() as group:
        for act, times in [(read, readers), (write, 1)] * 2:
            for _ in range(times):
                group.start_soon(act)
            asked += times
            await wait_until(partial(has_met, lock, asked))
        gate.set()
    visits.tell(stage, readers)


async def hold(stage: Stage) -> None:
    """Ask for what is held, keep a part of what is held, read without holding."""
    lock = AsyncRWLock()
    stage.exactly("a time-out says", await refused(lock, "editor"), "editor writes")

    got = "the lock"
    async with lock.read():
        try:
            await lock.acquire_writelock()
        except LockDeadlock as error:
            got = type(error).__name__
    stage.exactly("who reads and waits to write gets", got, "LockDeadlock")

    await downgrade(stage, lock)

    stamp = lock.stamp()
    async with lock.read():
        valid = [lock.validate(stamp)]
    async with lock.write():
        valid.append(lock.validate(stamp))
    valid.append(lock.validate(stamp))
    tell_valid(stage, valid)


async def refused(lock: AsyncRWLock, holder: str) -> str:
    """Give what a time-out says while a task of that name writes."""
    gate = anyio.Event()

    async def write() -> None:
        async with lock.write():
            await gate.wait()

    said = "nothing"
    async with anyio.create_task_group() as group:
        group.start_soon(write, name=holder)
        await wait_until(lock.locked)
        try:
            await lock.acquire_readlock(0.01)
        except LockTimeout as error:
            said = holder_in(error)
        gate.set()
    return said


async def downgrade(stage: Stage, lock: AsyncRWLock) -> None:
    """Write, then read on, while another reader and another writer wait."""
    page = ["mine"]
    seen: list[str] = []

    async def read() -> None:
        async with lock.read():
            seen.append(page[-1])

    async def write() -> None:
        async with lock.write():
            page.append("theirs")

    async with anyio.create_task_group() as group:
        async with lock.write() as guard:
            group.start_soon(read)
            group.start_soon(write)
            await wait_until(partial(has_met, lock, 3))
            guard.downgrade()
            await wait_until(lambda: bool(seen))
            kept = page[-1]
        stage.exactly("after a downgrade, who waited to read, reads", seen[0], "mine")
        stage.exactly("and who has downgraded, reads on", kept, "mine")
    stage.exactly("and who waited to write, has written then", page[-1], "theirs")


async def interrupt(stage: Stage) -> None:
    """Have jobs loop endlessly, and end them in every way there is."""
    loops = Loops()
    async with AsyncThreadPool(max_workers=1) as pool:
        worker = await pool.run(threading.current_thread)
        with opened_at_last() as gate:
            job = await pool.submit(loops.loop, gate)
            await wait_until(partial(loops.have_begun, 1))
            job.interrupt()
            error = type(await job.exception(PATIENCE)).__name__
            what = "who waits for an interrupted loop gets"
            stage.exactly(what, error, "JobCancelled")
            stage.exactly("the loop itself gets", [*loops.ended], ["JobInterrupted"])

            late = await pool.options(run_timeout=0.02).submit(loops.loop, gate)
            error = type(await late.exception(PATIENCE)).__name__
            what = "who waits for one over its run_timeout"
            stage.exactly(what, error, "RunTimeout")
        same = await pool.run(threading.current_thread) is worker
        stage.exactly("workers that this has cost", int(not same), 0)

    number = stage.many(8, 4)
    async with AsyncThreadPool(minthreads=number, maxthreads=number) as pool:
        with opened_at_last() as gate:
            ended = await let_go(pool, gate, number)
            what = f"{number} loops that are not awaited any more get"
            stage.exactly(what, ended, [f"{number} JobInterrupted"])
            await stop_by_force(stage, pool, gate, number)


async def let_go(
    pool: AsyncThreadPool, gate: threading.Event, number: int
) -> list[str]:
    """Cancel the tasks that await so many endless loops; say what ended those."""
    loops = Loops()
    view = pool.options(on_cancel="interrupt")

    async def wait_for_loop() -> None:
        await view.run(loops.loop, gate)

    async with anyio.create_task_group() as group:
        for _ in range(number):
            group.start_soon(wait_for_loop)
        await wait_until(partial(loops.have_begun, number))
        group.cancel_scope.cancel()
    return counted(loops.ended)


async def stop_by_force(
    stage: Stage, pool: AsyncThreadPool, gate: threading.Event, number: int
) -> None:
    """Stop a pool whose workers all loop endlessly."""
    loops = Loops()
    jobs = [await pool.submit(loops.loop, gate) for _ in range(number)]
    await wait_until(partial(loops.have_begun, number))
    report = await pool.stop(force_stop=True)
    left = len(report.still_running)
    stage.exactly("loops that a forced stop leaves running", left, 0)
    errors = [type(await job.exception(PATIENCE)).__name__ for job in jobs]
    told = [f"{number} JobCancelled"]
    stage.exactly("who waits for these gets", counted(errors), told)


async def terminate(stage: Stage) -> None:
    """End threads while they wait for a lock of tasks, and while they hold it."""
    readers = stage.many(8, 4)
    lock = AsyncRWLock()
    visits = Visits()

    async def read() -> None:
        async with lock.read():
            visits.reads(lock.stats())

    def write() -> None:
        with lock.sync.write():
            visits.writes(lock.stats())

    async with AsyncThreadPool(max_workers=1) as pool:
        async with anyio.create_task_group() as group, lock.read():
            writer = CupThread(target=write)
            writer.start()
            await wait_until(partial(has_met, lock, 2))
            for _ in range(readers):
                group.start_soon(read)
            await wait_until(partial(has_met, lock, 2 + readers))
            await pool.run(writer.terminate, times=3)
            ended = type(writer.exception).__name__
            stage.exactly("a thread that waits to write ends by", ended, TERMINATED)
            await wait_until(lambda: len(visits.order) >= readers)
        stage.exactly("let in behind it", counted(visits.order), [f"{readers} read"])

        sheet = Sheet()
        threads = range(stage.many(10, 3))
        ended_so = [await cut_off(pool, lock, sheet) for _ in threads]
    tell_cut_off(stage, ended_so, sheet)
    stage.exactly("locks that they took along", int(lock.locked()), 0)


async def cut_off(pool: AsyncThreadPool, lock: AsyncRWLock, sheet: Sheet) -> str:
    """Start a thread that writes on and on, end it, and say what ended it."""
    before = sheet.left

    def write() -> None:
        while not gate.is_set():
            with lock.sync.write():
                sheet.write()

    thread = CupThread(target=write)
    with opened_at_last() as gate:
        thread.start()
        await wait_until(lambda: sheet.left > before)
        await pool.run(thread.terminate, times=3)
    await pool.run(thread.join)
    return type(thread.exception).__name__


PARTS: Final[tuple[AsyncPart, ...]] = (
    AsyncPart(twin.TURNS, turns),
    AsyncPart(twin.HOLD, hold),
    AsyncPart(twin.INTERRUPT, interrupt),
    AsyncPart(twin.TERMINATE, terminate),
)
