"""Going through a log past what is damaged, and saying exactly what that is.

For `verify`, for `repair`, and for who asks to skip damage. Whoever just reads a log
stops at the first damage (`_core_cursor`).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cup.errors import CorruptRecord

from ._core_checksum import CRC32, CRC32C
from ._core_folder import read_exactly, read_header
from ._core_format import CONTROL, FRAME_SIZE, HEADER_SIZE, SegmentHeader
from ._core_walk import NO_LIMIT, Tail, Walk, content_end, good_headers, judge
from .api_values import Finding

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from cup._core.disk import Disk, DiskFile

    from ._core_folder import Place
    from .api_values import FindingKind, Record

__all__ = ["Part", "Rescued", "find_header", "missing", "salvage"]

_SALT: Final = struct.Struct("<I")
_SALT_AT: Final = 56
_CODEC_AT: Final = 64
_CODEC_END: Final = 80


class Part(NamedTuple):
    """A segment, as it is gone through.

    Attributes:
        place: Where it is.
        file: The same, open.
        walk: What goes through it; None if nothing in it can be read.
        stop: The id that its successor follows; None if there is no direct one.
        limit: The record not to look at, nor at what follows.
        last: Whether it is the last one, which may have a torn tail.
    """

    place: Place
    file: DiskFile
    walk: Walk | None
    stop: int | None
    limit: int
    last: bool


Rescued: TypeAlias = "list[Record[bytes]] | Finding"


def salvage(
    disk: Disk, places: list[Place], limit: int, max_record: int
) -> Generator[tuple[Part, Rescued]]:
    """Give all good records, and all that is not good, in their order.

    An empty list ends each segment.

    Args:
        disk: Where the log is.
        places: Its segments, the oldest first; some may be missing.
        limit: The record to stop before; `NO_LIMIT` if nobody writes to the log.
        max_record: The largest record, in bytes.

    Raises:
        UnsupportedFormat: If a later version wrote it.
        RecordTooLarge: If a record has more than `max_record` bytes.
        OSError: If it cannot be read.
    """
    end: int | None = None
    for index, place in enumerate(places):
        following = places[index + 1] if index + 1 < len(places) else None
        file = disk.open(place.path)
        try:
            header, broken = find_header(file, place, max_record)
            stop = None
            if following is not None and following.serial == place.serial + 1:
                stop = _follows(disk, following, max_record)
            walk = None
            if header is not None:
                walk = Walk(file, place.path, header, max_record=max_record)
            part = Part(place, file, walk, stop, limit, following is None)
            begin = place.first_id if header is None else header.follows
            if end is not None and end < begin:
                yield part, missing(place.path, end, begin)
            if broken:
                yield part, _broken_header(part)
            if walk is not None:
                for found in _go_through(part, walk):
                    yield part, found
            yield part, []
            if walk is not None:
                end = walk.next_id if stop is None else None
            else:
                end = place.first_id if stop is None else None
        finally:
            file.close()


def find_header(
    file: DiskFile, place: Place, max_record: int
) -> tuple[SegmentHeader | None, bool]:
    """Return the header of a segment, and whether it is damaged.

    Much of a damaged header is known from elsewhere; if the first frame proves that the
    salt is right, the segment can be read.
    """
    try:
        return read_header(file, place), False
    except CorruptRecord:
        pass
    content = read_exactly(file, HEADER_SIZE + FRAME_SIZE, 0)
    if len(content) == HEADER_SIZE + FRAME_SIZE:
        codec = content[_CODEC_AT:_CODEC_END].rstrip(b"\0").decode("ascii", "replace")
        for checksum in (CRC32, CRC32C):
            header = SegmentHeader(
                serial=place.serial,
                first_id=place.first_id,
                follows=place.first_id,
                created=0,
                salt=_SALT.unpack_from(content, _SALT_AT)[0],
                checksum=checksum,
                codec=codec,
            )
            walk = Walk(file, place.path, header, max_record=max_record)
            if walk.peek(HEADER_SIZE) == place.first_id:
                return header, True
    return None, True


def _follows(disk: Disk, place: Place, max_record: int) -> int:
    file = disk.open(place.path)
    try:
        header, _ = find_header(file, place, max_record)
    finally:
        file.close()
    return place.first_id if header is None else header.follows


def _go_through(part: Part, walk: Walk) -> Iterator[Rescued]:
    """Give what is good in one segment, and what is not."""
    limit = part.limit if part.last else NO_LIMIT
    may_be_torn = part.last and limit == NO_LIMIT
    held: list[Record[bytes]] = []  # of a batch that is not complete yet
    while walk.next_id < limit:
        records = held + walk.read(limit)
        whole = walk.whole[0]
        held = [record for record in records if record.id >= whole]
        if len(held) < len(records):
            yield records[: len(records) - len(held)]
        if not walk.bad:
            continue

        if may_be_torn and judge(walk) is not Tail.DAMAGED:
            yield from _torn(walk)
            return

        if held:
            yield held
            held = []
        if _is_end(part, walk):
            return

        finding, further = _damage(part, walk)
        yield finding
        if further is None:
            return
        walk.start_at(*further)


def _is_end(part: Part, walk: Walk) -> bool:
    """Tell whether a segment ends here, as it should."""
    if part.stop is not None and walk.next_id != part.stop:
        return False

    empty = content_end(walk.file, walk.offset) == walk.offset
    return walk.sealed and empty


def _torn(walk: Walk) -> Iterator[Finding]:
    number, offset = walk.whole
    size = content_end(walk.file, offset) - offset
    if size:
        yield Finding(
            kind="torn",
            path=walk.path,
            offset=offset,
            size=size,
            first_id=number,
            stop_id=number,
            reason="a crash cut off a write that was not acknowledged",
        )


def _damage(part: Part, walk: Walk) -> tuple[Finding, tuple[int, int] | None]:
    """Say what is damaged here, and where good frames go on."""
    first, offset = walk.next_id, walk.offset
    for found in good_headers(walk, offset + 1):
        if found.seq >= first:
            control = found.seq == first and bool(found.flags & CONTROL)
            kind: FindingKind = "index" if control else "damage"
            return _finding(part, kind, found.offset, found.seq), (
                found.seq,
                found.offset,
            )
    end = content_end(walk.file, offset)
    stop = first if part.stop is None else max(first, part.stop)
    return _finding(part, "seal" if stop == first else "damage", end, stop), None


def _finding(part: Part, kind: FindingKind, end: int, stop: int) -> Finding:
    walk = part.walk
    assert walk is not None, "something was read"
    return Finding(
        kind=kind,
        path=walk.path,
        offset=walk.offset,
        size=end - walk.offset,
        first_id=walk.next_id,
        stop_id=stop,
        reason=walk.bad,
    )


def _broken_header(part: Part) -> Finding:
    first = part.place.first_id
    stop = first
    size = HEADER_SIZE
    if part.walk is None:
        stop = first if part.stop is None else max(first, part.stop)
        size = part.file.size()
    return Finding(
        kind="header",
        path=part.place.path,
        offset=0,
        size=size,
        first_id=first,
        stop_id=stop,
        reason="the header of the segment is damaged",
    )


def missing(path: str, first_id: int, stop_id: int) -> Finding:
    """Return what is found where files are missing."""
    return Finding(
        kind="missing",
        path=path,
        offset=0,
        size=0,
        first_id=first_id,
        stop_id=stop_id,
        reason="files with records are missing before it",
    )
