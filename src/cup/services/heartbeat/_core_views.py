"""What a registry shows of itself: views, snapshots and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .api import DeviceState, DeviceView, EventKind, HeartbeatStats, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from cup._core.clock import Clock

    from ._core_tables import Tables
    from .device import Pulse

    Locate = Callable[[str], tuple[int, str]] | None
    """Tells incarnation and address of a device."""
    Entry = tuple[str, Pulse, float, bool]

__all__ = ["make_snapshot", "make_stats", "make_view"]


def make_view(
    tables: Tables, key: str, clock: Clock, locate: Locate, share: float
) -> DeviceView | None:
    """Return how one device is; None if it is not known."""
    table = tables.table_of(key)
    pulse = table.pulses.get(key)
    lost = pulse is None
    if pulse is None and key in tables.lost:
        pulse = tables.lost[key].pulse
    if pulse is None:
        return None

    return _view((key, pulse, table.timeout, lost), *_now(clock), locate, share)


def make_snapshot(
    number: int, found: list[Entry], clock: Clock, locate: Locate, share: float
) -> Snapshot:
    """Return how all devices are."""
    now, wall = _now(clock)
    devices = tuple(_view(entry, now, wall, locate, share) for entry in found)
    return Snapshot(number=number, time=wall, devices=devices)


def _now(clock: Clock) -> tuple[float, float]:
    return clock.monotonic(), clock.time()


def _view(
    entry: Entry, now: float, wall: float, locate: Locate, share: float
) -> DeviceView:
    key, pulse, timeout, lost = entry
    silent = max(0.0, now - pulse.stamp)
    state = DeviceState.LOST if lost else DeviceState.ALIVE
    if not lost and silent >= share * timeout:
        state = DeviceState.SUSPECT
    incarnation, address = (0, "") if locate is None else locate(key)
    return DeviceView(
        key=key,
        state=state,
        last_healthy=wall - silent,
        silent=silent,
        timeout=timeout,
        incarnation=incarnation,
        address=address,
    )


def make_stats(
    tables: Tables, number: int, counts: dict[EventKind, int], readers: int
) -> HeartbeatStats:
    """Return the figures of a registry."""
    return HeartbeatStats(
        devices=len(tables),
        kept=len(tables.lost),
        events=number,
        joined=counts[EventKind.JOINED],
        lost=counts[EventKind.LOST],
        recovered=counts[EventKind.RECOVERED],
        left=counts[EventKind.LEFT],
        refused=tables.refused,
        forgotten=tables.forgotten,
        readers=readers,
    )
