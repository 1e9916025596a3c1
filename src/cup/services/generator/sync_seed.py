"""The older library's generators of cycle ids and cached UUIDs, for threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._core_cached import UUID1, CachedCore
from ._core_cycle import CycleCore, hash_of_ipv6, number_of_ipv4
from .sync_base import SyncIds

if TYPE_CHECKING:
    from typing_extensions import Self

    from .aio_seed import AsyncCachedUUID, AsyncCycleIDGenerator
    from .api import IDGenerator

__all__ = ["CachedUUID", "CycleIDGenerator"]


class CycleIDGenerator(CycleCore, SyncIds[int]):
    """Numbers of 128 bits: an address, a port, a counter of 80 bits that goes round.

    All threads of a process get them in order until the counter goes round. Forked
    children share it with their parent; a restart begins elsewhere. Safe in threads.

    Args:
        ipaddr: An IPv4 address, such as "10.0.0.1"; for IPv6 see `for_ipv6`.
        port: From 0 to 65535.

    Raises:
        InvalidType: If an argument is of another type.
        InvalidValue: If the address is none, or the port is out of range.
    """

    __slots__ = ()

    def __init__(self, ipaddr: str, port: int) -> None:
        super().__init__(number_of_ipv4(ipaddr), port)

    @classmethod
    def for_ipv6(cls, ipaddr: str, port: int) -> Self:
        """Return a generator for an IPv6 address, of whose hash 32 bits are kept.

        `ipport` then gives those bits as four numbers, not the address.

        Args:
            ipaddr: An IPv6 address, such as "2001:db8::1".
            port: From 0 to 65535.

        Raises:
            InvalidType: If an argument is of another type.
            InvalidValue: If the address is none, or the port is out of range.
        """
        made = object.__new__(cls)
        CycleCore.__init__(made, hash_of_ipv6(ipaddr), port)
        return made

    @classmethod
    def singleton_instance(cls, ipaddr: str, port: int) -> Self:
        """Return the one generator of this process for an address and port."""
        key = (cls, number_of_ipv4(ipaddr), port)
        found = _cycles.get(key)
        if found is None:
            found = _cycles.setdefault(key, cls(ipaddr, port))
        assert isinstance(found, cls)
        return found

    @property
    def aio(self) -> AsyncCycleIDGenerator:
        """The same generator, seen from an event loop."""
        from .aio_seed import AsyncCycleIDGenerator  # noqa: PLC0415 - loads loops

        return AsyncCycleIDGenerator.over(self)


class CachedUUID(CachedCore, SyncIds[str]):
    """UUIDs as 32 hexadecimal digits, made many at a time.

    A forked child throws away what its parent had cached. Safe in threads.

    Args:
        mode: `UUID1` for those that tell the time, with a random node; `UUID4` for
            random ones.
        max_cachenum: How many are made, and kept, at a time.

    Raises:
        InvalidType: If an argument is no integer.
        InvalidValue: If it is out of range.
    """

    __slots__ = ()

    def __init__(self, mode: int = UUID1, max_cachenum: int = 100) -> None:
        super().__init__(mode, max_cachenum)

    @classmethod
    def singleton_instance(cls, mode: int = UUID1, max_cachenum: int = 100) -> Self:
        """Return the one cache of this process for these arguments."""
        key = (cls, mode, max_cachenum)
        found = _caches.get(key)
        if found is None:
            found = _caches.setdefault(key, cls(mode, max_cachenum))
        assert isinstance(found, cls)
        return found

    @property
    def aio(self) -> AsyncCachedUUID:
        """The same cache, seen from an event loop."""
        from .aio_seed import AsyncCachedUUID  # noqa: PLC0415 - loads loops

        return AsyncCachedUUID.over(self)


_cycles: dict[tuple[type[CycleIDGenerator], int, int], CycleIDGenerator] = {}
_caches: dict[tuple[type[CachedUUID], int, int], CachedUUID] = {}

if TYPE_CHECKING:
    _cycle: IDGenerator[int] = CycleIDGenerator("10.0.0.1", 80)
    _cached: IDGenerator[str] = CachedUUID()
