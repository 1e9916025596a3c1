"""One lock for threads, asyncio and trio at once; cancellation; loops that die."""

import asyncio
import gc
import random
import threading
import time
import tracemalloc

import anyio
import pytest
import trio
from thread_tools import (
    PATIENCE,
    World,
    ended,
    is_free,
    switching_fast,
    wait_for,
    waiting,
)

from cup.errors import LockTimeout
from cup.thread import AsyncRWLock, CupThread, RWLock


class Witness:
    """Looks on while a lock is held, and counts what must not be."""

    def __init__(self):
        self.reading = 0
        self.writing = 0
        self.overlaps = 0
        self.turns = {"read": 0, "write": 0}

    def enter(self, kind):
        if kind == "read":
            self.reading += 1
            self.overlaps += bool(self.writing)
        else:
            self.writing += 1
            self.overlaps += bool(self.reading) or self.writing != 1
        self.turns[kind] += 1

    def leave(self, kind):
        if kind == "read":
            self.reading -= 1
        else:
            self.writing -= 1


class Counted:
    """A lock whose readers are counted apart per owner: no two steps are torn."""

    def __init__(self, lock):
        self.lock = lock
        self.witness = Witness()
        self.mutex = threading.Lock()

    def enter(self, kind):
        with self.mutex:
            self.witness.enter(kind)

    def leave(self, kind):
        with self.mutex:
            self.witness.leave(kind)


def thread_hammer(counted, seed, stop):
    dice = random.Random(seed)
    while not stop.is_set():
        kind = "read" if dice.random() < 0.8 else "write"
        timeout = None if dice.random() < 0.7 else dice.random() * 0.002
        try:
            with getattr(counted.lock, kind)(timeout):
                counted.enter(kind)
                if dice.random() < 0.2:
                    time.sleep(0)
                counted.leave(kind)
        except LockTimeout:
            pass


async def task_hammer(counted, seed, stop):
    dice = random.Random(seed)
    lock = counted.lock.aio
    while not stop.is_set():
        kind = "read" if dice.random() < 0.8 else "write"
        timeout = None if dice.random() < 0.7 else dice.random() * 0.002
        patience = dice.random() * 0.004 if dice.random() < 0.3 else 60
        with anyio.move_on_after(patience):
            try:
                async with getattr(lock, kind)(timeout):
                    counted.enter(kind)
                    try:
                        await anyio.sleep(0)
                    finally:
                        counted.leave(kind)
            except LockTimeout:
                pass
        await anyio.sleep(0)


def run_hammer(lock, seconds, *, threads, tasks, seed):
    """Use one lock from all worlds at once; return what the witness saw."""
    counted, stop = Counted(lock), threading.Event()

    async def main(number):
        async with anyio.create_task_group() as group:
            for task in range(tasks):
                group.start_soon(task_hammer, counted, f"{seed} {number} {task}", stop)

    def loop(backend, number):
        anyio.run(main, number, backend=backend)

    workers = [
        threading.Thread(target=thread_hammer, args=(counted, f"{seed} {n}", stop))
        for n in range(threads)
    ]
    workers += [
        threading.Thread(target=loop, args=("asyncio", 1)),
        threading.Thread(target=loop, args=("trio", 2)),
    ]
    for worker in workers:
        worker.start()
    time.sleep(seconds)
    stop.set()
    assert all(map(ended, workers)), f"somebody was never woken: {lock!r}"
    return counted.witness


@pytest.mark.parametrize("fairness", ["fair", "readers", "writers"])
def test_all_worlds_hammer_one_lock(fairness):
    lock = RWLock(fairness)
    witness = run_hammer(lock, 0.25, threads=3, tasks=6, seed=fairness)
    assert not witness.overlaps
    assert witness.turns["read"]
    assert is_free(lock)


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(4, marks=pytest.mark.long),
        pytest.param(10, marks=pytest.mark.long),
    ],
)
def test_all_worlds_hammer_one_lock_for_long(seconds):
    lock = RWLock()
    with switching_fast(0.0002):
        witness = run_hammer(lock, seconds, threads=4, tasks=20, seed=3)
    assert not witness.overlaps
    assert min(witness.turns.values()) > 100
    assert is_free(lock)


def test_threads_alone_hammer_the_paths_without_a_mutex():
    lock = RWLock()
    counted, stop = Counted(lock), threading.Event()
    kinds = [CupThread, threading.Thread]
    with switching_fast():
        workers = [
            kinds[n % 2](target=thread_hammer, args=(counted, n, stop))
            for n in range(6)
        ]
        for worker in workers:
            worker.start()
        time.sleep(0.3)
        stop.set()
        assert all(map(ended, workers))
    assert not counted.witness.overlaps
    assert is_free(lock)


# -- cancellation ------------------------------------------------------------------


async def cancel_often(number, seed):
    """Have tasks wait for one lock, and cancel them at any point."""
    lock, witness = AsyncRWLock(), Witness()
    left = number

    async def work(dice):
        nonlocal left
        while left > 0:
            kind = "read" if dice.random() < 0.6 else "write"
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                async with getattr(lock, kind)():
                    witness.enter(kind)
                    try:
                        await anyio.lowlevel.checkpoint()
                    finally:
                        witness.leave(kind)

    async def cancel(dice):
        nonlocal left
        while left > 0:
            dice.shuffle(scopes)
            while scopes and left > 0:
                scopes.pop().cancel()
                left -= 1
                if dice.random() < 0.3:
                    await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()

    scopes = []
    async with anyio.create_task_group() as tasks:
        for task in range(20):
            tasks.start_soon(work, random.Random(seed + task))
        tasks.start_soon(cancel, random.Random(seed))
    assert not witness.overlaps
    assert is_free(lock.sync)


async def test_cancellations_leave_nothing_behind():
    with anyio.fail_after(PATIENCE):
        await cancel_often(3000, 1)


@pytest.mark.full
async def test_many_cancellations_leave_nothing_behind():
    with anyio.fail_after(55):
        await cancel_often(34_000, 2)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_hundred_thousand_cancellations_leave_nothing_behind():
    with anyio.fail_after(300):
        await cancel_often(100_000, 3)


def test_cancellations_by_asyncio_itself_leave_nothing_behind():
    async def main():
        lock, witness, dice = AsyncRWLock(), Witness(), random.Random(5)

        async def work():
            while True:
                kind = "read" if dice.random() < 0.6 else "write"
                async with getattr(lock, kind)():
                    witness.enter(kind)
                    try:
                        await asyncio.sleep(0)
                    finally:
                        witness.leave(kind)

        tasks = [asyncio.create_task(work()) for _ in range(20)]
        for _ in range(3000):
            number = dice.randrange(20)
            tasks[number].cancel()
            if dice.random() < 0.5:
                await asyncio.sleep(0)
            tasks[number] = asyncio.create_task(work())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not witness.overlaps
        assert is_free(lock.sync)

    asyncio.run(main())


async def test_a_cancelled_task_gets_no_lock_that_is_free():
    lock = AsyncRWLock()
    for acquire in (lock.acquire_readlock, lock.acquire_writelock):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await acquire()
            pytest.fail("it went on")
        assert is_free(lock.sync)


async def test_a_task_that_never_waits_lets_others_run_all_the_same():
    lock = AsyncRWLock()
    with anyio.move_on_after(0.02):
        begin = time.monotonic()
        while time.monotonic() - begin < PATIENCE:
            async with lock.read():
                pass
        pytest.fail("the time-out never came")


# -- loops that stop and die -------------------------------------------------------


@pytest.fixture
def loop():
    """Give an asyncio loop that does not run."""
    loop = asyncio.new_event_loop()
    yield loop
    if not loop.is_closed():
        for task in asyncio.all_tasks(loop):
            task.cancel()
        run_a_little(loop)
        loop.close()


def run_a_little(loop):
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))


def bury(loop, task):
    """Close a loop, and take away what would be logged of its task."""
    task._log_destroy_pending = False
    loop.close()


async def hold(lock, kind):
    async with getattr(lock.aio, kind)():
        await asyncio.get_running_loop().create_future()


def in_line(lock, name):
    """Have a thread wait for a lock; return it and what it got."""
    got = threading.Event()

    def work():
        getattr(lock, f"acquire_{name}lock")(PATIENCE)
        got.set()
        getattr(lock, f"release_{name}lock")()

    thread = threading.Thread(target=work)
    thread.start()
    waiting(lock, **{"readers" if name == "read" else "writers": 1})
    return thread, got


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_closed_loop_does_not_own_a_lock_for_who_comes(loop, kind):
    lock = RWLock()
    task = loop.create_task(hold(lock, kind))
    run_a_little(loop)
    assert lock.locked()
    with pytest.raises(LockTimeout):
        lock.acquire_writelock(0)
    bury(loop, task)
    lock.acquire_writelock(0)
    lock.release_writelock()
    del task
    gc.collect()  # its block ends now, and forgives that the lock was taken away
    assert is_free(lock)


@pytest.mark.parametrize("kind", ["read", "write"])
def test_the_end_of_a_block_of_a_closed_loop_gives_its_lock_back(loop, kind):
    lock = RWLock()
    task = loop.create_task(hold(lock, kind))
    run_a_little(loop)
    coroutine = task.get_coro()
    bury(loop, task)
    assert lock.locked()
    coroutine.close()
    assert not lock.locked()  # before anybody came and looked for dead owners


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_closed_loop_does_not_own_a_lock_for_who_waits(loop, kind):
    lock = RWLock()
    task = loop.create_task(hold(lock, kind))
    run_a_little(loop)
    thread, got = in_line(lock, "write")
    bury(loop, task)
    assert ended(thread)
    assert got.is_set()
    assert is_free(lock)


async def test_a_closed_loop_does_not_own_a_lock_for_other_loops(loop):
    lock = RWLock()
    task = loop.create_task(hold(lock, "write"))
    await anyio.to_thread.run_sync(run_a_little, loop)
    bury(loop, task)
    with anyio.fail_after(PATIENCE):
        async with lock.aio.read():
            pass
    assert is_free(lock)


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_loop_closed_with_an_offer_passes_it_on(loop, kind):
    lock = RWLock()
    lock.acquire_writelock()
    task = loop.create_task(hold(lock, kind))
    run_a_little(loop)
    waiting(lock, **{"readers" if kind == "read" else "writers": 1})

    def release():
        lock.release_writelock()  # the offer is made, and the loop stops
        loop.stop()

    loop.call_soon(release)
    loop.run_forever()
    bury(loop, task)
    lock.acquire_writelock(PATIENCE)
    lock.release_writelock()
    assert is_free(lock)


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_loop_that_stopped_with_an_offer_gets_it_when_it_runs_again(loop, kind):
    lock = RWLock()
    lock.acquire_writelock()
    task = loop.create_task(hold(lock, kind))
    run_a_little(loop)

    def release():
        lock.release_writelock()
        loop.stop()

    loop.call_soon(release)
    loop.run_forever()
    # Others have the lock meanwhile.
    lock.acquire_writelock(PATIENCE)
    lock.release_writelock()
    wait_for(lambda: run_a_little(loop) or lock.locked())
    task.cancel()
    run_a_little(loop)
    assert is_free(lock)


def test_a_reader_of_a_stopped_loop_does_not_let_readers_overtake_writers(loop):
    lock = RWLock()
    lock.acquire_writelock()
    task = loop.create_task(hold(lock, "read"))
    run_a_little(loop)
    waiting(lock, readers=1)
    lock.release_writelock()  # the turn is the readers', and the only one is asleep
    lock.acquire_readlock()
    thread, got = in_line_beside(lock, readers=1)
    assert not can_read(lock)
    lock.release_readlock()
    assert ended(thread)
    assert got.is_set()
    task.cancel()
    run_a_little(loop)
    assert is_free(lock)


def can_read(lock):
    """Tell whether another thread is let in to read at once."""
    let_in = []

    def work():
        try:
            with lock.read(0):
                let_in.append(True)
        except LockTimeout:
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return bool(let_in)


def in_line_beside(lock, *, readers):
    got = threading.Event()

    def work():
        with lock.write(PATIENCE):
            got.set()

    thread = threading.Thread(target=work)
    thread.start()
    waiting(lock, readers=readers, writers=1)
    return thread, got


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_finalizer_gives_a_lock_back_under_the_mutex_of_its_own_thread(kind):
    lock = RWLock()
    loop = asyncio.new_event_loop()
    task = loop.create_task(hold(lock, kind))
    run_a_little(loop)
    coroutine = task.get_coro()
    with lock.mutex:
        coroutine.close()  # as a collection at this moment would do
    bury(loop, task)
    assert is_free(lock)


def test_a_closed_guard_leaves_what_a_re_entrant_writer_still_holds():
    lock = RWLock(reentrant=True)

    async def main():
        async def inner():
            async with lock.aio.write():
                await asyncio.sleep(0)

        async with lock.aio.write():
            coroutine = inner()
            coroutine.send(None)
            coroutine.close()
            assert lock.stats().writer is not None
            with pytest.raises(LockTimeout):
                lock.acquire_readlock(0)
        async with lock.aio.read():
            coroutine = reading(lock)
            coroutine.send(None)
            coroutine.close()
            assert len(lock.stats().readers) == 1

    asyncio.run(main())
    assert is_free(lock)


async def reading(lock):
    async with lock.aio.read():
        await asyncio.sleep(0)


# -- many --------------------------------------------------------------------------


@pytest.mark.full
async def test_five_thousand_readers_at_once():
    lock = AsyncRWLock()
    inside, all_in, leave = 0, anyio.Event(), anyio.Event()

    async def read():
        nonlocal inside
        async with lock.read():
            inside += 1
            if inside == 5000:
                all_in.set()
            await leave.wait()

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            for _ in range(5000):
                tasks.start_soon(read)
            await all_in.wait()
            assert len(lock.stats().readers) == 5000
            with pytest.raises(LockTimeout, match="and 4995 more read"):
                await lock.acquire_writelock(0)
            leave.set()
    assert is_free(lock.sync)


def memory_of(waits, times):
    """Return how many bytes are kept after so many waits, in the long run."""
    waits(times)
    gc.collect()
    tracemalloc.start()
    try:
        waits(50)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        waits(times)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before


def test_waits_that_time_out_keep_no_memory():
    lock = RWLock()
    world = World("thread")
    holder = world.actor(lock)
    holder.do("acquire_writelock")

    def waits(times):
        for number in range(times):
            with pytest.raises(LockTimeout):
                (lock.acquire_readlock, lock.acquire_writelock)[number % 2](1e-6)

    assert memory_of(waits, 1000) < 8000
    assert not len(lock)
    world.close()


@pytest.mark.full
@pytest.mark.parametrize("backend", ["asyncio", "trio", "cupthread"])
def test_ten_thousand_waits_that_time_out_keep_no_memory(backend):
    lock = RWLock()
    lock.acquire_writelock()

    async def task_waits(times):
        for number in range(times):
            try:
                if number % 2:
                    await lock.aio.acquire_readlock(1e-6)
                else:
                    await lock.aio.acquire_writelock(1e-6)
            except LockTimeout:
                pass

    def thread_waits(times):
        for number in range(times):
            try:
                (lock.acquire_readlock, lock.acquire_writelock)[number % 2](1e-6)
            except LockTimeout:
                pass

    if backend == "cupthread":

        def waits(times):
            thread = CupThread(target=thread_waits, args=(times,))
            thread.start()
            thread.join()

    else:

        def waits(times):
            {"asyncio": asyncio.run, "trio": lambda main: trio.run(lambda: main)}[
                backend
            ](task_waits(times))

    assert memory_of(waits, 10_000) < 30_000
    assert not len(lock)
