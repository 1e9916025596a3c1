"""A registry that looks twice before it declares a loss: what guards need to know.

Not here: what they decide (`_core_guard`).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ._core import Registry
from ._core_state import Restored
from ._core_tables import Lost
from .device import Pulse

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["JudgedRegistry"]


class JudgedRegistry(Registry):
    """A registry whose losses are declared by somebody with a tick of its own."""

    __slots__ = ()

    def has_room_for(self, key: str) -> bool:
        """Tell whether a device is alive, or could join."""
        self._check_fork()
        with self._mutex:
            tables = self._tables
            return key in tables.table_of(key).pulses or len(tables) < self._max_devices

    def lateness(self, share: float) -> tuple[int, int]:
        """Count who was silent for such a share of its time-out, and who is alive.

        Costs what is late.
        """
        with self._mutex:
            now = self._monotonic()
            late = 0
            for table in self._tables:
                floor = now - share * table.timeout
                if self._epoch <= floor:
                    late += sum(1 for _ in table.late(floor))
            return late, len(self._tables)

    def silent_since(self, share: float, limit: int) -> list[tuple[str, float]]:
        """Name who was silent for such a share of its time-out; so many at most.

        Returns:
            Name and time-out of each.
        """
        found: list[tuple[str, float]] = []
        with self._mutex:
            now = self._monotonic()
            for table in self._tables:
                for key in table.late(now - share * table.timeout):
                    if len(found) >= limit:
                        return found
                    found.append((key, table.timeout))
        return found

    def longest_timeout(self) -> float:
        """Return the longest time-out of any device."""
        with self._mutex:
            return max(table.timeout for table in self._tables)

    def sweep_some(self, count: int) -> list[tuple[str, Pulse]]:
        """Declare lost so many of those who were silent for too long, at random."""
        self._check_fork()
        with self._mutex:
            now = self._monotonic()
            found = self._tables.expired(now, self._epoch)
            random.shuffle(found)
            for key, pulse in found[count:]:
                self._tables.table_of(key).put_first(key, pulse)
            for key, pulse in found[:count]:
                self._lose(key, pulse, now)
        self._deliver()
        return found[:count]

    def states(self) -> tuple[int, list[Restored]]:
        """Return the number of the last event, and all devices, to be restored."""
        self._check_fork()
        with self._mutex:
            now, tables = self._monotonic(), self._tables
            return self._number, [
                Restored(key, now - pulse.stamp, tables.own_timeout(key), lost)
                for key, pulse, _, lost in tables.all()
            ]

    def restore(self, devices: Iterable[Restored], number: int) -> None:
        """Take in devices of before; who was alive counts as heard now.

        Nothing is told: for who reads events, they were there already.
        """
        self._check_fork()
        with self._mutex:
            now, tables = self._monotonic(), self._tables
            self._number = max(self._number, number)
            for key, silent, timeout, lost in devices:
                if timeout is not None:
                    tables.set_timeout(key, timeout)
                if lost:
                    tables.lost[key] = Lost(Pulse(now - silent), now)
                elif len(tables) < self._max_devices:
                    tables.table_of(key).pulses[key] = Pulse(now)
