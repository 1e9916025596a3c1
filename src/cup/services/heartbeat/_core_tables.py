"""The tables of devices, by their time-outs, and the lost ones that are kept.

No mutex here: the registry over it has one.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from math import inf, isinf, log
from typing import TYPE_CHECKING, Final

from cup._core.clock import check_timeout
from cup.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .device import Pulse

__all__ = ["Lost", "Table", "Tables", "check_seconds"]

_EXACT: Final = 64  # time-outs that have a table of exactly their length
_STEP: Final = 1.05  # beyond that, they are rounded up to a power of it


def check_seconds(name: str, seconds: float) -> float:
    """Return a positive, finite number of seconds, checked.

    Raises:
        InvalidType: If it is no number.
        InvalidValue: If it is not above zero, or not finite.
    """
    checked = check_timeout(seconds, name)
    if checked is None or checked == 0 or isinf(checked):
        raise InvalidValue(f"{name} is {seconds}; give seconds, more than 0")
    return checked


class Lost:
    """A lost device that is remembered.

    Attributes:
        pulse: Its last beat.
        at: When it was declared lost, on the monotonic clock.
    """

    __slots__ = ("at", "pulse")

    def __init__(self, pulse: Pulse, at: float) -> None:
        self.pulse: Pulse = pulse
        self.at: float = at


class Table:
    """The devices with one time-out, those that beat longest ago first.

    Attributes:
        timeout: The time-out.
        pulses: The devices.
        strays: A heap of those whose place is not that of their last beat.
    """

    __slots__ = ("pulses", "strays", "timeout")

    def __init__(self, timeout: float) -> None:
        self.timeout: float = timeout
        self.pulses: OrderedDict[str, Pulse] = OrderedDict()
        self.strays: list[tuple[float, str]] = []

    def expired(self, floor: float) -> Iterator[tuple[str, Pulse]]:
        """Give who beat at `floor` or before; whoever takes it takes it out."""
        pulses = self.pulses
        while (first := self._first()) is not None and first[1].stamp <= floor:
            yield first

        while self.strays and self.strays[0][0] <= floor:
            _, key = heapq.heappop(self.strays)
            stray = pulses.get(key)
            if stray is not None and stray.stamp <= floor:
                yield key, stray

    def oldest(self) -> float:
        """Return the stamp of who may be lost next; infinity if none can be."""
        first = self._first()
        if first is None:
            return inf

        stamp = first[1].stamp
        return min(stamp, self.strays[0][0]) if self.strays else stamp

    def _first(self) -> tuple[str, Pulse] | None:
        """Return who beat longest ago, but for those whose place is wrong."""
        pulses = self.pulses
        while pulses:
            key = next(iter(pulses))
            pulse = pulses[key]
            if not pulse.astray:
                return key, pulse

            # It stamped itself: its place in the order tells nothing.
            pulse.astray = False
            self.put_astray(key, pulse)
            pulses.move_to_end(key)
        return None

    def late(self, floor: float) -> Iterator[str]:
        """Name who beat at `floor` or before; those whose place is wrong may lack."""
        for key, pulse in self.pulses.items():
            if pulse.stamp > floor:
                return
            yield key

    def put_astray(self, key: str, pulse: Pulse) -> None:
        """Put a device in whose last beat is older than its place at the end."""
        self.pulses[key] = pulse
        heapq.heappush(self.strays, (pulse.stamp, key))

    def put_first(self, key: str, pulse: Pulse) -> None:
        """Put a device back that was taken out as expired."""
        self.pulses[key] = pulse
        self.pulses.move_to_end(key, last=False)


class Tables:
    """All devices of a registry.

    Attributes:
        main: Those with the time-out of the service.
        lost: The lost ones that are remembered, the oldest first.
        max_kept: How many of them there may be.
        refused: How many beats of new devices were refused.
        forgotten: How many lost ones were dropped.
    """

    __slots__ = (
        "_kept_for",
        "_others",
        "_special",
        "forgotten",
        "lost",
        "main",
        "max_kept",
        "refused",
    )

    def __init__(self, timeout: float, max_kept: int, kept_for: float | None) -> None:
        self.main: Table = Table(timeout)
        self.lost: OrderedDict[str, Lost] = OrderedDict()
        self.max_kept: int = max_kept
        self.refused: int = 0
        self.forgotten: int = 0
        self._kept_for: float | None = kept_for
        self._others: dict[float, Table] = {}
        self._special: dict[str, Table] = {}  # who is, or will be, in another table

    def __len__(self) -> int:
        return len(self.main.pulses) + sum(
            len(table.pulses) for table in self._others.values()
        )

    def __iter__(self) -> Iterator[Table]:
        yield self.main
        yield from self._others.values()

    def table_of(self, key: str) -> Table:
        """Return the table that a device is in, or would be."""
        return self._special.get(key, self.main) if self._special else self.main

    def own_timeout(self, key: str) -> float | None:
        """Return the time-out that a device has of its own, None if it has none."""
        table = self._special.get(key)
        return None if table is None else table.timeout

    def set_timeout(self, key: str, timeout: float | None) -> None:
        """Give a device a time-out of its own, or that of the service."""
        before = self.table_of(key)
        after = self.main if timeout is None else self._table_for(timeout)
        if after is self.main:
            self._special.pop(key, None)
        else:
            self._special[key] = after
        if after is not before and key in before.pulses:
            after.put_astray(key, before.pulses.pop(key))

    def _table_for(self, timeout: float) -> Table:
        if timeout not in self._others and len(self._others) >= _EXACT:
            self._drop_empty()
            if len(self._others) >= _EXACT:
                timeout = _STEP ** -(-log(timeout, _STEP) // 1)
        return self._others.setdefault(timeout, Table(timeout))

    def _drop_empty(self) -> None:
        used = {id(table) for table in self._special.values()}
        for timeout, table in [*self._others.items()]:
            if id(table) not in used:
                del self._others[timeout]

    def expired(self, now: float, epoch: float) -> list[tuple[str, Pulse]]:
        """List who was silent for its time-out, since `epoch` at the earliest.

        They are out of the tables then; `lose` is called for each.
        """
        found: list[tuple[str, Pulse]] = []
        for table in self:
            floor = now - table.timeout
            if epoch > floor:
                continue
            for key, pulse in table.expired(floor):
                del table.pulses[key]
                found.append((key, pulse))
        return found

    def next_deadline(self, epoch: float) -> float | None:
        """Return when somebody may be lost; None if nobody can be."""
        deadline = min(max(table.oldest(), epoch) + table.timeout for table in self)
        return None if isinf(deadline) else deadline

    def shortest(self) -> float:
        """Return the shortest time-out."""
        return min(table.timeout for table in self)

    def lose(self, key: str, pulse: Pulse, now: float, *, keep: bool) -> None:
        """Keep a device, out of its table already, as lost; or forget it."""
        if not keep:
            self._special.pop(key, None)
            return

        self.lost[key] = Lost(pulse, now)
        if len(self.lost) > self.max_kept:
            self._drop_oldest()

    def take_lost(self, key: str) -> Pulse | None:
        """Return the pulse of a lost device, which is not lost any more."""
        record = self.lost.pop(key, None)
        return None if record is None else record.pulse

    def prune(self, now: float) -> None:
        """Forget the lost devices that were remembered for long enough."""
        while self._kept_for is not None and self.lost:
            if now - next(iter(self.lost.values())).at < self._kept_for:
                return
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        key, _ = self.lost.popitem(last=False)
        self._special.pop(key, None)
        self.forgotten += 1

    def forget(self, key: str, record: Lost) -> None:
        """Forget a lost device, if this is still the record of it."""
        if self.lost.get(key) is record:
            del self.lost[key]
            self._special.pop(key, None)

    def drop(self, key: str) -> Pulse | None:
        """Take a device out, alive or lost."""
        pulse = self.table_of(key).pulses.pop(key, None) or self.take_lost(key)
        self._special.pop(key, None)
        return pulse

    def all(self) -> list[tuple[str, Pulse, float, bool]]:
        """List all devices: key, pulse, time-out, whether lost."""
        found = [
            (key, pulse, table.timeout, False)
            for table in self
            for key, pulse in table.pulses.items()
        ]
        found += [
            (key, record.pulse, self.table_of(key).timeout, True)
            for key, record in self.lost.items()
        ]
        return found
