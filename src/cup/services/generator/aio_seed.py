"""The older library's generators of cycle ids and cached UUIDs, for tasks.

Their methods never wait, so they are plain methods, as in the older library; for the
awaited ones of `AsyncIDGenerator` there is `awaited(generator)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cup._core.loops import current_loop

from ._core_cached import UUID1
from .sync_seed import CachedUUID, CycleIDGenerator

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import Self

    from .api import IDStats, ParsedID

__all__ = ["AsyncCachedUUID", "AsyncCycleIDGenerator"]


class AsyncCycleIDGenerator:
    """Numbers of 128 bits: an address, a port, a counter of 80 bits that goes round.

    Twin of `CycleIDGenerator`: both are faces of one generator.
    """

    __slots__ = ("__weakref__", "_own")

    def __init__(self, ipaddr: str, port: int) -> None:
        self._own: CycleIDGenerator = CycleIDGenerator(ipaddr, port)

    @classmethod
    def over(cls, own: CycleIDGenerator) -> Self:
        """Return the face for tasks of a generator for threads."""
        made = object.__new__(cls)
        made._own = own
        return made

    @classmethod
    def for_ipv6(cls, ipaddr: str, port: int) -> Self:
        """Return a generator for an IPv6 address, of whose hash 32 bits are kept."""
        return cls.over(CycleIDGenerator.for_ipv6(ipaddr, port))

    @classmethod
    def singleton_instance(cls, ipaddr: str, port: int) -> Self:
        """Return the one generator of this process for an address and port."""
        return cls.over(CycleIDGenerator.singleton_instance(ipaddr, port))

    @property
    def sync(self) -> CycleIDGenerator:
        """The same generator, seen from threads."""
        return self._own

    def next_id(self) -> int:
        """Return the next id, below 2**128."""
        return self._own.next_id()

    def next_ids(self, n: int) -> list[int]:
        """Return `n` identifiers, in order where the kind promises one."""
        return self._own.next_ids(n)

    def reset_nextid(self, nextid: int) -> bool:
        """Say which id comes next here, and in processes forked from now on."""
        return self._own.reset_nextid(nextid)

    @staticmethod
    def id2_hexstring(num: int) -> str:
        """Return an id as 32 hexadecimal digits."""
        return CycleIDGenerator.id2_hexstring(num)

    @staticmethod
    def id2_hexstring_0x(num: int) -> str:
        """Return an id as `0x` and 32 hexadecimal digits."""
        return CycleIDGenerator.id2_hexstring_0x(num)

    @staticmethod
    def hex2id(hexnum: str) -> int:
        """Return the id of a hexadecimal text, with `0x` or without."""
        return CycleIDGenerator.hex2id(hexnum)

    @staticmethod
    def ipport(hexnum: str) -> tuple[str, int]:
        """Return the address and port of an id."""
        return CycleIDGenerator.ipport(hexnum)

    def parse(self, value: int | str) -> ParsedID:
        """Say what an identifier of this kind tells about itself."""
        return self._own.parse(value)

    def bounds(self, time: datetime | float) -> tuple[int, int]:
        """Return the least and the greatest identifier that a time can have."""
        return self._own.bounds(time)

    def stats(self) -> IDStats:
        """Return the state of this moment."""
        return self._own.stats()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        await current_loop().immediate()
        return self._own.next_id()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._own!r}>"


class AsyncCachedUUID:
    """UUIDs as 32 hexadecimal digits, made many at a time.

    Twin of `CachedUUID`: both are faces of one cache.
    """

    __slots__ = ("__weakref__", "_own")

    def __init__(self, mode: int = UUID1, max_cachenum: int = 100) -> None:
        self._own: CachedUUID = CachedUUID(mode, max_cachenum)

    @classmethod
    def over(cls, own: CachedUUID) -> Self:
        """Return the face for tasks of a cache for threads."""
        made = object.__new__(cls)
        made._own = own
        return made

    @classmethod
    def singleton_instance(cls, mode: int = UUID1, max_cachenum: int = 100) -> Self:
        """Return the one cache of this process for these arguments."""
        return cls.over(CachedUUID.singleton_instance(mode, max_cachenum))

    @property
    def sync(self) -> CachedUUID:
        """The same cache, seen from threads."""
        return self._own

    @property
    def mode(self) -> int:
        """`UUID1` or `UUID4`."""
        return self._own.mode

    def next_id(self) -> str:
        """Return a UUID as 32 hexadecimal digits."""
        return self._own.next_id()

    def next_ids(self, n: int) -> list[str]:
        """Return `n` identifiers, in order where the kind promises one."""
        return self._own.next_ids(n)

    def get_uuid(self, num: int = 1) -> list[str]:
        """Return UUIDs, each as 32 hexadecimal digits."""
        return self._own.get_uuid(num)

    def gen_cached_uuid(self, num: int = 50) -> None:
        """Make UUIDs in advance, up to what the cache may hold."""
        self._own.gen_cached_uuid(num)

    def parse(self, value: str) -> ParsedID:
        """Say what an identifier of this kind tells about itself."""
        return self._own.parse(value)

    def bounds(self, time: datetime | float) -> tuple[str, str]:
        """Return the least and the greatest identifier that a time can have."""
        return self._own.bounds(time)

    def stats(self) -> IDStats:
        """Return the state of this moment."""
        return self._own.stats()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        await current_loop().immediate()
        return self._own.next_id()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._own!r}>"
