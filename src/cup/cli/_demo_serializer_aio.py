"""The durable log, in tasks; its twin for threads is `_demo_serializer`."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from cup.errors import CorruptRecord, LogPoisoned, WriteFailed
from cup.services.serializer import AsyncLog, AsyncLogReader
from cup.services.serializer.aio import repair, verify
from cup.testing import CrashDisk

from . import _demo_serializer as twin
from ._demo_part import AsyncPart
from ._demo_serializer import (
    AFTER_FULL,
    DAMAGED,
    FAILED,
    FULL,
    PLACE,
    flip_a_bit,
    kill_writer,
    missing,
    tell_checked,
    tell_saved,
    tell_shared,
    tell_survivors,
)
from ._demo_serializer_writer import HANDS, SEGMENT, payload

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from cup.services.serializer import Record

    from ._demo_part import Stage

__all__ = ["PARTS"]


async def kill(stage: Stage) -> None:
    """Kill a process that appends, again and again; see what is left."""
    place = stage.folder / "log"
    each = stage.many(300, 60)
    how = "trio" if "trio" in sys.modules and in_trio() else "asyncio"
    lives = stage.many(3, 1)
    acked: dict[int, bytes] = {}
    for _ in range(lives):
        acked |= await anyio.to_thread.run_sync(kill_writer, place, how, each)
    async with await AsyncLog.open(place, segment_bytes=SEGMENT) as log:
        tell_survivors(stage, acked, await listed(log.records()), lives * each)
    tell_checked(stage, await verify(place))


def in_trio() -> bool:
    """Tell whether the loop is trio's."""
    import trio  # noqa: PLC0415 - it is loaded

    return trio.lowlevel.in_trio_run()


async def listed(records: AsyncIterable[Record[bytes]]) -> list[Record[bytes]]:
    """Return all of them."""
    return [record async for record in records]


async def share(stage: Stage) -> None:
    """Append in many tasks: those who wait share a sync."""
    each = stage.many(100, 30)
    ids: list[int] = []
    async with await AsyncLog.open(stage.folder / "log") as log:

        async def append(hand: int) -> None:
            ids.extend([await log.append(payload(hand, n)) for n in range(each)])

        async with anyio.create_task_group() as tasks:
            for hand in range(HANDS):
                tasks.start_soon(append, hand)
        tell_shared(stage, ids, log.stats().groups, HANDS * each)


async def damage(stage: Stage) -> None:
    """Flip one bit of a log: nobody reads past it; the rest can be saved."""
    place = stage.folder / "log"
    async with await AsyncLog.open(place, segment_bytes=SEGMENT) as log:
        await log.append_many(payload(0, number) for number in range(100))
    flip_a_bit(place)
    async with await AsyncLogReader.open(place) as reader:
        try:
            await listed(reader.records())
        except CorruptRecord as error:
            stage.exactly("record that is damaged", error.record_id, DAMAGED)
    stage.exactly("records that are lost", (await verify(place)).lost, 1)
    tell_saved(stage, await repair(place, salvage=True))
    async with await AsyncLog.open(place) as log:
        saved = await listed(log.records())
        stage.exactly("records that are saved", len(saved), 99)
        stage.exactly("id of the next one", await log.append(b"on and on"), 101)


async def power(stage: Stage) -> None:
    """Cut the power at every point; fill the disk up; let a sync fail."""
    disk = CrashDisk(seed=stage.seed)
    async with await AsyncLog.open(
        PLACE, disk=disk, preallocate=False, segment_bytes=2048
    ) as log:
        for number in range(stage.many(20, 8)):
            disk.note(await log.append(payload(1, number)))
    lost = 0
    for state in disk.crash_states():
        async with await AsyncLog.open(
            PLACE, disk=state.mount(), preallocate=False
        ) as log:
            lost += missing(state, log.durable_id)
    stage.exactly("power cuts that lost what was durable", lost, 0)

    disk = CrashDisk()
    log = await AsyncLog.open(PLACE, disk=disk, preallocate=False)
    await log.append(b"fits")
    disk.capacity = 600
    try:
        await log.append(bytes(1000))
    except WriteFailed as error:
        stage.exactly(FULL, type(error).__name__, "WriteFailed")
    disk.capacity = None
    stage.exactly(AFTER_FULL, await log.append(bytes(1000)), 2)
    disk.inject("sync", error=errno.EIO)
    for _ in range(2):
        try:
            await log.append(b"never")
        except LogPoisoned as error:
            stage.exactly(FAILED, type(error).__name__, "LogPoisoned")
    await log.close()


PARTS: Final = (
    AsyncPart(twin.KILL, kill),
    AsyncPart(twin.SHARE, share),
    AsyncPart(twin.DAMAGE, damage),
    AsyncPart(twin.POWER, power),
)
