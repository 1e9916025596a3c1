"""The two checksums of the format: CRC-32 of zlib, and CRC-32C (Castagnoli).

CRC-32C is computed by the processor where the package `crc32c` is installed. Without
it, files that have it can still be read: slowly, by a table.
"""

from __future__ import annotations

import zlib
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, cast

from cup.errors import InvalidValue, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

__all__ = ["CRC32", "CRC32C", "Checksum", "ChecksumName", "by_number", "number_of"]

CRC32: Final = 0
CRC32C: Final = 1

ChecksumName: TypeAlias = Literal["auto", "crc32", "crc32c"]

_POLYNOMIAL: Final = 0x82F63B78  # Castagnoli's, reflected (RFC 3720, section 12.1)


class Checksum(Protocol):
    """Computes a checksum of bytes, going on from another one."""

    def __call__(self, data: Buffer, value: int = 0, /) -> int: ...


def number_of(name: str) -> int:
    """Return the number of the checksum that a writer asked for.

    Args:
        name: "auto" takes CRC-32C where the processor computes it.

    Raises:
        MissingExtra: If it is "crc32c", and the package is not installed.
        InvalidValue: If there is no such checksum.
    """
    if name == "crc32":
        return CRC32

    if name not in {"auto", "crc32c"}:
        raise InvalidValue(f"checksum={name!r}: use 'auto', 'crc32' or 'crc32c'")

    if _hardware() is not None:
        return CRC32C

    if name == "auto":
        return CRC32

    raise MissingExtra(
        "checksum='crc32c' needs a package: pip install crc32c", requirement="crc32c"
    )


def by_number(number: int) -> Checksum | None:
    """Return a checksum by its number in files; None if there is no such."""
    if number == CRC32:
        return zlib.crc32
    if number == CRC32C:
        return _hardware() or crc32c_by_table
    return None


@cache
def _hardware() -> Checksum | None:
    """Return the function of the package, if it is installed."""
    try:
        module = import_module("crc32c")
    except ImportError:
        return None
    # The package is typed in some of its versions only.
    return cast("Callable[..., int]", module.crc32c)


@cache
def _table() -> tuple[int, ...]:
    table: list[int] = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


def crc32c_by_table(data: Buffer, value: int = 0, /) -> int:
    """Compute CRC-32C without any help: about 15 MB a second."""
    table = _table()
    value ^= 0xFFFFFFFF
    for byte in memoryview(data).cast("B"):
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF
