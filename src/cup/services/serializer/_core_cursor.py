"""Reading records in their order, over all segments, up to what is durable.

A cursor remembers where it is and goes on from there. It reads files that a writer may
be appending to, in this process or in another one: up to a limit that somebody else
knows, it takes a bad frame for damage; beyond, it does not look.

Not here: where that limit is (`_core` for a log that is open here, `_core_reader` for
others).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from cup.errors import CorruptRecord, RecordGone

from ._core_folder import list_places, read_exactly, read_header
from ._core_format import FRAME, FRAME_SIZE, HEADER_SIZE, INDEX, SEAL, SEAL_SIZE
from ._core_walk import Walk

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from cup._core.disk import Disk

    from ._core_folder import Place
    from .api import Record

__all__ = ["Cursor", "approach", "damage", "read_index", "read_seal"]

_OFFSET: Final = struct.Struct("<Q")
_ENTRY: Final = struct.Struct("<QQ")
NO_OFFSET: Final = 1 << 64  # greater than all
_LARGEST_INDEX: Final = 1 << 20  # bytes; one that is larger is not worth its memory


class Cursor:
    """A place in a log, and the way forward from there. Not thread-safe.

    Args:
        disk: Where the log is.
        folder: Its directory.
        start: The first record to read; None for the first there is.
        max_record: The largest record, in bytes.
        active: The index of a segment that is being written, under its file; None if
            nobody knows it.

    Raises:
        RecordGone: If `start` lies before the first record of the log.
        OSError: If the directory cannot be read.
    """

    __slots__ = ("_active", "_disk", "_folder", "_max_record", "_walk", "next_id")

    def __init__(
        self,
        disk: Disk,
        folder: str,
        *,
        start: int | None,
        max_record: int,
        active: tuple[str, list[tuple[int, int]]] | None = None,
    ) -> None:
        self._walk: Walk | None = None
        self._disk = disk
        self._folder = folder
        self._max_record = max_record
        self._active = active
        places = list_places(disk, folder)
        first = places[0].first_id if places else 1
        self.next_id: int = first if start is None else start
        if self.next_id < first:
            raise RecordGone(
                f"record {start} is gone: the log begins with record {first}"
            )

    def read(self, limit: int) -> list[Record[bytes]]:
        """Return some records, the next ones; none if there is none before `limit`.

        Raises:
            CorruptRecord: If one that is before `limit` is damaged or gone.
            RecordGone: If it was purged meanwhile.
            OSError: If it cannot be read.
        """
        while self.next_id < limit:
            walk = self._walk or self._enter()
            records = walk.read(limit)
            wanted, self.next_id = self.next_id, max(self.next_id, walk.next_id)
            if records and records[0].id < wanted:
                records = [record for record in records if record.id >= wanted]
            if records:
                return records
            if walk.bad:
                self._move_on(walk)
        return []

    def _enter(self) -> Walk:
        """Open the segment of the next record, and go near it."""
        places = list_places(self._disk, self._folder)
        at = bisect_right([place.first_id for place in places], self.next_id) - 1
        if at < 0:
            raise self._gone()
        walk = self._open(places[at])
        if self._active is not None and self._active[0] == walk.path:
            index = self._active[1]
        else:
            index = read_index(walk)
        approach(walk, index, self.next_id)
        return walk

    def _move_on(self, walk: Walk) -> None:
        """Go from the end of a segment to its successor, which must fit."""
        serial = walk.header.serial + 1
        for place in list_places(self._disk, self._folder):
            if place.serial > serial:
                raise self._gone()
            if place.serial == serial:
                following = self._open(place)
                if following.header.follows != walk.next_id:
                    break
                self.next_id = max(self.next_id, following.next_id)
                return
        raise damage(walk)

    def _open(self, place: Place) -> Walk:
        try:
            file = self._disk.open(place.path)
        except FileNotFoundError:
            raise self._gone() from None
        try:
            header = read_header(file, place)
        except BaseException:
            file.close()
            raise
        self.close()
        self._walk = Walk(file, place.path, header, max_record=self._max_record)
        return self._walk

    def _gone(self) -> RecordGone:
        return RecordGone(f"record {self.next_id} is gone: it was purged meanwhile")

    def close(self) -> None:
        """Close the file; reading opens it again."""
        if self._walk is not None:
            self._walk.file.close()
            self._walk = None

    def __del__(self) -> None:
        self.close()  # of an iteration that was left

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def damage(walk: Walk) -> CorruptRecord:
    """Return the error for what a walk cannot go past, and should be able to."""
    return CorruptRecord(
        f"{walk.path}: record {walk.next_id} at {walk.offset} is lost: {walk.bad}; "
        f"repair() saves what can be saved",
        path=walk.path,
        offset=walk.offset,
        record_id=walk.next_id,
    )


def approach(walk: Walk, index: list[tuple[int, int]], number: int) -> None:
    """Go to a record that is not far before `number`, if the index knows one.

    What the index says is believed only if there is such a frame.
    """
    at = bisect_right(index, (number, NO_OFFSET)) - 1
    if at >= 0:
        there, offset = index[at]
        if walk.peek(offset) == there:
            walk.start_at(there, offset)


def read_seal(walk: Walk) -> tuple[int, int] | None:
    """Read the seal at the end of a file.

    Returns:
        The id that would have come next, and where the index is; None if there is none.
    """
    offset = walk.file.size() - SEAL_SIZE
    if offset < HEADER_SIZE or walk.peek(offset, SEAL) is None:
        return None

    content = read_exactly(walk.file, SEAL_SIZE, offset)
    fields = FRAME.unpack_from(content)
    payload = content[FRAME_SIZE:]
    if len(payload) != _OFFSET.size or walk.crc(payload) != fields[2]:
        return None
    return fields[4], _OFFSET.unpack(payload)[0]


def read_index(walk: Walk) -> list[tuple[int, int]]:
    """Return ids and offsets from the index of a sealed segment, ascending."""
    seal = read_seal(walk)
    if seal is None or not seal[1]:
        return []

    at, end = seal[1], walk.file.size() - SEAL_SIZE
    if not at < end <= at + _LARGEST_INDEX or walk.peek(at, INDEX) is None:
        return []

    content = read_exactly(walk.file, end - at, at)
    payload = content[FRAME_SIZE:]
    if walk.crc(payload) != FRAME.unpack_from(content)[2] or len(payload) % _ENTRY.size:
        return []
    return [*_ENTRY.iter_unpack(payload)]
