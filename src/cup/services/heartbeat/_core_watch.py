"""Looking for losses without being asked: while somebody reads events.

A registry that nobody reads is looked at by `get_lost` alone, and needs no thread. One
that is read is looked at when its next device may be lost, by the process's
timekeeper. When that comes late, the process was stopped, and beats were, too: then
silence counts anew from that moment.
"""

from __future__ import annotations

import weakref
from _thread import allocate_lock
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

from cup._core import fork
from cup._core.timekeeper import call_at

if TYPE_CHECKING:
    from cup._core.timekeeper import Appointment

    from ._core import Registry

__all__ = ["Watch"]

_LATE: Final = 0.5  # seconds, or a quarter of a time-out: no scheduler takes longer


class Watch:
    """Has a registry swept in time; holds it weakly."""

    __slots__ = ("_appointment", "_generation", "_mutex", "_registry")

    def __init__(self, registry: Registry) -> None:
        self._registry: weakref.ref[Registry] = weakref.ref(registry)
        self._appointment: Appointment | None = None
        self._mutex = allocate_lock()
        self._generation: int = fork.generation()

    def arm(self) -> None:
        """See to it that the next loss is looked for in time."""
        registry = self._registry()
        if registry is None or not registry.has_readers():
            return

        if self._generation != fork.generation():
            self._mutex = allocate_lock()
            self._appointment = None
            self._generation = fork.generation()
        deadline = self._deadline(registry)
        with self._mutex:
            before = self._appointment
            if before is not None and monotonic() <= before.deadline <= deadline:
                return
            if before is not None:
                before.cancel()
            self._appointment = call_at(deadline, lambda: self._fire(deadline))

    def _deadline(self, registry: Registry) -> float:
        # Who joins after this is lost after the shortest time-out at the earliest.
        next_loss = registry.next_loss()
        latest = monotonic() + registry.shortest_timeout()
        return min(inf if next_loss is None else next_loss, latest)

    def _fire(self, planned: float) -> None:
        registry = self._registry()
        if registry is None:
            return

        late = monotonic() - planned
        if late > max(_LATE, registry.shortest_timeout() / 4):
            registry.forgive()
        with self._mutex:
            self._appointment = None
        registry.sweep()
        self.arm()
