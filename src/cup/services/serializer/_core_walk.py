"""Walking through the frames of a segment, and judging the first that is bad.

A walk reads in chunks and takes nothing on trust: the header of a frame is checked
before its length is believed, and no more is read than the file has.

Not here: which segment comes next (`_core_reader`), what is done about a torn tail
(`_core_recovery`).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from cup.errors import RecordTooLarge, UnsupportedFormat

from ._core_checksum import by_number
from ._core_folder import read_exactly
from ._core_format import (
    CONTROL,
    FRAME,
    FRAME_SIZE,
    HEADER_SIZE,
    INDEX,
    KNOWN_FLAGS,
    MAGIC,
    MORE,
    OPTIONAL,
    SEAL,
    SKIP,
)
from ._core_rapid import maker_of
from .api import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cup._core.disk import DiskFile

    from ._core_checksum import Checksum
    from ._core_format import SegmentHeader

__all__ = ["CHUNK", "NO_LIMIT", "Tail", "Walk", "content_end", "good_headers", "judge"]

CHUNK: Final = 1 << 18
"""Bytes that are read at once: few enough to stay in a processor's cache."""

NO_LIMIT: Final = 1 << 65
"""Beyond all ids, and what follows them: files have 64 bits for one."""

_NO_STATE: Final = -1  # unlike all flags
_new: Final = maker_of(Record[bytes])


class Walk:
    """Goes through the frames of one segment, forward.

    Attributes:
        header: That of the segment.
        path: The file.
        file: The same, open.
        crc: The checksum of its frames.
        offset: Where the next frame is.
        next_id: The record that should be there.
        bad: What is wrong with the frame at `offset`; empty if nothing is, so far.
        group: The id that the last group begins at.
        group_offset: Where that is.
        sealed: Whether the last frame is a seal.
    """

    __slots__ = (
        "_batch",
        "_max_record",
        "_state",
        "bad",
        "crc",
        "file",
        "group",
        "group_offset",
        "header",
        "next_id",
        "offset",
        "path",
        "sealed",
    )

    def __init__(
        self, file: DiskFile, path: str, header: SegmentHeader, *, max_record: int
    ) -> None:
        checksum = by_number(header.checksum)
        assert checksum is not None, "the header was checked"
        self.crc: Checksum = checksum
        self._max_record = max_record
        self.file: DiskFile = file
        self.path: str = path
        self.header: SegmentHeader = header
        self.start_at(header.first_id, HEADER_SIZE)

    def start_at(self, next_id: int, offset: int) -> None:
        """Go to where a frame begins, whose id is known."""
        self.offset: int = offset
        self.next_id: int = next_id
        self.bad: str = ""
        self.group: int = next_id
        self.group_offset: int = offset
        self.sealed: bool = False
        self._batch: tuple[int, int] | None = None
        self._state = 0

    @property
    def whole(self) -> tuple[int, int]:
        """The id and the offset behind the last record that is whole.

        They are `next_id` and `offset`, unless a batch has begun and not ended.
        """
        return self._batch or (self.next_id, self.offset)

    def peek(self, offset: int, control: int = 0) -> int | None:
        """Look at the header of a frame somewhere else.

        Args:
            offset: Where it is.
            control: What control frame it is; 0 for a record.

        Returns:
            Its id; None if there is no such frame.
        """
        head = read_exactly(self.file, FRAME_SIZE, offset)
        if len(head) < FRAME_SIZE:
            return None

        magic, code, _, _, seq, _, kind, _, flags = FRAME.unpack(head)
        known = magic == MAGIC and code == self.crc(head[8:], self.header.salt)
        fits = kind == control if flags & CONTROL else not control
        return int(seq) if known and fits else None

    def read(self, limit: int, size: int = CHUNK) -> list[Record[bytes]]:
        """Return the next records; none if the limit is reached or a frame is bad.

        Args:
            limit: Where to stop: the first record that is not to be looked at.
            size: How many bytes to read, unless one record has more.

        Raises:
            OSError: If the file cannot be read.
            UnsupportedFormat: If a frame needs a later version.
            RecordTooLarge: If a record has more than `max_record` bytes.
        """
        records: list[Record[bytes]] = []
        while not records and not self.bad and self.next_id < limit:
            before = self.offset
            content = read_exactly(self.file, size, before)
            needed = self._parse(content, limit, records)
            if not needed or self.offset > before:
                continue

            if len(content) < size or needed > self.file.size() - before:
                self.bad = "it goes beyond the end of the file"
            size = max(size, needed)
        return records

    def _parse(self, content: bytes, limit: int, records: list[Record[bytes]]) -> int:
        """Take the frames of a chunk.

        Returns:
            How many bytes from the new offset on the next frame needs, if it is not
            all there; else 0.
        """
        crc, salt, unpack, new = self.crc, self.header.salt, FRAME.unpack_from, _new
        add, base, size = records.append, self.offset, len(content)
        number, group, state = self.next_id, self.group, self._state
        position, last, needed = 0, size - FRAME_SIZE, FRAME_SIZE
        while position <= last and number < limit:
            start = position + FRAME_SIZE
            magic, code, check, length, seq, delta, kind, mode, flags = unpack(
                content, position
            )
            if magic != MAGIC or code != crc(content[position + 8 : start], salt):
                self.bad = "its header is damaged"
                break
            stop = start + length
            if stop > size:
                needed = FRAME_SIZE + self._admit(length)
                break
            payload = content[start:stop]
            if seq != number or crc(payload) != check:
                self._mismatch(seq, number)
                break
            if seq - delta != group:
                group = seq - delta
                self.group_offset = base + position
            if flags != state:
                state = self._remark(base + position, seq, kind, flags)
                if flags & CONTROL:
                    number = self._skip(kind, payload, number)
                    position = stop
                    continue
            add(new(Record, (number, payload, kind, mode)))
            number += 1
            position = stop
        self.next_id, self.group = number, group
        self.offset = base + position
        return 0 if self.bad or number >= limit else needed

    def _mismatch(self, seq: int, number: int) -> None:
        self.bad = "its payload is damaged"
        if seq != number:
            self.bad = f"it says that it is record {seq}"

    def _skip(self, kind: int, payload: bytes, number: int) -> int:
        """Return the id of the record behind a control frame."""
        if kind != SKIP:
            return number
        return max(number, int.from_bytes(payload[:8], "little"))

    def _admit(self, length: int) -> int:
        if length > self._max_record:
            raise RecordTooLarge(
                f"{self.path}: a record at {self.offset} or behind it has {length} "
                f"bytes; read it with max_record={length} or more"
            )
        return length

    def _remark(self, offset: int, seq: int, kind: int, flags: int) -> int:
        """Note where batches begin and end, and seals; return the state then.

        As long as the flags equal the state, there is nothing to note.
        """
        if flags & ~KNOWN_FLAGS or (
            flags & CONTROL and kind not in {SEAL, INDEX, SKIP} and not flags & OPTIONAL
        ):
            raise UnsupportedFormat(
                f"{self.path}: the frame at {offset} (type {kind}, flags {flags:#x}) "
                f"is of a kind that this reader does not know; use a later version"
            )

        self.sealed = bool(flags & CONTROL) and kind == SEAL
        if not flags & MORE:
            self._batch = None
        elif self._batch is None:
            self._batch = (seq, offset)
        self._state = _NO_STATE if flags & CONTROL else flags
        return self._state


class Tail(enum.Enum):
    """What follows the last good frame of the last segment."""

    CLEAN = enum.auto()
    """Nothing, or zeros."""
    TORN = enum.auto()
    """What a crash has left of a group that was never synced."""
    DAMAGED = enum.auto()
    """Something that was durable."""


class Found(NamedTuple):
    """A header of a frame that was found by searching.

    Attributes:
        offset: Where it is.
        seq: Its id.
        group: That which its group begins at.
        length: That of the payload it speaks of.
        flags: What it is.
    """

    offset: int
    seq: int
    group: int
    length: int
    flags: int


def judge(walk: Walk) -> Tail:
    """Tell what follows where a walk of the last segment has stopped.

    The proof is in the format's description: a group is written when the one before it
    is durable.
    """
    n = walk.next_id
    for found in good_headers(walk, walk.offset + 1):
        again = found.seq == n and not found.flags & CONTROL
        if found.group > n or again:
            return Tail.DAMAGED
    empty = content_end(walk.file, walk.offset) == walk.offset
    return Tail.CLEAN if empty else Tail.TORN


def good_headers(walk: Walk, start: int) -> Iterator[Found]:
    """Search for headers whose checksum is right, wherever they are."""
    file, crc, salt = walk.file, walk.crc, walk.header.salt
    offset = start
    while content := read_exactly(file, CHUNK, offset):
        at = content.find(MAGIC)
        while at >= 0 and at + FRAME_SIZE <= len(content):
            _, code, _, length, seq, delta, _, _, flags = FRAME.unpack_from(content, at)
            if code == crc(content[at + 8 : at + FRAME_SIZE], salt):
                yield Found(offset + at, seq, seq - delta, length, flags)
            at = content.find(MAGIC, at + 1)
        if len(content) < CHUNK:
            return
        offset += len(content) - FRAME_SIZE + 1


def content_end(file: DiskFile, start: int) -> int:
    """Return where only zeros follow, from `start` on at the earliest."""
    end = offset = start
    while content := read_exactly(file, CHUNK, offset):
        length = len(content.rstrip(b"\0"))
        end = offset + length if length else end
        offset += len(content)
    return end
