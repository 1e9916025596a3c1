"""All services in one process: threads, asyncio and trio at once, for some seconds.

`python soak_program.py SECONDS SEED FOLDER` prints one JSON document: what was done,
and what was left in the end. Every worker takes random turns at all services, is
cancelled
and interrupted meanwhile, and keeps its own books.
"""

import asyncio
import gc
import json
import os
import random
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

import anyio
import trio

from cup.errors import CupError, JobInterrupted, LockTimeout, WaitTimeout
from cup.services.autowait import FileExists, aio as autowait_aio, wait
from cup.services.buffers import BufferPool
from cup.services.executor import ExecutionService
from cup.services.generator import CounterGenerator, UUID7Generator
from cup.services.heartbeat import HeartbeatService
from cup.services.serializer import Log
from cup.services.threadpool import ThreadPool
from cup.thread import RWLock


class Books:
    """What was done, by everybody."""

    def __init__(self):
        self.done = Counter()
        self.ids = []
        self.logged = []
        self.guarded = 0
        self.inside = 0
        self.faults = []

    def note(self, what):
        self.done[what] += 1

    def write(self):
        """Change what the lock guards, in a way that two at once would spoil."""
        if self.inside:
            self.faults.append("two writers at once")
        self.inside += 1
        value = self.guarded
        time.sleep(0)
        self.guarded = value + 1
        self.inside -= 1
        self.note("writes")


class World:
    """The services that all share."""

    def __init__(self, folder, seconds, seed):
        self.folder = Path(folder)
        self.end = time.monotonic() + seconds
        self.seed = seed
        self.books = Books()
        self.lock = RWLock(name="soak")
        self.pool = ThreadPool(1, 4, name="soak")
        self.pool.start()
        self.memory = BufferPool(16, 4096)
        self.numbers = CounterGenerator()
        self.uuids = UUID7Generator()
        self.alive = HeartbeatService(5.0)
        self.log = Log.open(self.folder / "log")
        self.service = ExecutionService(2, 2, name="soak")
        self.service.start()
        self.ticks = self.service.every(0.05, self.books.note, "ticks")

    def over(self):
        return time.monotonic() >= self.end

    def stop(self):
        """End everything; return what the services say of themselves."""
        self.ticks.cancel()
        report = self.service.stop()
        stopped = self.pool.stop()
        self.log.close()
        with Log.open(self.folder / "log") as log:
            kept = [record.payload for record in log.records()]
        books = self.books
        if sorted(kept) != sorted(books.logged):
            lost = len(set(books.logged) - set(kept))
            books.faults.append(f"{lost} records of {len(books.logged)} are lost")
        if len(set(books.ids)) != len(books.ids):
            books.faults.append("identifiers came twice")
        if books.guarded != books.done["writes"]:
            books.faults.append("writes under the lock are lost")
        for name, found in {
            "readers": len(self.lock.stats().readers),
            "blocks in use": self.memory.stats().used,
            "jobs that run": len(stopped.still_running) + self.pool.stats().running,
            "the executor has not ended": not report,
        }.items():
            if found:
                books.faults.append(f"left in the end: {found} {name}")


def busy(seconds):
    """Be a job that computes for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(200))
    return True


# -- in threads ------------------------------------------------------------------------


def run_job(world, rng):
    job = world.pool.submit(busy, rng.random() * 0.004)
    end = rng.randrange(4)
    if end == 0:
        job.cancel()
    elif end == 1:
        job.interrupt()
    try:
        job.result(10)
        world.books.note("jobs")
    except (CupError, JobInterrupted):
        world.books.note("ended jobs")


def write(world, rng):
    try:
        with world.lock.write(timeout=rng.choice([0.001, 1.0])):
            world.books.write()
    except LockTimeout:
        world.books.note("lock time-outs")


def read(world, _):
    with world.lock.read():
        world.books.note("reads")


def fill(world, rng):
    try:
        with world.memory.acquire(rng.randint(1, 9), timeout=0.5) as buffer:
            content = bytes([rng.randrange(256)]) * rng.randint(1, buffer.maxsize())
            buffer.set(content)
            if buffer.tobytes() != content:
                world.books.faults.append("a buffer holds something else")
            world.books.note("buffers")
    except WaitTimeout:
        world.books.note("buffer time-outs")


def draw(world, _):
    world.books.ids += world.numbers.next_ids(3)
    world.books.ids.append(world.uuids.next_id())


def keep(world, _):
    payload = b"%d" % world.numbers.next_id()
    world.log.append(payload)
    world.books.logged.append(payload)


def delay(world, rng):
    handle = world.service.after(rng.random() * 0.01, world.books.note, "delayed")
    if rng.random() < 0.5 and handle.cancel():
        world.books.note("cancelled timers")
    world.alive.refresh(f"host{rng.randrange(20)}")


def touch_and_wait(world, rng):
    path = world.folder / f"file{rng.randrange(10**9)}"
    world.pool.post(path.touch)
    wait(FileExists(path), timeout=10)
    path.unlink()
    world.books.note("files")


THREAD_TURNS = (run_job, write, read, fill, draw, keep, delay, touch_and_wait)


def in_thread(world, number):
    rng = random.Random(world.seed * 100 + number)
    while not world.over():
        try:
            rng.choice(THREAD_TURNS)(world, rng)
        except Exception as error:
            world.books.faults.append(f"a thread: {error!r}")


# -- in tasks --------------------------------------------------------------------------


async def await_job(world, rng):
    await world.pool.aio.options(on_cancel="interrupt").run(busy, rng.random() / 250)
    world.books.note("awaited jobs")


async def await_write(world, _):
    async with world.lock.aio.write():
        world.books.write()


async def await_read(world, _):
    async with world.lock.aio.read():
        world.books.note("awaited reads")
        await anyio.sleep(0)


async def await_memory(world, rng):
    with await world.memory.aio.acquire(rng.randint(1, 9)) as buffer:
        await anyio.sleep(0)
        buffer.set(b"task")
        if buffer.tobytes() != b"task":
            world.books.faults.append("a task's buffer holds something else")


async def await_id(world, _):
    world.books.ids.append(await world.uuids.aio.next_id())


async def await_record(world, _):
    payload = b"%d" % world.numbers.next_id()
    with anyio.CancelScope(shield=True):
        await world.log.aio.append(payload)
    world.books.logged.append(payload)
    world.books.note("awaited records")


async def await_file(world, rng):
    path = world.folder / f"task{rng.randrange(10**9)}"
    await world.pool.aio.post(path.touch)
    await autowait_aio.wait(FileExists(path), timeout=10)
    world.books.note("awaited files")


TASK_TURNS = (
    await_job,
    await_write,
    await_read,
    await_memory,
    await_id,
    await_record,
    await_file,
)


async def in_task(world, number):
    rng = random.Random(world.seed * 100 + number)
    while not world.over():
        with anyio.move_on_after(rng.choice([0.002, 0.02, 5.0])) as scope:
            try:
                await rng.choice(TASK_TURNS)(world, rng)
            except Exception as error:
                world.books.faults.append(f"a task: {error!r}")
        if scope.cancelled_caught:
            world.books.note("cancelled tasks")


async def tasks(world, first):
    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(in_task, world, first + number)


# -- disturbances ----------------------------------------------------------------------


def disturb(world):
    """Resize the pool, fork children, collect garbage."""
    rng = random.Random(world.seed)
    while not world.over():
        time.sleep(0.02)
        world.pool.resize(1, rng.randint(2, 6))
        if rng.random() < 0.1:
            fork(world)
        gc.collect(0)


def fork(world):
    child = os.fork()
    if not child:
        os._exit(in_child(world))
    status = os.waitpid(child, 0)[1]
    world.books.note("children")
    if status:
        world.books.faults.append(f"a child ended with {status}")


def in_child(world):
    """Use in a child what it has inherited; return an exit status."""
    try:
        use_memory(world)
        good = world.pool.submit(pow, 2, 5).result(5) == 32
        world.numbers.next_id()
        world.uuids.next_id()
        return 0 if good else 2
    except BaseException:
        traceback.print_exc()
        return 3


def use_memory(world):
    try:
        with world.memory.acquire(1, timeout=0.2) as buffer:
            buffer.set("child")
    except WaitTimeout:
        pass  # threads of the parent had all of it, and are not here to give it back


def descriptors():
    """Return what this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.append(f"{entry.name} {entry.readlink()}")
        except OSError:
            continue  # that of the list itself
    return found


def resident():
    """Return the memory that is in use, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def soak(world):
    """Let everybody work until the time is over; return the books."""
    threads = [threading.Thread(target=in_thread, args=(world, n)) for n in range(4)]
    threads += [
        threading.Thread(target=lambda: asyncio.run(tasks(world, 10))),
        threading.Thread(target=lambda: trio.run(tasks, world, 20)),
    ]
    for thread in threads:
        thread.start()
    disturb(world)
    for thread in threads:
        thread.join()
    world.stop()
    return world.books


def main():
    seconds, seed, folder = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    before, at_first = descriptors(), resident()
    books = soak(World(folder, seconds, seed))
    gc.collect()
    print(
        json.dumps(
            {
                "done": books.done,
                "faults": books.faults[:20],
                "threads": threading.active_count(),
                "descriptors": [*set(descriptors()) - set(before)],
                "grown": resident() - at_first,
            }
        )
    )


if __name__ == "__main__":
    main()
