"""Which packets count as beats: signed, new, and of somebody there is room for.

A packet of a known agent counts if its signature is right and its order (incarnation,
then sequence) is above that of the last; so none counts twice. One of an unknown agent
must be fresh as well: its wall clock is near ours, or it repeats the number that this
monitor gave out since it began. Nothing is stored, and nothing answered, for a packet
whose signature is wrong.

One thread, or one task, calls this. Not here: sockets, and who is lost (`_core`).
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from ._core_peers import Address, Peer, Peers, Sources, as_text
from ._core_wire import (
    BEAT,
    CHALLENGE,
    LEAST,
    LEAVE,
    MAC,
    NAME_AT,
    PROBE,
    STALE,
    Packet,
    Sealer,
    make_hasher,
    read,
    verify,
)
from .api import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._core_judge import JudgedRegistry
    from ._core_shared import SharedCore
    from ._core_wire import Hasher
    from .keys import KeyRing

__all__ = ["Counts", "Hearing"]

_TOLD: Final = 1024  # unknown agents whose wrong clock was told, at most
_MEMORY: Final = 2.0  # windows for which an agent that is gone is remembered
_EMPTY: Final = bytes(8)


@dataclass(slots=True)
class Counts:
    """What became of the packets.

    Attributes:
        beats: Counted as beats.
        garbage: Were no packets of ours.
        unknown_key: Signed with a key that this monitor does not have.
        forged: Had a wrong signature.
        stale: Were old: repeated, overtaken, or of a former life.
        skewed: Were not fresh, of unknown agents.
        limited: Came from sources that sent too many of unknown agents.
        refused: Came from new agents for which there was no room.
    """

    beats: int = 0
    garbage: int = 0
    unknown_key: int = 0
    forged: int = 0
    stale: int = 0
    skewed: int = 0
    limited: int = 0
    refused: int = 0


class Hearing:
    """Judges packets, and tells the registry of beats.

    Args:
        registry: Where beats go.
        ring: The keys.
        window: Seconds by which a clock may differ.
        longest: The longest time-out that an agent may ask for, seconds.

    Attributes:
        counts: What became of the packets.
        outbox: Answers to be sent.
        store: Where beats and farewells go as well; None for nowhere.
    """

    __slots__ = (
        "_longest",
        "_nonce",
        "_registry",
        "_ring",
        "_skewed",
        "_sources",
        "_window",
        "counts",
        "outbox",
        "peers",
        "store",
    )

    def __init__(
        self, registry: JudgedRegistry, ring: KeyRing, window: float, longest: float
    ) -> None:
        self._registry: JudgedRegistry = registry
        self._ring: KeyRing = ring
        self._window: float = window
        self._longest: float = longest
        self._nonce: bytes = secrets.token_bytes(8)
        self._sources: Sources = Sources()
        self._skewed: OrderedDict[bytes, None] = OrderedDict()
        self.peers: Peers = Peers(window * _MEMORY)
        self.counts: Counts = Counts()
        self.outbox: list[tuple[bytes, Address]] = []
        self.store: SharedCore | None = None

    def set_keys(self, ring: KeyRing) -> None:
        """Accept what is signed with these keys, and nothing else, from now on."""
        self._ring = ring
        for peer in [*self.peers.by_name.values()]:
            peer.top = b""

    def hear(
        self, batch: Iterable[tuple[bytes, Address]], now: float, wall: float
    ) -> None:
        """Judge packets, in the order in which they came."""
        by_name = self.peers.by_name
        beats: list[str] = []
        low, high = self._fresh_between(wall)
        for data, address in batch:
            # The usual case at once: the next packet of a known agent.
            if len(data) >= LEAST:
                peer = by_name.get(data[NAME_AT : NAME_AT + data[44]])
                if (
                    peer is not None
                    and peer.last < (head := data[:24]) <= peer.top
                    and low <= data[24:32] <= high
                    and address == peer.address
                ):
                    signed = peer.hasher.copy()
                    signed.update(data[:-MAC])
                    if compare_digest(signed.digest(), data[-MAC:]):
                        peer.last = head
                        beats.append(peer.key)
                        if len(data) >= LEAST + data[44]:
                            peer.readings = data[NAME_AT + data[44] : -MAC]
                        continue
            self._consider(data, address, now, wall)
        self.counts.beats += len(beats)
        self._registry.refresh_many(beats)
        if self.store is not None:
            for key in beats:
                self._share(self.store, self.peers.find(key))

    def _share(self, store: SharedCore, peer: Peer | None) -> None:
        if peer is not None:
            store.offer(
                peer.key,
                peer.incarnation,
                peer.sequence,
                peer.timeout,
                as_text(peer.address),
            )

    def _fresh_between(self, wall: float) -> tuple[bytes, bytes]:
        low = max(0, int((wall - self._window) * 1000))
        high = max(0, int((wall + self._window) * 1000))
        return low.to_bytes(8, "big"), high.to_bytes(8, "big")

    def _consider(self, data: bytes, address: Address, now: float, wall: float) -> None:
        """Judge a packet that is not the usual case."""
        packet = read(data)
        if packet is None or packet.kind not in {BEAT, LEAVE}:
            self.counts.garbage += 1
            return

        peer = self.peers.by_name.get(packet.name)
        if peer is None and not self._sources.allow(address[0], now):
            self.counts.limited += 1
            return

        hasher = self._hasher_for(packet, data)
        if hasher is None:
            return

        fresh = abs(packet.millis / 1000 - wall) <= self._window
        if peer is None:
            peer = self._meet(packet, address, fresh=fresh)
        elif not self._is_next(peer, packet, address, fresh=fresh):
            self.counts.stale += 1
            peer = None
        if peer is not None:
            peer.accept(data[:24], hasher)
            self._obey(peer, packet, address, now, fresh=fresh)

    def _hasher_for(self, packet: Packet, data: bytes) -> Hasher | None:
        """Return what a packet is rightly signed with; None if it is not."""
        if packet.key_id not in self._ring:
            self.counts.unknown_key += 1
            return None

        hasher = make_hasher(self._ring.derive(packet.key_id, packet.name))
        if not verify(hasher, data):
            self.counts.forged += 1
            return None

        return hasher

    def _obey(
        self, peer: Peer, packet: Packet, address: Address, now: float, *, fresh: bool
    ) -> None:
        """Do what a packet says that counts."""
        peer.address = address
        if packet.kind == LEAVE:
            peer.reborn, peer.top = False, b""
            self._registry.leave(peer.key)
            self.peers.went(packet.name, now)
            if self.store is not None:
                self.store.offer_leave(peer.key, peer.incarnation, peer.sequence)
            return

        self._note(peer, packet, fresh=fresh)
        self._beat(peer, packet)
        if self.store is not None:
            self._share(self.store, peer)
        if peer.reborn:
            peer.reborn = False
            self._registry.tell(EventKind.RESTARTED, peer.key)

    # -- agents that are not known -----------------------------------------------------

    def _meet(self, packet: Packet, address: Address, *, fresh: bool) -> Peer | None:
        """Make the acquaintance of an agent, if its packet is certainly no old one."""
        try:
            key = packet.name.decode()
        except UnicodeDecodeError:
            self.counts.garbage += 1
            return None

        if not fresh and packet.echo != self._nonce:
            self.counts.skewed += 1
            self._answer(CHALLENGE, packet, address, self._nonce)
            self._tell_skew(key, packet.name)
            return None

        if packet.kind == LEAVE:
            self.counts.stale += 1
            return None

        if not self._registry.has_room_for(key):
            self._registry.register(key)  # which refuses it, and says so
            self.counts.refused += 1
            return None

        order = packet.incarnation.to_bytes(8, "big") + _EMPTY
        peer = self.peers.by_name[packet.name] = Peer(key, order)
        return peer

    def _tell_skew(self, key: str, name: bytes) -> None:
        if name not in self._skewed:
            self._skewed[name] = None
            if len(self._skewed) > _TOLD:
                self._skewed.popitem(last=False)
            self._registry.tell(
                EventKind.CLOCK_SKEW, key, f"more than {self._window:g} s from ours"
            )

    # -- agents that are known ---------------------------------------------------------

    def _is_next(
        self, peer: Peer, packet: Packet, address: Address, *, fresh: bool
    ) -> bool:
        """Tell whether a packet is newer than all that this agent has sent."""
        order = packet.incarnation.to_bytes(8, "big") + packet.sequence.to_bytes(
            8, "big"
        )
        if order[:8] == peer.order[:8]:
            return order > peer.order

        if order > peer.order:
            peer.begin_life(order)
            known = self._registry.is_device_registered(peer.key, including_dead=True)
            peer.reborn = known
            return True

        if peer.former and order[:8] == peer.former[:8]:
            if order > peer.former:  # the former life goes on beside the new one
                peer.former = order
                self._dispute(peer, address)
        elif fresh or packet.echo == self._nonce:
            # Its clock ran backwards between two lives: it has to know.
            self._answer(STALE, packet, address, peer.order[:8])
        elif packet.kind == BEAT:
            self._answer(CHALLENGE, packet, address, self._nonce)
        return False

    def _dispute(self, peer: Peer, address: Address) -> None:
        # One such packet may have been overtaken on its way.
        peer.disputes += 1
        if peer.disputes == 2:  # noqa: PLR2004 - see above
            reason = f"also beats from {as_text(address)}, as the former incarnation"
            self._registry.tell(EventKind.CONFLICT, peer.key, reason)

    # -- what is noted of a beat -------------------------------------------------------

    def _note(self, peer: Peer, packet: Packet, *, fresh: bool) -> None:
        if packet.readings:
            peer.readings = packet.readings
        if fresh:
            peer.skewed = False
            self._skewed.pop(packet.name, None)
        elif not peer.skewed:
            peer.skewed = True
            self._tell_skew(peer.key, packet.name)

    def _beat(self, peer: Peer, packet: Packet) -> None:
        self.counts.beats += 1
        if packet.timeout == peer.timeout and packet.timeout:
            self._registry.refresh(peer.key)
            return

        peer.timeout = packet.timeout
        seconds = min(packet.timeout / 1000, self._longest) if packet.timeout else None
        self._registry.register(peer.key, timeout=seconds)

    # -- answers -----------------------------------------------------------------------

    def _answer(self, kind: int, packet: Packet, address: Address, echo: bytes) -> None:
        """Answer a packet whose signature is right, with one that is no longer."""
        sealer = Sealer(self._ring.agent(packet.name.decode()))
        answer = sealer.seal(
            kind, packet.incarnation, packet.sequence, packet.millis, echo=echo
        )
        self.outbox.append((answer, address))

    def probe(self, key: str, wall: float) -> bool:
        """Ask an agent whether it is there; False if it is not known where."""
        peer = self.peers.find(key)
        if peer is None or not peer.address[1]:
            return False

        sealer = Sealer(self._ring.agent(key))
        packet = sealer.seal(
            PROBE,
            peer.incarnation,
            peer.sequence,
            int(wall * 1000),
            echo=self._nonce,
        )
        self.outbox.append((packet, peer.address))
        return True
