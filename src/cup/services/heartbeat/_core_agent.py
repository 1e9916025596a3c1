"""An agent: beats in time, answers who asks, and says good-bye.

It is driven by a thread, by a task, or by a virtual clock, like a monitor. A beat says
that work goes on, not that a thread lives: `alive` is asked before each.

Not here: packets (`_core_wire`), sockets (`cup._core.datagrams`), faces.
"""

from __future__ import annotations

import logging
import math
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cup._core.program import Program

from ._core_wire import BEAT, CHALLENGE, LEAVE, PROBE, READINGS, STALE, Packet, Sealer
from .api_net import AgentStats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cup._core.clock import Clock

    from ._core_monitor import Transport
    from ._core_peers import Address
    from .device import Device
    from .keys import AgentKeys

__all__ = ["AgentProgram", "AgentSettings", "Link"]

_log = logging.getLogger("cup.heartbeat")

_REPLIES: Final = 64  # that are read at once
_JITTER: Final = 0.1  # of the interval: agents that begin together drift apart
_ANSWERS: Final = 20  # beats out of turn, in one interval
_FAREWELLS: Final = 2  # a datagram may be lost
_LATE: Final = 2.5  # intervals without a beat, after which an agent is not well


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What an agent is set to. The faces say what each of these means."""

    keys: AgentKeys
    monitors: tuple[tuple[str, int], ...]
    interval: float | None
    timeout: float
    alive: Callable[[], bool] | None
    device: Device | None


class Link:
    """A monitor, as an agent knows it.

    Attributes:
        address: Where it is.
        transport: What reaches it.
        echo: The number that it gave out, to be repeated.
    """

    __slots__ = ("address", "echo", "transport")

    def __init__(self, address: Address, transport: Transport) -> None:
        self.address: Address = address
        self.transport: Transport = transport
        self.echo: bytes = bytes(8)


class AgentProgram(Program):
    """What an agent does, step by step.

    Attributes:
        links: The monitors; the driver puts them here.
        incarnation: Which life it is.
        calls: What others want done between two steps.
    """

    __slots__ = (
        "_alive",
        "_answers",
        "_beats",
        "_bumped",
        "_clock",
        "_device",
        "_failed",
        "_interval",
        "_last_beat",
        "_next_beat",
        "_probes",
        "_sealer",
        "_sequence",
        "_skipped",
        "_timeout",
        "calls",
        "incarnation",
        "links",
        "on_bump",
    )

    def __init__(self, settings: AgentSettings, incarnation: int, clock: Clock) -> None:
        super().__init__()
        self.links: Sequence[Link] = ()
        self.incarnation: int = incarnation
        self.on_bump: Callable[[int], object] | None = None
        self.calls: deque[Callable[[], object]] = deque()
        self._sealer: Sealer = Sealer(settings.keys)
        self._interval: float | None = settings.interval
        self._timeout: int = math.ceil(settings.timeout * 1000)
        self._alive: Callable[[], bool] | None = settings.alive
        self._device: Device | None = settings.device
        self._clock: Clock = clock
        self._sequence: int = 0
        self._next_beat: float = -math.inf
        self._last_beat: float | None = None
        self._answers: int = _ANSWERS
        self._beats: int = 0
        self._skipped: int = 0
        self._failed: int = 0
        self._probes: int = 0
        self._bumped: int = 0

    # -- steps ---------------------------------------------------------------------

    def step(self, now: float) -> float | None:
        """Read what monitors say, and beat if it is time to."""
        while self.calls:
            self.calls.popleft()()
        for link in self.links:
            for data, address in link.transport.receive(_REPLIES):
                self._hear(data, address)
        if self._interval is None:
            return None

        if now >= self._next_beat:
            first = self._next_beat == -math.inf
            self.beat()
            share = random.uniform(_JITTER, 1) if first else _jittered()  # noqa: S311 - spreads load
            self._next_beat = now + self._interval * share
        return self._next_beat

    def beat(self) -> bool:
        """Beat now, unless the work does not go on; return whether it did."""
        self._answers = _ANSWERS
        if not self._is_alive():
            self._skipped += 1
            return False

        readings = b"" if self._device is None else self._device.serilize()
        if len(readings) > READINGS:
            _log.warning("%d bytes of readings do not fit into a beat", len(readings))
            readings = b""
        self._beats += 1
        self._last_beat = self._clock.monotonic()
        self._send(BEAT, self.links, readings)
        return True

    def _is_alive(self) -> bool:
        if self._alive is None:
            return True
        try:
            return bool(self._alive())
        except Exception:  # noqa: BLE001 - reported; who cannot tell is not well
            _log.exception("the check whether an agent is alive failed")
            return False

    def leave(self) -> None:
        """Say good-bye."""
        for _ in range(_FAREWELLS):
            self._send(LEAVE, self.links, b"")

    def _send(self, kind: int, links: Sequence[Link], readings: bytes) -> None:
        self._sequence += 1
        millis = int(self._clock.time() * 1000)
        for link in links:
            packet = self._sealer.seal(
                kind,
                self.incarnation,
                self._sequence,
                millis,
                echo=link.echo,
                timeout=self._timeout,
                readings=readings,
            )
            if not link.transport.send(packet, link.address):
                self._failed += 1

    # -- what monitors say ---------------------------------------------------------

    def _hear(self, data: bytes, address: Address) -> None:
        packet = self._sealer.open(data)
        if packet is None or packet.incarnation != self.incarnation:
            return

        link = next((each for each in self.links if each.address == address), None)
        if link is None:
            return

        if packet.kind == PROBE:
            self._probes += 1
            if self._interval is not None:  # who beats by hand answers by hand
                self._answer(link)
        elif packet.kind == CHALLENGE and link.echo != packet.echo:
            link.echo = packet.echo
            self._answer(link)
        elif packet.kind == STALE:
            self._begin_anew(packet, link)

    def _begin_anew(self, packet: Packet, link: Link) -> None:
        """Begin a life that is above what the monitor knows: a clock ran backwards."""
        known = int.from_bytes(packet.echo, "big")
        if self.incarnation <= known < (1 << 64) - 1:
            self.incarnation = known + 1
            self._bumped += 1
            if self.on_bump is not None:
                self.on_bump(self.incarnation)
            self._answer(link)

    def _answer(self, link: Link) -> None:
        """Beat out of turn, for one monitor; no longer than what asked for it."""
        if self._answers > 0 and self._is_alive():
            self._answers -= 1
            self._last_beat = self._clock.monotonic()
            self._send(BEAT, [link], b"")

    # -- looking -------------------------------------------------------------------

    def stats(self) -> AgentStats:
        """Return the figures of this moment."""
        last = self._last_beat
        silent = None if last is None else self._clock.monotonic() - last
        limit = math.inf if self._interval is None else _LATE * self._interval
        return AgentStats(
            incarnation=self.incarnation,
            beats=self._beats,
            skipped=self._skipped,
            failed=self._failed,
            probes=self._probes,
            bumped=self._bumped,
            silent=silent,
            healthy=silent is not None and silent <= limit,
        )

    def set_keys(self, keys: AgentKeys) -> None:
        """Sign with the first of these keys from now on."""
        self._sealer = Sealer(keys)


def _jittered() -> float:
    return random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load
