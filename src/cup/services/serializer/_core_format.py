r"""The format of a log on disk, version 1. Enough to write a reader from.

All numbers are little-endian and unsigned. `u32` is a number of four bytes.

**Directory.** A log is a directory with these files; others are ignored::

    00000001-00000000000000000001.seg   a segment: its serial, and its first id
    LOCK                                locked by who writes; its text is for people
    durable                             how far records are durable (below)
    00000000000000000042.checkpoint     a state that stands for all records before 42
    *.tmp                               a file that was never finished

Serials are consecutive: purging removes the lowest. A segment comes into being by
renaming a finished file, after its predecessor was sealed and synced. So only the last
segment may have a tail that a crash has torn.

**Segment.** A header of 128 bytes, then frames, then nothing, or zeros::

    offset  size  header of a segment
     0       8    "CUPLOG\r\n"
     8      u16   version: 1
    10      u16   length of the header: 128
    12      u32   CRC-32 of the header, with zeros here
    16      u32   incompatible features: none is defined; unknown bit: do not read
    20      u32   compatible features: none is defined; unknown bits do not matter
    24      u64   serial
    32      u64   first id: that of the first record
    40      u64   the id that the predecessor would have had next; lower than the first
                  id if the writer skipped ids
    48      u64   when it was made: nanoseconds since 1970
    56      u32   salt: chance; the seed of the checksums of frames' headers
    60      u8    checksum of frames: 0 is CRC-32 (zlib), 1 is CRC-32C (RFC 3720)
    61       3    zeros
    64      16    codec of the payloads: a name in ASCII, and zeros; none means bytes
    80      48    zeros

**Frame.** A header of 32 bytes, then the payload. Frames are not aligned::

    offset  size  header of a frame
     0       4    0xA7 "cUp"
     4      u32   checksum of bytes 8 to 31 of this header, going on from the salt
     8      u32   checksum of the payload, going on from zero
    12      u32   length of the payload
    16      u64   id of the record
    24      u32   id less the id of the first record of its group
    28      u16   type
    30      u8    mode
    31      u8    flags: 1 more, 2 control, 4 optional

Ids count up by one within a segment and from one to the next, where none were skipped.
*More*: the next record belongs to the same batch, which counts as a whole or not at
all. A *control* frame is no record: its id is that of the next record, and its type
says what it is. An unknown type may be skipped if it is *optional*; else the file needs
a later reader. Known are 1, the seal (the last frame of a segment, and the one that a
writer leaves that closes the log; its payload is a u64: the offset of the index frame,
or 0), 2, the index (pairs of u64: the id of a record and its offset, ascending), and
3, the skip (a u64: the id of the next record; those between do not exist any more). The
skip is not optional.

**Groups.** What is written between two syncs is a group. The first frame of a group is
written when the sync of the group before has succeeded, so a frame whose group begins
at `g` proves that every record before `g` was durable. A reader that meets a bad frame
where record `n` should be looks at all good headers behind it:

- one with `g > n`, or that of record `n` itself further on: something that was durable
  is damaged. That is an error;
- otherwise the group of `n` was never synced: it is a tail that a crash has torn, in
  the last segment, and is cut off where the bad frame or its batch begins.

Zeros to the end of the file are its end. A file that has a successor ends with a seal.

**durable**. 24 bytes: "cUpD", u32 CRC-32 of what follows, u64 the id that follows the
last durable record, u64 zero. It is written after each sync and never synced itself:
it may be old, and what it says is true. While the log is locked, records from this id
on are none of a reader's business. If they lie beyond the end, records are missing.

**checkpoint**. "CUPCKPT\n", u16 version 1, u16 zero, u32 CRC-32 of all that follows,
u64 id, u64 length, and the state.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final, NamedTuple

from cup.errors import UnsupportedFormat

from ._core_checksum import Checksum, by_number

__all__ = [
    "CONTROL",
    "FRAME",
    "FRAME_SIZE",
    "HEADER_SIZE",
    "INDEX",
    "MAGIC",
    "MORE",
    "OPTIONAL",
    "SEAL",
    "SEAL_SIZE",
    "SKIP",
    "Piece",
    "SegmentHeader",
    "control_frame",
    "frames_of",
]

VERSION: Final = 1
HEADER_SIZE: Final = 128
MAGIC: Final = b"\xa7cUp"
MORE: Final = 1
CONTROL: Final = 2
OPTIONAL: Final = 4
KNOWN_FLAGS: Final = MORE | CONTROL | OPTIONAL
SEAL: Final = 1
INDEX: Final = 2
SKIP: Final = 3

FRAME: Final = struct.Struct("<4sIIIQIHBB")
FRAME_SIZE: Final = FRAME.size
SEAL_SIZE: Final = FRAME_SIZE + 8
LARGEST: Final = 0xFFFFFFFF
"""The largest payload that a frame can say the length of."""

_MAGIC_OF_FILE: Final = b"CUPLOG\r\n"
_HEADER: Final = struct.Struct("<8sHHIIIQQQQIB3x16s48x")
_INCOMPATIBLE: Final = 0  # the features that this reader knows
_CHECKED: Final = struct.Struct("<IIQIHBB")  # what a frame's own checksum covers
_CODE: Final = struct.Struct("<4sI")  # what comes before that
_CHECKSUM_AT: Final = 12


class Piece(NamedTuple):
    """A record that waits for its id.

    Attributes:
        payload: Its bytes.
        crc: Their checksum.
        type: Its type.
        mode: Its mode.
    """

    payload: bytes
    crc: int
    type: int
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHeader:
    """What a segment says about itself.

    Attributes:
        serial: Its number.
        first_id: Its first record.
        follows: The id that would have come next in its predecessor.
        created: Nanoseconds since 1970.
        salt: The seed of its frames' own checksums.
        checksum: The number of the checksum of its frames.
        codec: The name of the codec of its payloads.
    """

    serial: int
    first_id: int
    follows: int
    created: int
    salt: int
    checksum: int
    codec: str

    def encode(self) -> bytes:
        """Return it as bytes."""
        blank = self._pack(0)
        return self._pack(zlib.crc32(blank))

    def _pack(self, crc: int) -> bytes:
        return _HEADER.pack(
            _MAGIC_OF_FILE,
            VERSION,
            HEADER_SIZE,
            crc,
            0,
            0,
            self.serial,
            self.first_id,
            self.follows,
            self.created,
            self.salt,
            self.checksum,
            self.codec.encode("ascii"),
        )

    @classmethod
    def decode(cls, content: bytes, path: str) -> SegmentHeader | None:
        """Read a header.

        Returns:
            None if it is damaged.

        Raises:
            UnsupportedFormat: If this is no segment, or one of a later version.
        """
        if len(content) < HEADER_SIZE:
            return None

        fields = _HEADER.unpack_from(content)
        magic, version, length, crc, needed, _, serial, first_id, follows = fields[:9]
        created, salt, checksum, codec = fields[9:]
        blank = content[:_CHECKSUM_AT] + bytes(4) + content[_CHECKSUM_AT + 4 :]
        if zlib.crc32(blank[:HEADER_SIZE]) != crc:
            return None

        if magic != _MAGIC_OF_FILE:
            return None

        if version != VERSION or length != HEADER_SIZE:
            raise UnsupportedFormat(
                f"{path}: version {version} of the format, but this is a reader of "
                f"version {VERSION}; use a later version of cup"
            )

        if needed & ~_INCOMPATIBLE or by_number(checksum) is None:
            raise UnsupportedFormat(
                f"{path}: it has features (bits {needed:#x}, checksum {checksum}) that "
                f"this reader does not know; use a later version of cup"
            )

        return cls(
            serial=serial,
            first_id=first_id,
            follows=follows,
            created=created,
            salt=salt,
            checksum=checksum,
            codec=codec.rstrip(b"\0").decode("ascii", "replace"),
        )


def frames_of(
    pieces: list[Piece],
    first: int,
    group: int,
    salt: int,
    crc: Checksum,
    *,
    atomic: bool,
) -> list[bytes]:
    """Return the frames of records, in parts: headers and payloads.

    Args:
        pieces: The records.
        first: The id of the first one.
        group: The id that their group begins at.
        salt: That of their segment.
        crc: The checksum of their segment.
        atomic: Whether they are one batch.
    """
    parts: list[bytes] = []
    pack, pack_code, magic = _CHECKED.pack, _CODE.pack, MAGIC
    flags = MORE if atomic else 0
    number, last = first, first + len(pieces) - 1
    for payload, check, kind, mode in pieces:
        if number == last:
            flags = 0
        body = pack(check, len(payload), number, number - group, kind, mode, flags)
        parts += (pack_code(magic, crc(body, salt)), body, payload)
        number += 1
    return parts


def control_frame(
    kind: int, payload: bytes, number: int, salt: int, crc: Checksum
) -> bytes:
    """Return a frame that is no record.

    Args:
        kind: What it is.
        payload: What it says.
        number: The id of the next record.
        salt: That of its segment.
        crc: The checksum of its segment.
    """
    flags = CONTROL if kind == SKIP else CONTROL | OPTIONAL
    body = _CHECKED.pack(crc(payload), len(payload), number, 0, kind, 0, flags)
    return MAGIC + crc(body, salt).to_bytes(4, "little") + body + payload
