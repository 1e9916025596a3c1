"""The durable log, in threads; its twin for tasks is `_demo_serializer_aio`."""

from __future__ import annotations

import errno
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from cup.errors import CorruptRecord, LogPoisoned, WriteFailed
from cup.services.serializer import Log, LogReader, repair, verify
from cup.services.threadpool import ThreadPool
from cup.testing import CrashDisk

from ._demo_part import Part
from ._demo_serializer_writer import HANDS, SEGMENT, payload

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cup.services.serializer import Record, RepairReport, VerifyReport
    from cup.testing import CrashState

    from ._demo_part import Stage

__all__ = ["PARTS"]

DAMAGED: Final = 33
"""The record that is damaged."""
PLACE: Final = "/log"
"""Where a log is on a disk in memory."""
FULL: Final = "error on a full disk"
FAILED: Final = "error after a failed sync"
AFTER_FULL: Final = "records that a full disk was given room for, and that are durable"


def kill(stage: Stage) -> None:
    """Kill a process that appends, again and again; see what is left."""
    place = stage.folder / "log"
    each = stage.many(300, 60)
    lives = stage.many(3, 1)
    acked: dict[int, bytes] = {}
    for _ in range(lives):
        acked |= kill_writer(place, "threads", each)
    with Log.open(place, segment_bytes=SEGMENT) as log:
        tell_survivors(stage, acked, log.records(), lives * each)
    tell_checked(stage, verify(place))


def share(stage: Stage) -> None:
    """Append in many threads: those who wait share a sync."""
    each = stage.many(100, 30)
    with Log.open(stage.folder / "log") as log:

        def append(hand: int) -> list[int]:
            return [log.append(payload(hand, number)) for number in range(each)]

        with ThreadPool(max_workers=HANDS) as pool:
            jobs = [pool.submit(append, hand) for hand in range(HANDS)]
            ids = [number for job in jobs for number in job.result()]
        tell_shared(stage, ids, log.stats().groups, HANDS * each)


def damage(stage: Stage) -> None:
    """Flip one bit of a log: nobody reads past it; the rest can be saved."""
    place = stage.folder / "log"
    with Log.open(place, segment_bytes=SEGMENT) as log:
        log.append_many(payload(0, number) for number in range(100))
    flip_a_bit(place)
    with LogReader.open(place) as reader:
        try:
            sum(1 for _ in reader.records())
        except CorruptRecord as error:
            stage.exactly("record that is damaged", error.record_id, DAMAGED)
    stage.exactly("records that are lost", verify(place).lost, 1)
    tell_saved(stage, repair(place, salvage=True))
    with Log.open(place) as log:
        stage.exactly("records that are saved", sum(1 for _ in log.records()), 99)
        stage.exactly("id of the next one", log.append(b"on and on"), 101)


def power(stage: Stage) -> None:
    """Cut the power at every point; fill the disk up; let a sync fail."""
    disk = CrashDisk(seed=stage.seed)
    with Log.open(PLACE, disk=disk, preallocate=False, segment_bytes=2048) as log:
        for number in range(stage.many(20, 8)):
            disk.note(log.append(payload(1, number)))
    lost = 0
    for state in disk.crash_states():
        with Log.open(PLACE, disk=state.mount(), preallocate=False) as log:
            lost += missing(state, log.durable_id)
    stage.exactly("power cuts that lost what was durable", lost, 0)

    disk = CrashDisk()
    log = Log.open(PLACE, disk=disk, preallocate=False)
    log.append(b"fits")
    disk.capacity = 600
    try:
        log.append(bytes(1000))
    except WriteFailed as error:
        stage.exactly(FULL, type(error).__name__, "WriteFailed")
    disk.capacity = None
    stage.exactly(AFTER_FULL, log.append(bytes(1000)), 2)
    disk.inject("sync", error=errno.EIO)
    for _ in range(2):
        try:
            log.append(b"never")
        except LogPoisoned as error:
            stage.exactly(FAILED, type(error).__name__, "LogPoisoned")
    log.close()


# -- what both twins use ---------------------------------------------------------------


def kill_writer(place: Path, how: str, acks: int) -> dict[int, bytes]:
    """Let a process append, kill it, and return what it said was durable."""
    program = [sys.executable, "-m", "cup.cli._demo_serializer_writer", how, str(place)]
    writer = subprocess.Popen(program, stdout=subprocess.PIPE)  # noqa: S603 - ours
    with writer:
        assert writer.stdout is not None, "it is a pipe"
        told = [writer.stdout.readline() for _ in range(acks)]
        writer.kill()
        told += writer.stdout.readlines()
    lines = (line.split() for line in told)
    return {int(id_): payload(int(hand), int(number)) for id_, hand, number in lines}


def tell_survivors(
    stage: Stage, acked: dict[int, bytes], records: Iterable[Record[bytes]], least: int
) -> None:
    """State that nothing acknowledged is lost, and no id is missing."""
    many = f"{least} or more" if len(acked) >= least else f"{len(acked)}"
    stage.exactly("records acknowledged by writers", many, f"{least} or more")
    there = {record.id: record.payload for record in records}
    lost = [number for number, content in acked.items() if there.get(number) != content]
    stage.exactly("acknowledged records that kill -9 has lost", len(lost), 0)
    holes = len(there) - max(there, default=0)
    stage.exactly("ids that are missing", holes, 0)


def tell_checked(stage: Stage, report: VerifyReport) -> None:
    """State that every byte of the files is as it should be."""
    stage.exactly("findings when all files are checked", len(report.findings), 0)


def tell_shared(stage: Stage, ids: list[int], syncs: int, count: int) -> None:
    """State that each append got an id of its own, and most did not pay for a sync."""
    stage.exactly("different ids", len({*ids}), count)
    fewer = "yes" if syncs < count else f"no: {syncs}"
    stage.exactly("fewer syncs than appends", fewer, "yes")


def flip_a_bit(place: Path) -> None:
    """Damage one record."""
    [path] = place.glob("*.seg")
    content = bytearray(path.read_bytes())
    content[content.index(payload(0, DAMAGED - 1))] ^= 1
    path.write_bytes(content)


def tell_saved(stage: Stage, report: RepairReport) -> None:
    """State what salvaging has cost."""
    stage.exactly("records that were given up", report.lost, 1)
    stage.exactly("files kept aside", len(report.quarantined), 1)


def missing(state: CrashState, durable: int) -> bool:
    """Tell whether a power cut has lost something that was acknowledged."""
    acked = [note for note in state.notes if isinstance(note, int)]
    return durable < max(acked, default=0)


KILL: Final = Part("serializer.kill", "kill a writer, and see what survived", kill)
SHARE: Final = Part("serializer.share", "share syncs among many who append", share)
DAMAGE: Final = Part("serializer.damage", "damage a log, and save the rest", damage)
POWER: Final = Part(
    "serializer.power", "cut the power, fill the disk, let it fail", power
)
PARTS: Final[tuple[Part, ...]] = (KILL, SHARE, DAMAGE, POWER)
