"""What a monitor knows of each agent, and of those that are gone or not admitted.

Everything here is bounded. Not here: what is accepted (`_core_hearing`).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeAlias

from ._core_wire import make_hasher
from .device import Device

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core_wire import Hasher

__all__ = ["Address", "Peer", "Peers", "Sources", "as_text"]

Address: TypeAlias = "tuple[str, int] | tuple[str, int, int, int]"

_TOP: Final = b"\xff" * 8
_NOBODYS: Final = make_hasher(bytes(16))
_SOURCES: Final = 4096
_RATE: Final = 50.0  # packets of unknown agents a second, of one source
_BURST: Final = 5000.0


class Peer:
    """An agent that was heard: its last packet, and what the next is compared with.

    Attributes:
        address: Where it was heard from.
        last: The first bytes of its last packet: kind and key, incarnation, sequence.
        top: The last that these can be while kind, key and incarnation stay the same;
            empty if the next packet has to be looked at more closely.
        hasher: What the last was verified with.
        former: The order of the incarnation before; empty if there was none.
        readings: The last readings, as they came.
        skewed: Whether its clock is far from ours, which was told.
        disputes: How many packets of its former life came after it had ended.
        reborn: Whether a new life has begun, which is to be told.
        timeout: The time-out that it asks for, milliseconds.
    """

    __slots__ = (
        "_device",
        "address",
        "disputes",
        "former",
        "hasher",
        "key",
        "last",
        "readings",
        "reborn",
        "skewed",
        "timeout",
        "top",
    )

    def __init__(self, key: str, order: bytes) -> None:
        self.key: str = key
        self.address: Address = ("", 0)
        self.hasher: Hasher = _NOBODYS
        self.former: bytes = b""
        self.readings: bytes = b""
        self.skewed: bool = False
        self.disputes: int = 0
        self.reborn: bool = False
        self.timeout: int = 0
        self._device: Device | None = None
        self.last: bytes = bytes(8) + order
        self.top: bytes = b""

    @property
    def order(self) -> bytes:
        """Incarnation and sequence of its last packet."""
        return self.last[8:]

    @property
    def incarnation(self) -> int:
        """Which life it is."""
        return int.from_bytes(self.last[8:16], "big")

    @property
    def sequence(self) -> int:
        """Which packet of its life was the last."""
        return int.from_bytes(self.last[16:], "big")

    def begin_life(self, order: bytes) -> None:
        """Take in the first packet of a new incarnation."""
        self.former, self.last = self.order, bytes(8) + order
        self.disputes = 0

    def accept(self, head: bytes, hasher: Hasher) -> None:
        """Take in the first bytes of a packet that counts, and what verified it."""
        self.last, self.top, self.hasher = head, head[:16] + _TOP, hasher

    def device(self) -> Device:
        """Return it as a device, with its last readings."""
        if self._device is None:
            self._device = Device(self.key)
        if self.readings:
            self._device.deserilize(self.readings)
        return self._device


def as_text(address: Address) -> str:
    """Write an address as people do; empty if there is none."""
    host, port = address[:2]
    if not port:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Peers:
    """All agents that were heard, by the bytes of their names.

    Those that have gone are remembered for a while: an old packet of theirs, sent
    again by somebody, does not bring them back.
    """

    __slots__ = ("_by_key", "_gone", "_memory", "by_name")

    def __init__(self, memory: float) -> None:
        self.by_name: dict[bytes, Peer] = {}
        self._gone: OrderedDict[bytes, float] = OrderedDict()
        self._memory: float = memory

    def locate(self, key: str) -> tuple[int, str]:
        """Return incarnation and address of an agent; nothing if it is not known."""
        peer = self.find(key)
        return (0, "") if peer is None else (peer.incarnation, as_text(peer.address))

    def find(self, key: str) -> Peer | None:
        """Return what is known of an agent."""
        return self.by_name.get(key.encode(errors="replace")) if key else None

    def went(self, name: bytes, now: float) -> None:
        """Note that an agent is not on the list any more, or is lost."""
        self._gone[name] = now
        self._gone.move_to_end(name)

    def prune(
        self, now: float, is_known: Callable[[str, bool], bool], limit: int
    ) -> None:
        """Forget who has been gone for long; looks at so many at most.

        Args:
            now: The monotonic clock.
            is_known: Tells of a name whether it is alive; or, with True, remembered.
            limit: How many.
        """
        for _ in range(min(limit, len(self._gone))):
            name = next(iter(self._gone))
            if now - self._gone[name] < self._memory:
                return

            peer = self.by_name.get(name)
            if peer is not None and is_known(peer.key, True):  # noqa: FBT003 - see above
                if is_known(peer.key, False):  # noqa: FBT003 - see above
                    del self._gone[name]
                else:
                    self.went(name, now)
            else:
                self.by_name.pop(name, None)
                del self._gone[name]

    def __len__(self) -> int:
        return len(self.by_name)


class Sources:
    """How many packets of unknown agents each source may send: a bucket of tokens.

    It guards the work that unknown names cost. What known agents send is not limited,
    since anybody can write their address on a packet.
    """

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, host: str, now: float) -> bool:
        """Take a token, if there is one."""
        tokens, since = self._buckets.get(host, (_BURST, now))
        tokens = min(_BURST, tokens + (now - since) * _RATE)
        allowed = tokens >= 1
        self._buckets[host] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _SOURCES:
            self._buckets.popitem(last=False)
        return allowed
