"""A monitor: hears beats, asks the silent, declares losses, and doubts itself first.

`MonitorProgram` is driven by a thread, by a task, or by a virtual clock. One step reads
what has come; once a tick, everything that has come is read before anybody is judged.

Not here: which packets count (`_core_hearing`), sockets (`cup._core.datagrams`), what
users call (`_core_station`).
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from cup._core.program import Program

from ._core_flaps import Flaps
from ._core_guard import MassGuard, PauseGuard, Verdict, asleep
from ._core_hearing import Hearing
from ._core_judge import JudgedRegistry
from .api import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cup._core.clock import Clock

    from ._core_peers import Address
    from ._core_settings import MonitorSettings
    from .device import Pulse

__all__ = ["MonitorProgram", "Transport"]

BATCH: Final = 256
"""Packets that are read at once, before others may run."""

_BATCHES: Final = 256  # at a tick: more than the largest queue holds
_SUSPECTS: Final = 1000  # who are asked at one tick, at most
_PRUNED: Final = 1000  # agents that are looked at, at one tick, whether to forget them
_RELEASE_TICKS: Final = 10  # ticks that it takes to declare lost who was held back
_DROPPED: Final = 0.01  # share of packets that may be missing without a doubt


class Transport(Protocol):
    """Where packets come from and go to; never blocks."""

    def receive(self, limit: int) -> list[tuple[bytes, Address]]:
        """Return what has come, so many packets at most."""
        ...

    def send(self, data: bytes, address: Address) -> bool:
        """Send a packet; False if it was not taken."""
        ...

    def drops(self) -> int:
        """Return how many packets that came were dropped."""
        ...


class MonitorProgram(Program):
    """What a monitor does, step by step.

    Attributes:
        registry: Who is alive.
        hearing: Who is known, and which packets count.
        transports: Where packets come from; the driver puts them here.
        calls: What others want done between two steps.
    """

    __slots__ = (
        "__weakref__",
        "_clock",
        "_dropped",
        "_heard",
        "_held_until",
        "_mass",
        "_next_tick",
        "_pause",
        "_probed",
        "_release",
        "_settings",
        "_suspended",
        "calls",
        "hearing",
        "registry",
        "transports",
    )

    def __init__(
        self,
        settings: MonitorSettings,
        clock: Clock,
        suspended: Callable[[], float] = asleep,
    ) -> None:
        super().__init__()
        self.registry: JudgedRegistry = JudgedRegistry(
            settings.timeout,
            keep_lost=True,
            max_devices=settings.max_devices,
            max_kept=settings.max_devices,
            kept_for=settings.kept_for,
            clock=clock,
            collect=False,
        )
        self.registry.flaps = Flaps(settings.flap_limit, settings.flap_window)
        self.hearing: Hearing = Hearing(
            self.registry, settings.ring, settings.window, settings.longest
        )
        self.registry.locate = self.hearing.peers.locate
        self.registry.suspect_share = settings.suspect_after / settings.timeout
        self.transports: Sequence[Transport] = ()
        self.calls: deque[Callable[[], None]] = deque()
        self._settings: MonitorSettings = settings
        self._clock: Clock = clock
        self._suspended: Callable[[], float] = suspended
        self._pause: PauseGuard = PauseGuard(settings.tick)
        self._mass: MassGuard = MassGuard(
            settings.mass_share, settings.mass_least, settings.hold
        )
        self._next_tick: float = -math.inf
        self._held_until: float = -math.inf  # after a pause
        self._heard: int = 0
        self._dropped: int = 0
        self._release: int = 0
        self._probed: dict[str, tuple[float, int]] = {}

    # -- steps ---------------------------------------------------------------------

    def step(self, now: float) -> float | None:
        """Read what has come, and judge when it is time to."""
        while self.calls:
            self.calls.popleft()()
        more = self.read_some()
        if now >= self._next_tick:
            for _ in range(_BATCHES):
                if not more:
                    break
                more = self.read_some()
            self._tick(now)
            self._next_tick = now + self._settings.tick
        self._flush()
        return now if more else self._next_tick

    def read_some(self) -> bool:
        """Judge some packets; tell whether there may be more."""
        more = False
        for transport in self.transports:
            batch = transport.receive(BATCH)
            if batch:
                self._heard += len(batch)
                clock = self._clock
                self.hearing.hear(batch, clock.monotonic(), clock.time())
                more = more or len(batch) == BATCH
        return more

    def _flush(self) -> None:
        outbox, self.hearing.outbox = self.hearing.outbox, []
        for data, address in outbox:
            for transport in self.transports:
                if transport.send(data, address):
                    break

    def _tick(self, now: float) -> None:
        self._look_for_pauses(now)
        gone = self._judge(now)
        peers = self.hearing.peers
        for key, _ in gone:
            self._probed.pop(key, None)
            peers.went(key.encode(errors="replace"), now)
        peers.prune(now, self.registry.is_device_registered, _PRUNED)
        if self._settings.probes:
            self._ask_suspects(now)

    # -- doubts --------------------------------------------------------------------

    def _look_for_pauses(self, now: float) -> None:
        drops = sum(transport.drops() for transport in self.transports)
        dropped, self._dropped = drops - self._dropped, drops
        heard, self._heard = self._heard, 0
        missing = dropped > _DROPPED * (heard + dropped)
        reason = self._pause.excuse(now, dropped if missing else 0, self._suspended())
        if reason:
            self.registry.forgive()
            if self.hearing.store is not None:
                self.hearing.store.forgive()
            if now >= self._held_until:
                self.registry.tell(EventKind.HOLDING, reason=reason)
            self._held_until = now + self.registry.longest_timeout()
        elif self._held_until > -math.inf and now >= self._held_until:
            self._held_until = -math.inf
            self.registry.tell(EventKind.JUDGING, reason="the pause is over")

    def _judge(self, now: float) -> list[tuple[str, Pulse]]:
        registry, mass = self.registry, self._mass
        next_loss = registry.next_loss()
        if not mass.holding and (next_loss is None or next_loss > now):
            registry.sweep()  # who flapped, and who is remembered for too long
            return []

        held, released = mass.holding, mass.releasing
        late, alive = registry.lateness(1 / 2)
        verdict = mass.judge(now, late, alive)
        if verdict is Verdict.JUDGE:
            return registry.sweep()

        if verdict is Verdict.FORGIVE:
            registry.forgive()
            if not released:
                reason = f"the others beat again: {late} of {alive} are silent"
                registry.tell(EventKind.JUDGING, reason=reason)
        elif not held:
            reason = f"{late} of {alive} fell silent at once"
            registry.tell(EventKind.HOLDING, reason=reason)
        elif verdict is Verdict.RELEASE:
            if not released:
                reason = f"{late} of {alive} are still silent"
                registry.tell(EventKind.JUDGING, reason=reason)
                self._release = math.ceil(alive / _RELEASE_TICKS)
            return registry.sweep_some(self._release)
        return []

    # -- suspects ------------------------------------------------------------------

    def _ask_suspects(self, now: float) -> None:
        """Ask who is silent for a while, several times, before it is lost."""
        settings = self._settings
        share = settings.suspect_after / settings.timeout
        probed: dict[str, tuple[float, int]] = {}
        wall = self._clock.time()
        for key, timeout in self.registry.silent_since(share, _SUSPECTS):
            due, count = self._probed.get(key, (now, 0))
            if now >= due and count < settings.probes:
                self.hearing.probe(key, wall)
                every = timeout * (1 - share) / (settings.probes + 1)
                due, count = now + every, count + 1
            probed[key] = (due, count)
        self._probed = probed

    @property
    def holding(self) -> bool:
        """Whether losses are not declared now."""
        return self._mass.holding or self._held_until > -math.inf

    @property
    def suspects(self) -> int:
        """How many agents are being asked whether they are there."""
        return len(self._probed)
