"""Devices that are lost and recover again and again get more time.

Each recovery counts for a while. Who recovered too often gets twice the time-out, four
times with the next recoveries, eight times at most; once it was steady for the window,
it has its own time-out again. A loss is told all the same, only later.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._core_tables import Tables

__all__ = ["Flaps"]

_MOST: Final = 8  # times the time-out


class _Record:
    __slots__ = ("factor", "recoveries", "timeout")

    def __init__(self) -> None:
        self.recoveries: list[float] = []
        self.factor: int = 1
        self.timeout: float | None = None  # what it had before


class Flaps:
    """Counts recoveries, and stretches time-outs.

    Args:
        limit: How many recoveries within the window make a device one that flaps.
        window: Seconds.
        most: How many devices are looked after; the steadiest go first.
    """

    __slots__ = ("_limit", "_most", "_records", "_window")

    def __init__(self, limit: int, window: float, most: int = 100_000) -> None:
        self._limit: int = limit
        self._window: float = window
        self._most: int = most
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def recovered(self, key: str, now: float, tables: Tables) -> str:
        """Count a recovery; return in words what it leads to, if it does."""
        record = self._records.setdefault(key, _Record())
        self._records.move_to_end(key)
        if len(self._records) > self._most:
            self._drop_steadiest(tables)
        recent = [t for t in record.recoveries if now - t < self._window]
        record.recoveries = [*recent, now]
        if len(record.recoveries) < self._limit or record.factor >= _MOST:
            return ""

        times = len(record.recoveries)
        record.recoveries = [now]
        if record.factor == 1:
            record.timeout = tables.own_timeout(key)
        record.factor *= 2
        base = record.timeout or tables.main.timeout
        tables.set_timeout(key, base * record.factor)
        return (
            f"{times} recoveries within {self._window:g} s: "
            f"its time-out is {base * record.factor:g} s now"
        )

    def prune(self, now: float, tables: Tables) -> None:
        """Let go who was steady for the window."""
        while self._records:
            record = next(iter(self._records.values()))
            if now - record.recoveries[-1] < self._window:
                return
            self._drop_steadiest(tables)

    def _drop_steadiest(self, tables: Tables) -> None:
        key, record = self._records.popitem(last=False)
        if record.factor > 1:
            tables.set_timeout(key, record.timeout)

    def flapping(self, key: str) -> bool:
        """Tell whether a device has more time than its own."""
        record = self._records.get(key)
        return record is not None and record.factor > 1
