"""A reader of the log's files, written from the description of the format alone."""

import struct
import zlib
from typing import NamedTuple

HEADER, FRAME = 128, 32


def crc32c(data, value=0):
    """CRC-32C, bit by bit: slow, and needs nothing."""
    value ^= 0xFFFFFFFF
    for byte in bytes(data):
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


CHECKSUMS = [zlib.crc32, crc32c]


class Frame(NamedTuple):
    offset: int
    end: int
    id: int
    group: int
    type: int
    mode: int
    flags: int
    payload: bytes

    @property
    def control(self):
        return bool(self.flags & 2)


def parse_header(content):
    """Give salt, checksum, first id and serial of a segment."""
    assert content[:8] == b"CUPLOG\r\n"
    version, length, crc, needed, _, serial, first = struct.unpack_from(
        "<HHIIIQQ", content, 8
    )
    assert (version, length, needed) == (1, HEADER, 0)
    assert zlib.crc32(content[:12] + bytes(4) + content[16:HEADER]) == crc
    salt, number = struct.unpack_from("<IB", content, 56)
    return salt, CHECKSUMS[number], first, serial


def parse(content):
    """Give the frames of a segment, up to its end."""
    salt, checksum, _, _ = parse_header(content)
    frames, offset = [], HEADER
    while content[offset : offset + 4] == b"\xa7cUp":
        code, check, length, seq, delta, kind, mode, flags = struct.unpack_from(
            "<IIIQIHBB", content, offset + 4
        )
        end = offset + FRAME + length
        payload = content[offset + FRAME : end]
        assert checksum(content[offset + 8 : offset + FRAME], salt) == code
        assert checksum(payload) == check
        frames.append(Frame(offset, end, seq, seq - delta, kind, mode, flags, payload))
        offset = end
    assert not any(content[offset:])
    return frames


def forge(content, offset, **changes):
    """Change fields of a frame's header, and make its checksum right again."""
    salt, checksum, _, _ = parse_header(content)
    names = ["check", "length", "seq", "delta", "kind", "mode", "flags"]
    values = struct.unpack_from("<IIQIHBB", content, offset + 8)
    fields = {**dict(zip(names, values, strict=True)), **changes}
    body = struct.pack("<IIQIHBB", *fields.values())
    code = checksum(body, salt).to_bytes(4, "little")
    return content[: offset + 4] + code + body + content[offset + FRAME :]


def forge_header(content, place, value):
    """Change bytes of a segment's header, and make its checksum right again."""
    changed = bytearray(content)
    changed[place : place + len(value)] = value
    changed[12:16] = bytes(4)
    changed[12:16] = zlib.crc32(changed[:HEADER]).to_bytes(4, "little")
    return bytes(changed)
