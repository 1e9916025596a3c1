"""What a log is opened with: checked once, before anything is touched.

Not here: the values themselves (`api`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

from cup._core.clock import check_timeout
from cup._core.disk import OS_DISK
from cup.errors import InvalidType, InvalidValue, RecordTooLarge

from ._core_checksum import ChecksumName, number_of
from ._core_format import FRAME_SIZE, HEADER_SIZE, LARGEST
from .api import Durability

if TYPE_CHECKING:
    from os import PathLike

    from cup._core.disk import Disk

    from .api import Codec

__all__ = [
    "LAST_ID",
    "MAX_RECORD",
    "SEGMENT_BYTES",
    "Folder",
    "OnTorn",
    "Settings",
    "check_id",
    "check_kind",
    "check_next_id",
    "durability_of",
    "folder_of",
    "is_a",
    "to_bytes",
]

T = TypeVar("T")

SEGMENT_BYTES: Final = 64 * 1024 * 1024
MAX_RECORD: Final = 64 * 1024 * 1024
LAST_ID: Final = (1 << 64) - 1  # that files have room for
OnTorn: TypeAlias = Literal["cut", "error"]
Folder: TypeAlias = "str | PathLike[str]"

_SMALLEST: Final = HEADER_SIZE + FRAME_SIZE
_TYPES: Final = 0xFFFF
_MODES: Final = 0xFF
_LAST_SKIPPED: Final = (1 << 63) - 1  # as many are left to be counted through
_NAME: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a log is written.

    Attributes:
        segment_bytes: The size of a file of records.
        max_record: The largest record, in bytes.
        durability: That of an append which says nothing else.
        checksum: The number of the checksum.
        cut: Whether a torn tail may be cut off.
        preallocate: Whether files get room ahead.
        lock_timeout: Seconds to wait for another writer to end.
        disk: Where the log is.
    """

    segment_bytes: int
    max_record: int
    durability: Durability
    checksum: int
    cut: bool
    preallocate: bool
    lock_timeout: float
    disk: Disk

    @classmethod
    def of(
        cls,
        *,
        segment_bytes: int,
        max_record: int,
        durability: Durability,
        checksum: ChecksumName,
        on_torn: OnTorn,
        preallocate: bool,
        lock_timeout: float | None,
        disk: Disk | None,
    ) -> Settings:
        """Check what was given.

        Raises:
            InvalidType: If something has the wrong type.
            InvalidValue: If a value makes no sense.
            MissingExtra: If the checksum needs a package.
        """
        if on_torn not in {"cut", "error"}:
            raise InvalidValue(f"on_torn={on_torn!r}: use 'cut' or 'error'")
        _check_count("segment_bytes", segment_bytes, _SMALLEST, 1 << 32)
        _check_count("max_record", max_record, 0, LARGEST)
        if not is_a(durability, Durability):  # None, too
            raise InvalidType(
                f"durability={durability!r}: use SYNC, BUFFERED or group(seconds)"
            )
        patience = check_timeout(lock_timeout, "lock_timeout")
        return cls(
            segment_bytes=segment_bytes,
            max_record=max_record,
            durability=durability,
            checksum=number_of(checksum),
            cut=on_torn == "cut",
            preallocate=bool(preallocate),
            lock_timeout=float("inf") if patience is None else patience,
            disk=OS_DISK if disk is None else disk,
        )


def is_a(value: object, *kinds: type) -> bool:
    """Tell whether a value is of one of some types, whatever it is declared as."""
    return isinstance(value, kinds)


def durability_of(given: Durability | None, otherwise: Durability) -> Durability:
    """Return how durable an append is to be.

    Raises:
        InvalidType: If it is nothing of that kind.
    """
    if given is None:
        return otherwise
    if not is_a(given, Durability):
        raise InvalidType(f"durability={given!r}: use SYNC, BUFFERED or group(seconds)")
    return given


def _check_count(name: str, value: int, least: int, most: int) -> None:
    if not is_a(value, int):
        raise InvalidType(f"{name}={value!r}: it is a number of bytes, an int")
    if not least <= value <= most:
        raise InvalidValue(f"{name}={value}: give {least} to {most} bytes")


def folder_of(directory: Folder) -> str:
    """Return the path of a log's directory as disks take it: absolute, with slashes."""
    if not isinstance(directory, str | Path) and not hasattr(directory, "__fspath__"):
        raise InvalidType(f"the directory of a log is a path, not {directory!r}")
    if not os.fspath(directory):
        raise InvalidValue("the directory of a log is '': give a path, '.' for here")
    return Path(directory).absolute().as_posix()


def check_next_id(value: int) -> int:
    """Return the id of a record to come, if one may be skipped to it; raises alike."""
    return check_id("next_id", value, 1, _LAST_SKIPPED)


def check_id(name: str, value: int, least: int = 0, most: int = LAST_ID) -> int:
    """Return an id that was given, if it is one.

    Raises:
        InvalidType: If it is no int.
        InvalidValue: If it is out of range.
    """
    if not is_a(value, int):
        raise InvalidType(f"{name}={value!r}: ids are ints")
    if not least <= value <= most:
        raise InvalidValue(f"{name}={value}: give {least} to {most}")
    return value


def check_kind(kind: int, mode: int) -> None:
    """Refuse types and modes that a file cannot hold.

    Raises:
        InvalidType: If one is no int.
        InvalidValue: If one is out of range.
    """
    for name, value in (("type", kind), ("mode", mode)):
        if not is_a(value, int):
            raise InvalidType(f"{name}={value!r}: it is an int")
    if not 0 <= kind <= _TYPES:
        raise InvalidValue(f"type={kind}: give 0 to {_TYPES}")
    if not 0 <= mode <= _MODES:
        raise InvalidValue(f"mode={mode}: give 0 to {_MODES}")


def to_bytes(payload: object, most: int) -> bytes:
    """Return a payload as bytes of its own.

    Raises:
        InvalidType: If it is nothing like bytes.
        RecordTooLarge: If it has more than `most` bytes.
    """
    if isinstance(payload, bytearray):
        payload = bytes(payload)
    elif isinstance(payload, memoryview):
        payload = payload.tobytes()
    if not isinstance(payload, bytes):
        raise InvalidType(
            f"a payload is bytes, not {type(payload).__name__}; "
            f"encode it, or open the log with a codec"
        )
    if len(payload) > most:
        raise RecordTooLarge(
            f"a record of {len(payload)} bytes; this log takes {most} (max_record)"
        )
    return payload


def check_codec(codec: Codec[T]) -> Codec[T]:
    """Return a codec, if files can say its name.

    Raises:
        InvalidType: If it is none.
        InvalidValue: If its name is too long, or not plain.
    """
    name = getattr(codec, "name", None)
    if not isinstance(name, str) or not hasattr(codec, "decode"):
        raise InvalidType(f"codec={codec!r}: it needs name, encode and decode")
    if not name.isascii() or not 0 < len(name) <= _NAME:
        raise InvalidValue(f"codec name {name!r}: 1 to {_NAME} characters of ASCII")
    return codec
