"""Checkpoints: states that stand for all records before an id.

A checkpoint is one file, which counts once it is whole and durable. The last two are
kept. The latest counts: if it is damaged, that is an error.
"""

from __future__ import annotations

import re
import struct
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cup.errors import CorruptRecord

from ._core_folder import TEMPORARY, read_exactly, write_fully
from .api import Checkpoint

if TYPE_CHECKING:
    from cup._core.disk import Disk

__all__ = [
    "latest_checkpoint",
    "list_checkpoints",
    "read_checkpoint",
    "store_checkpoint",
]

_HEADER: Final = struct.Struct("<8sHHIQQ")
_MAGIC: Final = b"CUPCKPT\n"
_VERSION: Final = 1
_CHECKED: Final = 16  # where that begins which the checksum covers
_KEPT: Final = 2
_NAME: Final = re.compile(r"(\d{20})\.checkpoint", re.ASCII)


def list_checkpoints(disk: Disk, folder: str) -> list[tuple[int, str]]:
    """Return ids and files of checkpoints, the latest first."""
    found = [
        (int(match[1]), f"{folder}/{name}")
        for name in disk.listdir(folder)
        if (match := _NAME.fullmatch(name))
    ]
    return sorted(found, reverse=True)


def store_checkpoint(disk: Disk, folder: str, checkpoint: Checkpoint) -> None:
    """Make a checkpoint durable, and remove older ones; one at a time.

    Raises:
        OSError: If that is not possible; those before are still there then.
    """
    state = checkpoint.state
    rest = _HEADER.pack(_MAGIC, _VERSION, 0, 0, checkpoint.at_id, len(state))
    crc = zlib.crc32(state, zlib.crc32(rest[_CHECKED:]))
    head = rest[: _CHECKED - 4] + crc.to_bytes(4, "little") + rest[_CHECKED:]
    path = f"{folder}/{checkpoint.at_id:020d}.checkpoint"
    draft = path + TEMPORARY
    file = disk.open(draft, create=True, write=True)
    try:
        file.truncate(0)
        write_fully(file, head, 0)
        write_fully(file, state, len(head))
        file.sync()
    except BaseException:
        file.close()
        with suppress(OSError):
            disk.unlink(draft)
        raise
    file.close()
    disk.rename(draft, path)
    disk.sync_dir(folder)
    for _, old in list_checkpoints(disk, folder)[_KEPT:]:
        with suppress(OSError):
            disk.unlink(old)


def latest_checkpoint(disk: Disk, folder: str) -> Checkpoint | None:
    """Return the latest checkpoint; None if there is none.

    Raises:
        CorruptRecord: If it is damaged.
        OSError: If it cannot be read.
    """
    for at_id, path in list_checkpoints(disk, folder):
        try:
            state = read_checkpoint(disk, path, at_id)
        except FileNotFoundError:
            continue  # it was replaced meanwhile
        if state is None:
            raise CorruptRecord(
                f"{path}: the checkpoint is damaged; repair() puts it aside, so that "
                f"the one before it counts",
                path=path,
                record_id=at_id,
            )
        return Checkpoint(at_id, state)
    return None


def read_checkpoint(disk: Disk, path: str, at_id: int) -> bytes | None:
    """Return the state in a file; None if it is damaged."""
    file = disk.open(path)
    try:
        head = read_exactly(file, _HEADER.size, 0)
        if len(head) < _HEADER.size:
            return None

        magic, version, _, crc, there, length = _HEADER.unpack(head)
        if (magic, version, there) != (_MAGIC, _VERSION, at_id):
            return None

        if length != file.size() - _HEADER.size:
            return None

        state = read_exactly(file, length, _HEADER.size)
    finally:
        file.close()
    whole = zlib.crc32(state, zlib.crc32(head[_CHECKED:])) == crc
    return state if whole else None
