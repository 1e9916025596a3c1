"""Crashes while tasks append: the log keeps its word to them, too."""

import errno
import itertools

import anyio
import anyio.to_thread
from log_crash_tools import OPTIONS, PLACE, new_disk, survive_all

from cup.errors import LogError, WriteFailed
from cup.services.serializer import AsyncLog


async def survive(states):
    """Check states in a thread: opening and reading blocks."""
    return await anyio.to_thread.run_sync(survive_all, states)


async def live(disk, tasks=8, each=6):
    """Let tasks append one by one, and two of them in batches; note what is durable."""
    failures = []
    log = await AsyncLog.open(PLACE, disk=disk, **OPTIONS)

    async def work(name):
        for n in range(each):
            payloads = [b"t%d-%d:" % (name, n) + b"z" * (n * 67 % 400)]
            if name < 2:
                payloads = [
                    b"b%d/3/%d:" % (name * 100 + n, part) + b"y" * 90
                    for part in range(3)
                ]
            for payload in payloads:
                disk.note(("sent", payload))
            try:
                ids = await log.append_many(payloads)
            except WriteFailed as error:
                failures.append(error)
                for payload in payloads:
                    disk.note(("failed", payload))
                continue
            except LogError as error:
                failures.append(error)
                return
            for number, payload in zip(ids, payloads, strict=True):
                disk.note(("ack", number, payload))

    async with anyio.create_task_group() as group:
        for name in range(tasks):
            group.start_soon(work, name)
    stats = log.stats()
    try:
        await log.close()
    except LogError as error:
        failures.append(error)
    return stats, failures


async def test_crash_of_many_tasks_is_survived():
    disk = new_disk()
    disk.inject("sync", delay=0.0005, times=None)
    stats, failures = await live(disk)
    assert (stats.durable_id, failures) == (2 * 6 * 3 + 6 * 6, [])
    assert stats.groups < 48
    assert await survive(itertools.islice(disk.crash_states(), 0, None, 25)) >= 20


async def test_crash_after_a_failed_sync_is_survived():
    disk = new_disk()
    disk.inject("sync", path="*.seg*", error=errno.EIO, nth=5)
    stats, failures = await live(disk)
    # It may have hit a new segment, which is given up then.
    assert stats.poisoned or stats.failed_writes
    assert failures
    kinds = ["kill", "lost", "mixed"]
    await survive(itertools.islice(disk.crash_states(kinds=kinds), 0, None, 20))
    await survive(disk.crash_states(points={len(disk.trace)}, variants=4))


async def test_crash_after_a_full_disk_is_survived():
    disk = new_disk(capacity=6000)
    stats, failures = await live(disk)
    assert stats.failed_writes
    assert failures
    assert all(isinstance(error, WriteFailed) for error in failures)
    kinds = ["kill", "lost", "suffix"]
    await survive(itertools.islice(disk.crash_states(kinds=kinds), 0, None, 20))
    await survive(disk.crash_states(points={len(disk.trace)}, variants=4))


async def test_cancelled_append_is_durable_or_not_there():
    disk = new_disk()
    log = await AsyncLog.open(PLACE, disk=disk, **OPTIONS)
    disk.inject("sync", delay=0.02, nth=3)
    done = []
    for n in range(12):
        payload = b"%d" % n
        disk.note(("sent", payload))
        with anyio.move_on_after(0.005):
            done.append((await log.append(payload), payload))
            disk.note(("ack", *done[-1]))
    await log.close()
    assert len(done) > 6
    assert await survive(itertools.islice(disk.crash_states(), 0, None, 12)) >= 10
