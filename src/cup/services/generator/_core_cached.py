"""UUIDs of versions 1 and 4 as hexadecimal text, made many at a time.

Version 1 has a random node with its multicast bit set (RFC 9562, section 6.10), drawn
anew with the clock sequence for each batch: so batches never meet, whatever the clock
does, and nothing tells the address of a network card.
"""

from __future__ import annotations

import os
import time
from struct import Struct
from typing import Final

from cup._core import fork
from cup._core.fork import generation

from ._core_ids import Ids, check_count, check_int, expect
from ._core_uuid import parse_uuid
from .api import IDStats, ParsedID

__all__ = ["UUID1", "UUID4", "CachedCore"]

UUID1: Final = 0
"""UUIDs that tell when they were made."""
UUID4: Final = 1
"""UUIDs that are random."""

_GREGORIAN: Final = 0x01B21DD213814000  # 100 ns from 1582-10-15 to 1970
_MOST: Final = 1 << 20


class CachedCore(Ids[str]):
    """What caches of UUIDs do; all of it at once."""

    __slots__ = ("_cache", "_make", "_max")

    kind = "cached"

    def __init__(self, mode: int, max_cachenum: int) -> None:
        check_int("mode", mode, UUID1, UUID4)
        self._max: int = check_int("max_cachenum", max_cachenum, 1, _MOST)
        self._make = _make1 if mode == UUID1 else _make4
        self._cache: tuple[int, list[str]] = (generation(), [])

    @property
    def mode(self) -> int:
        """`UUID1` or `UUID4`."""
        return UUID1 if self._make is _make1 else UUID4

    def next_id(self) -> str:
        """Return a UUID as 32 hexadecimal digits."""
        epoch, cache = self._cache
        if fork.stamp[0] and epoch == fork.epoch:
            try:
                return cache.pop()
            except IndexError:
                pass
        fresh = self._make(self._max)
        made = fresh.pop()
        self._cache = (generation(), fresh)
        return made

    def attempt(self) -> str:
        """Return a UUID as 32 hexadecimal digits."""
        return self.next_id()

    def get_uuid(self, num: int = 1) -> list[str]:
        """Return UUIDs, each as 32 hexadecimal digits.

        Args:
            num: How many.

        Raises:
            InvalidType: If it is no integer.
            InvalidValue: If it is negative.
        """
        take = self.next_id
        return [take() for _ in range(check_count(num))]

    def gen_cached_uuid(self, num: int = 50) -> None:
        """Make UUIDs in advance, up to what the cache may hold.

        Args:
            num: How many there are to be at least.

        Raises:
            InvalidType: If it is no integer.
            InvalidValue: If it is negative.
        """
        epoch, cache = self._cache
        mine = epoch == generation()
        missing = min(check_count(num), self._max) - (len(cache) if mine else 0)
        if missing > 0:
            fresh = self._make(missing)
            if mine:
                cache[:0] = fresh
            else:
                self._cache = (generation(), fresh)

    def parse(self, value: str) -> ParsedID:
        """Say what an identifier of this kind tells about itself.

        Args:
            value: Its text.

        Raises:
            InvalidId: If it is none of the version that is made here.
            InvalidType: If it is no text.
        """
        text = expect(value, str, "is no UUID here: give its text")
        return parse_uuid(text, version=1 if self.mode == UUID1 else 4)

    def stats(self) -> IDStats:
        """Return the state of this moment."""
        epoch, cache = self._cache
        return IDStats(kind=self.kind, left=len(cache) if epoch == generation() else 0)

    def __repr__(self) -> str:
        version = 1 if self.mode == UUID1 else 4
        return (
            f"<{type(self).__name__} of version {version}, {self.stats().left} of "
            f"{self._max} cached>"
        )


def _make1(n: int) -> list[str]:
    """Make UUIDs of version 1; the earliest is the last."""
    chance = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1
    tail = f"{1 << 63 | chance | 1 << 40:016x}"
    first = time.time_ns() // 100 + _GREGORIAN
    return [
        f"{tick & 0xFFFFFFFF:08x}{tick >> 32 & 0xFFFF:04x}1{tick >> 48:03x}{tail}"
        for tick in range(first + n - 1, first - 1, -1)
    ]


def _make4(n: int) -> list[str]:
    """Make UUIDs of version 4."""
    words = Struct(f">{2 * n}Q").unpack(os.urandom(16 * n))
    return [
        f"{high & ~0xF000 | 0x4000:016x}{low & (1 << 62) - 1 | 1 << 63:016x}"
        for high, low in zip(words[::2], words[1::2], strict=True)
    ]
