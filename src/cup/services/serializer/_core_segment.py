"""The segment that is written to: its birth, its growth, its seal.

Who writes holds the lead of the committer: nothing here is thread-safe. Not here: when
to sync, and what a failure means to who waits (`_core_committer`).
"""

from __future__ import annotations

import secrets
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ._core_checksum import by_number
from ._core_folder import TEMPORARY, place_of, write_fully, write_parts
from ._core_format import (
    HEADER_SIZE,
    INDEX,
    SEAL,
    SKIP,
    SegmentHeader,
    control_frame,
    frames_of,
)

if TYPE_CHECKING:
    from cup._core.disk import Disk, DiskFile

    from ._core_checksum import Checksum
    from ._core_folder import Place
    from ._core_format import Piece

__all__ = ["Segment", "Unconfirmed", "create_segment", "publish_segment"]

_STRIDE: Final = 1 << 18  # bytes between two entries of an index
_AHEAD: Final = 1 << 22  # bytes that are allocated at once
_RETRY: Final = 1 << 16  # bytes to write before room is asked for again
_OFFSET: Final = struct.Struct("<Q")
_ENTRY: Final = struct.Struct("<QQ")


class Unconfirmed(Exception):
    """The disk did not confirm something: nobody knows what is durable."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause)
        self.cause: OSError = cause


class Segment:
    """The last segment of a log, open for writing.

    Attributes:
        place: Where it is.
        header: What it says about itself.
        file: The same, open.
        end: Where the next frame goes.
        index: Ids and the offsets of their frames, ascending.
    """

    __slots__ = ("_allocated", "_crc", "end", "file", "header", "index", "place")

    def __init__(
        self, place: Place, header: SegmentHeader, file: DiskFile, end: int
    ) -> None:
        checksum = by_number(header.checksum)
        assert checksum is not None, "the header was checked, or is ours"
        self._crc: Checksum = checksum
        self._allocated = 0
        self.place: Place = place
        self.header: SegmentHeader = header
        self.file: DiskFile = file
        self.end: int = end
        self.index: list[tuple[int, int]] = []

    def allocate(self, size: int, most: int) -> None:
        """Have room for so many bytes and some ahead, but not beyond `most`.

        Files that do not grow are synced faster. Where there is no room, writing says
        so.
        """
        if self.end + size <= self._allocated:
            return

        wanted = max(self.end + size, min(self.end + size + _AHEAD, most))
        try:
            self.file.allocate(wanted)
            self._allocated = wanted
        except OSError:
            self._allocated = self.end + size + _RETRY

    def write(
        self, entries: list[tuple[list[Piece], bool]], first: int, group: int
    ) -> int:
        """Write records behind the last one, and return how many bytes they took.

        They count once `end` is moved by that much.

        Args:
            entries: Records, in parts, and whether a part is one batch.
            first: The id of the first one.
            group: The id that their group begins at.

        Raises:
            OSError: If they are not all written.
        """
        parts: list[bytes] = []
        salt, crc = self.header.salt, self._crc
        number = first
        for some, atomic in entries:
            parts += frames_of(some, number, group, salt, crc, atomic=atomic)
            number += len(some)
        size = sum(map(len, parts))
        write_parts(self.file, parts, size, self.end)
        return size

    def advance(self, first: int, size: int) -> None:
        """Count what was written from record `first` on."""
        if not self.index or self.end - self.index[-1][1] >= _STRIDE:
            self.index.append((first, self.end))
        self.end += size

    def skip(self, number: int, to: int) -> None:
        """Write that the records from `number` to before `to` do not exist.

        Raises:
            OSError: If it cannot be written.
        """
        frame = self._control(SKIP, _OFFSET.pack(to), number)
        write_fully(self.file, frame, self.end)
        self.end += len(frame)

    def roll_back(self) -> None:
        """Make sure that nothing lies behind `end`.

        Raises:
            Unconfirmed: If that is not possible.
        """
        self._allocated = 0
        try:
            self.file.truncate(self.end)
            self.file.sync()
        except OSError as error:
            raise Unconfirmed(error) from error

    def sync(self) -> None:
        """Make durable what was written.

        Raises:
            Unconfirmed: If that failed. It must not be tried again.
        """
        try:
            self.file.sync()
        except OSError as error:
            raise Unconfirmed(error) from error

    def seal(self, next_id: int, *, index: bool) -> None:
        """Write the last frame, and make it durable.

        Args:
            next_id: The id that would have come next.
            index: Whether to write an index before it.

        Raises:
            OSError: If it cannot be written: roll back.
            Unconfirmed: If it was not confirmed.
        """
        frames, at = b"", 0
        if index:
            pairs = b"".join(_ENTRY.pack(*entry) for entry in self.index)
            frames, at = self._control(INDEX, pairs, next_id), self.end
        frames += self._control(SEAL, _OFFSET.pack(at), next_id)
        write_fully(self.file, frames, self.end)
        self.file.truncate(self.end + len(frames))
        self.sync()
        self.end += len(frames)

    def _control(self, kind: int, payload: bytes, next_id: int) -> bytes:
        return control_frame(kind, payload, next_id, self.header.salt, self._crc)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def discard(self, disk: Disk) -> None:
        """Remove the file of a segment that was not published, if possible."""
        self.file.close()
        with suppress(OSError):
            disk.unlink(self.place.path + TEMPORARY)


def create_segment(
    disk: Disk,
    folder: str,
    *,
    serial: int,
    first_id: int,
    follows: int,
    checksum: int,
    codec: str,
) -> Segment:
    """Make a segment that is durable, under a name that does not count yet.

    `publish_segment` lets it count.

    Raises:
        OSError: If it cannot be made; nothing of it is left then, if possible.
    """
    header = SegmentHeader(
        serial=serial,
        first_id=first_id,
        follows=follows,
        created=time.time_ns(),
        salt=secrets.randbits(32),
        checksum=checksum,
        codec=codec,
    )
    place = place_of(folder, serial, first_id)
    draft = place.path + TEMPORARY
    file = disk.open(draft, create=True, write=True)
    segment = Segment(place, header, file, HEADER_SIZE)
    try:
        file.truncate(0)
        write_fully(file, header.encode(), 0)
        file.sync()
    except BaseException:
        segment.discard(disk)
        raise
    return segment


def publish_segment(disk: Disk, folder: str, segment: Segment) -> None:
    """Give a new segment its name, for good.

    Raises:
        Unconfirmed: If that failed.
    """
    try:
        disk.rename(segment.place.path + TEMPORARY, segment.place.path)
        disk.sync_dir(folder)
    except OSError as error:
        raise Unconfirmed(error) from error
