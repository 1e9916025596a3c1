"""The directory of a log: names of files, the durable mark, reading and writing whole.

Not here: what is in segments (`_core_walk`, `_core_segment`), the lock (`_core_lock`).
"""

from __future__ import annotations

import re
import struct
import zlib
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from cup.errors import CorruptRecord

from ._core_format import HEADER_SIZE, SegmentHeader

if TYPE_CHECKING:
    from cup._core.disk import Disk, DiskFile

__all__ = [
    "DURABLE",
    "LOCK",
    "TEMPORARY",
    "Mark",
    "Place",
    "keep_folder",
    "list_places",
    "make_folder",
    "place_of",
    "read_exactly",
    "read_header",
    "rewrite",
    "write_fully",
    "write_parts",
]

LOCK: Final = "LOCK"
DURABLE: Final = "durable"
TEMPORARY: Final = ".tmp"

_SEGMENT: Final = re.compile(r"(\d{8,10})-(\d{20})\.seg", re.ASCII)
_MARK: Final = struct.Struct("<4sIQQ")
_MARK_HEAD: Final = struct.Struct("<4sI")
_MARKED: Final = struct.Struct("<QQ")  # what the checksum covers
_MARK_MAGIC: Final = b"cUpD"
_JOINED: Final = 1 << 18  # bytes below which parts are copied into one write
_PARTS: Final = 1024  # IOV_MAX


class Place(NamedTuple):
    """A segment, as its name tells: in the order of serials.

    Attributes:
        serial: Its number.
        first_id: Its first record.
        path: Its file.
    """

    serial: int
    first_id: int
    path: str


def place_of(folder: str, serial: int, first_id: int) -> Place:
    """Return where a segment is."""
    name = f"{serial:08d}-{first_id:020d}.seg"
    return Place(serial, first_id, f"{folder}/{name}")


def list_places(disk: Disk, folder: str, *, whole: bool = True) -> list[Place]:
    """Return the segments of a log, the oldest first.

    Args:
        disk: Where it is.
        folder: Its directory.
        whole: Whether they must belong together.

    Raises:
        CorruptRecord: If one is missing between two others, or there are two of one
            serial, or ids run backwards.
        FileNotFoundError: If there is no such directory.
    """
    places: list[Place] = []
    for name in disk.listdir(folder):
        match = _SEGMENT.fullmatch(name)
        if match is not None:
            serial, first_id = int(match[1]), int(match[2])
            places.append(Place(serial, first_id, f"{folder}/{name}"))
    places.sort()
    for before, after in pairwise(places):
        fits = after.serial == before.serial + 1 and after.first_id >= before.first_id
        if whole and not fits:
            raise CorruptRecord(
                f"{folder}: segment {after.path!r} cannot follow {before.path!r}: "
                f"segments are missing, or do not belong here",
                path=after.path,
                record_id=after.first_id,
            )
    return places


def make_folder(disk: Disk, folder: str) -> None:
    """Make a directory, and those above it that are missing.

    `folder` is absolute, with slashes. `keep_folder` makes it last.
    """
    if disk.exists(folder):
        return

    parent = folder.rpartition("/")[0]
    if parent:
        make_folder(disk, parent)
    with suppress(FileExistsError):
        disk.mkdir(folder)


def keep_folder(disk: Disk, folder: str) -> None:
    """Make a directory last, whoever has made it, and those above it."""
    parent = folder.rpartition("/")[0]
    with suppress(PermissionError):  # what we may not read, we have not made
        disk.sync_dir(parent or "/")
    if parent:
        keep_folder(disk, parent)


def read_exactly(file: DiskFile, size: int, offset: int) -> bytes:
    """Read so many bytes; fewer only at the end of the file."""
    content = file.pread(size, offset)
    if len(content) == size or not content:
        return content

    parts = [content]
    missing = size - len(content)
    while missing:
        content = file.pread(missing, offset + size - missing)
        if not content:
            break
        parts.append(content)
        missing -= len(content)
    return b"".join(parts)


def write_fully(file: DiskFile, content: bytes | memoryview, offset: int) -> None:
    """Write all of it, however short single writes are."""
    written = file.pwrite(content, offset)
    while written < len(content):
        if written <= 0:
            raise OSError(f"nothing could be written at {offset}")
        content = memoryview(content)[written:]
        offset += written
        written = file.pwrite(content, offset)


def write_parts(file: DiskFile, parts: list[bytes], size: int, offset: int) -> None:
    """Write parts one behind the other; small ones are joined, large ones not copied.

    Args:
        file: Where to.
        parts: What.
        size: How many bytes they have in all.
        offset: Where it begins.
    """
    if size <= _JOINED:
        write_fully(file, b"".join(parts), offset)
        return

    for start in range(0, len(parts), _PARTS):
        some = parts[start : start + _PARTS]
        length = sum(map(len, some))
        written = file.pwritev(some, offset)
        if written < length:
            rest = memoryview(b"".join(some))[written:]
            write_fully(file, rest, offset + written)
        offset += length


def rewrite(file: DiskFile, start: int, end: int) -> None:
    """Write what is there again, so that the next sync has it to store."""
    offset = start
    while offset < end:
        content = read_exactly(file, min(_JOINED, end - offset), offset)
        write_fully(file, content, offset)
        offset += len(content)


def read_header(file: DiskFile, place: Place) -> SegmentHeader:
    """Return the header of a segment.

    Raises:
        CorruptRecord: If it is damaged, or that of another segment.
        UnsupportedFormat: If a later version wrote it.
    """
    header = SegmentHeader.decode(read_exactly(file, HEADER_SIZE, 0), place.path)
    if header is None or (header.serial, header.first_id) != place[:2]:
        raise CorruptRecord(
            f"{place.path}: its header is damaged, or that of another segment",
            path=place.path,
            record_id=place.first_id,
        )
    return header


class Mark:
    """The file that says how far records are durable.

    Who holds the lock of the log publishes; everybody may read.
    """

    __slots__ = ("_disk", "_file", "_last", "_path")

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._path = f"{folder}/{DURABLE}"
        self._last = 0
        self._file: DiskFile | None = None

    def open_for_writing(self) -> None:
        """Make the file, if there is none."""
        self._file = self._disk.open(self._path, create=True, write=True)

    def read(self) -> int:
        """Return the id that follows the last durable record; 0 if nobody knows."""
        if self._file is None:
            try:
                self._file = self._disk.open(self._path)
            except FileNotFoundError:
                return 0

        for _ in range(3):  # a writer may be halfway through
            content = self._file.pread(_MARK.size, 0)
            if len(content) == _MARK.size:
                magic, crc, next_id, _ = _MARK.unpack(content)
                if magic == _MARK_MAGIC and zlib.crc32(content[8:]) == crc:
                    self._last = int(next_id)
                    break
        return self._last

    def publish(self, next_id: int) -> None:
        """Say that all records before `next_id` are durable."""
        file = self._file
        if file is not None:
            file.pwrite(encode_mark(next_id), 0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def encode_mark(next_id: int) -> bytes:
    """Return what the file contains."""
    rest = _MARKED.pack(next_id, 0)
    return _MARK_HEAD.pack(_MARK_MAGIC, zlib.crc32(rest)) + rest
