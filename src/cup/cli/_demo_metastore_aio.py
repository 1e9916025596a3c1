"""Metadata and jobs that survive, in tasks; the twin is `_demo_metastore`."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from cup.services.executor import AsyncExecutionService, LogStore
from cup.services.serializer import AsyncMetaStore

from . import _demo_metastore as twin
from ._demo_metastore import (
    HANDS,
    RAN_BEFORE,
    READY,
    WAITING,
    changes,
    follow,
    lines,
    tell_jobs,
    tell_shared,
    tell_state,
)
from ._demo_metastore_jobs import command
from ._demo_part import AsyncPart

if TYPE_CHECKING:
    from ._demo_part import Stage

__all__ = ["PARTS"]


async def state(stage: Stage) -> None:
    """Change keys in many tasks, watch that, and open the store again."""
    each = stage.many(200, 40)
    place = stage.folder / "state"
    async with await AsyncMetaStore.open(place) as store:
        before = store.snapshot()

        async def work(hand: int) -> None:
            for number in range(each):
                await store.update(*changes(hand, number))

        async with anyio.create_task_group() as tasks:
            for hand in range(HANDS):
                tasks.start_soon(work, hand)
        changed = [c async for c in store.watch(start=before.next_id, timeout=0)]
        seen = follow(dict(before), [*changed])
        there = dict(store.items())
        await store.compact()
        tell_shared(stage, store.stats().log.groups, HANDS * each)
    async with await AsyncMetaStore.open(place) as store:
        found = dict(store.items())
    await to_thread.run_sync(tell_state, stage, place, found, there, seen)


async def jobs(stage: Stage) -> None:
    """Kill a process that holds jobs, and let another one run them."""
    soon, later = stage.many(30, 10), stage.many(100, 20)
    place, path = stage.folder / "jobs", stage.folder / "ran"
    child = await anyio.open_process(
        command(place, path, soon, later), stdout=subprocess.PIPE, stderr=None
    )
    async with child:
        assert child.stdout is not None, "it is a pipe"
        said = await child.stdout.receive()
        stage.exactly(READY, said.decode().strip(), "ready")
        child.kill()
    stage.exactly(RAN_BEFORE, len(lines(path)), soon)
    store = await to_thread.run_sync(LogStore.open, place)
    try:
        async with AsyncExecutionService(store=store) as executor:
            stage.exactly(WAITING, len(store), later)
            handles = [executor.find(f"later {number}") for number in range(later)]
            for job in handles:
                if job is not None:
                    job.reschedule(0)
            for job in handles:
                if job is not None:
                    await job
            await executor.stop()
            tell_jobs(stage, path, soon + later, len(store))
    finally:
        await to_thread.run_sync(store.close)


PARTS: Final = tuple(
    AsyncPart(part, run) for part, run in zip(twin.PARTS, (state, jobs), strict=True)
)
