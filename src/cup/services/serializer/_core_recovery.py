"""Opening a log for writing: what a crash has left, made whole and durable.

1. Files that were never finished are removed.
2. The last segment is walked through, record by record. A bad frame is a torn tail or
   damage; `_core_walk.judge` tells which, the durable mark knows more at times.
3. A torn tail is cut off. The last group is written again as it is: it may be in the
   cache only, or be there and held for stored by a system whose sync has failed in the
   process that died (Rebello et al., "Can Applications Recover from fsync Failures?",
   ATC 2020). Then the file is synced, and its directory.

All of that can be interrupted by the next crash, and begins anew then.

Not here: damage in segments before the last, which is found by who reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cup.errors import CorruptRecord, TornTail, UnsupportedFormat

from ._core_folder import (
    TEMPORARY,
    keep_folder,
    list_places,
    read_header,
    rewrite,
)
from ._core_segment import Segment, create_segment, publish_segment
from ._core_walk import NO_LIMIT, Tail, Walk, content_end, judge

if TYPE_CHECKING:
    from cup._core.disk import Disk

    from ._core_folder import Place

__all__ = ["Recovered", "check_empty", "recover"]


class Recovered(NamedTuple):
    """A log that is ready to be written to.

    Attributes:
        places: Its segments, the last one included.
        segment: The last one.
        next_id: The id of the next record.
        cut: How many bytes of a torn tail were cut off.
    """

    places: list[Place]
    segment: Segment
    next_id: int
    cut: int


def recover(
    disk: Disk,
    folder: str,
    *,
    durable: int,
    max_record: int,
    checksum: int,
    codec: str,
    cut: bool,
) -> Recovered:
    """Make a log ready to be written to; the caller holds its lock.

    Args:
        disk: Where it is.
        folder: Its directory, which exists.
        durable: The record that follows the last that is known to be durable.
        max_record: The largest record, in bytes.
        checksum: The number of the checksum of a new segment.
        codec: The name of the codec of a new segment.
        cut: Whether a torn tail may be cut off.

    Raises:
        CorruptRecord: If something that was durable is damaged or gone.
        TornTail: If there is one, and it is not to be cut off.
        UnsupportedFormat: If the last segment needs a later version.
        OSError: If the disk fails.
    """
    _remove_drafts(disk, folder)
    places = list_places(disk, folder)
    if not places:
        return _begin(disk, folder, durable, checksum, codec)

    place = places[-1]
    file = disk.open(place.path, write=True)
    try:
        walk = Walk(file, place.path, read_header(file, place), max_record=max_record)
        index = _walk_through(walk)
        lost = _judge(walk, durable, cut=cut)
        next_id, end = walk.whole
        segment = Segment(place, walk.header, file, end)
        segment.index = [entry for entry in index if entry[1] < end]
        rewrite(file, walk.group_offset, end)
        file.truncate(end)
        file.sync()
        disk.sync_dir(folder)
    except BaseException:
        file.close()
        raise
    return Recovered(places, segment, next_id, lost)


def _remove_drafts(disk: Disk, folder: str) -> None:
    for name in disk.listdir(folder):
        if name.endswith(TEMPORARY):
            disk.unlink(f"{folder}/{name}")


def _begin(
    disk: Disk, folder: str, durable: int, checksum: int, codec: str
) -> Recovered:
    if durable > 1:
        raise CorruptRecord(
            f"{folder}: there are no segments, but record {durable - 1} was durable; "
            f"repair() begins anew",
            path=folder,
            record_id=durable - 1,
        )

    keep_folder(disk, folder)
    segment = create_segment(
        disk,
        folder,
        serial=1,
        first_id=1,
        follows=1,
        checksum=checksum,
        codec=codec,
    )
    publish_segment(disk, folder, segment)
    return Recovered([segment.place], segment, 1, 0)


def _walk_through(walk: Walk) -> list[tuple[int, int]]:
    """Go to the end, or to the first bad frame; return an index on the way."""
    index: list[tuple[int, int]] = []
    while not walk.bad:
        index.append((walk.next_id, walk.offset))
        walk.read(NO_LIMIT)
    return index


def _judge(walk: Walk, durable: int, *, cut: bool) -> int:
    """Return how many bytes are to be cut off.

    Raises:
        CorruptRecord: If something that was durable is not there.
        TornTail: If something is to be cut off, and must not be.
    """
    tail = judge(walk)
    next_id, end = walk.whole
    if tail is Tail.DAMAGED or next_id < durable:
        known = "records behind it" if tail is Tail.DAMAGED else "the durable mark"
        raise CorruptRecord(
            f"{walk.path}: record {walk.next_id} at {walk.offset} was durable, and "
            f"{walk.bad} ({known} proves it); repair() saves what can be saved",
            path=walk.path,
            offset=walk.offset,
            record_id=walk.next_id,
        )

    lost = content_end(walk.file, end) - end
    if tail is Tail.CLEAN and end == walk.offset:
        return 0

    if not cut:
        raise TornTail(
            f"{walk.path}: a crash cut off record {walk.next_id} at {walk.offset}, "
            f"which was never acknowledged; open with on_torn='cut' to remove it",
            path=walk.path,
            offset=walk.offset,
            record_id=walk.next_id,
        )
    return lost


def check_empty(folder: str, found: Recovered, codec: str) -> None:
    """Refuse another codec where there are records already.

    Raises:
        UnsupportedFormat: If there are.
    """
    header = found.segment.header
    if len(found.places) > 1 or found.next_id > header.first_id:
        raise UnsupportedFormat(
            f"{folder}: its payloads are {header.codec!r}, and it is opened with "
            f"codec {codec!r}; open it with the codec it was made with"
        )
