"""Who is alive: a table in the order of the last beats, so that the silent come first.

A beat moves its device to the end of the table, in constant time. A look for losses
takes from the front, and costs what is lost, whatever is alive. Devices with another
time-out have a table of their own: one for each length.

A device may also be stamped from outside (`Device.set_last_healthy`); then its place in
the table is wrong. It carries a mark, and a heap keeps its true turn once it comes to
the front.

Everything is decided under one mutex. Events leave after it (`_core_feed`), and no code
of users runs under it. Not here: networks (`_core_monitor`), waiting (the faces).
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING

from cup._core import fork
from cup._core.clock import SYSTEM

from ._core_events import EventSource
from ._core_feed import check_limit
from ._core_tables import Tables, check_seconds
from ._core_views import make_snapshot, make_stats, make_view
from .api import EventKind
from .device import Pulse, check_text, device_of, pulse_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cup._core.clock import Clock

    from ._core_flaps import Flaps
    from ._core_tables import Lost
    from ._core_watch import Watch
    from .api import DeviceView, HeartbeatStats, Snapshot
    from .device import Device

__all__ = ["Registry"]


class Registry(EventSource):
    """The devices of one service, and what happens to them.

    Args:
        timeout: Seconds of silence after which a device counts as lost.
        keep_lost: Whether lost devices are remembered.
        max_devices: How many may be alive; more are refused.
        max_kept: How many lost ones are remembered; the oldest go.
        kept_for: Seconds that a lost device is remembered; None for ever.
        clock: The clock that judges.
        collect: Whether `get_lost` is to be used.
    """

    __slots__ = (
        "_collect",
        "_epoch",
        "_full",
        "_keep",
        "_main",
        "_max_devices",
        "_monotonic",
        "_tables",
        "_uncollected",
        "_watch",
        "flaps",
        "suspect_share",
    )

    def __init__(
        self,
        timeout: float,
        *,
        keep_lost: bool = False,
        max_devices: int = 10_000_000,
        max_kept: int = 100_000,
        kept_for: float | None = None,
        clock: Clock = SYSTEM,
        collect: bool = True,
    ) -> None:
        super().__init__(clock)
        self._keep: bool = bool(keep_lost)
        self._max_devices: int = check_limit(max_devices, "max_devices")
        self._tables: Tables = Tables(
            check_seconds("judge_lost_in_sec", timeout),
            check_limit(max_kept, "max_kept"),
            None if kept_for is None else check_seconds("kept_for", kept_for),
        )
        self._main = self._tables.main.pulses
        self._monotonic: Callable[[], float] = (
            time.monotonic if clock is SYSTEM else clock.monotonic
        )
        self._collect: bool = collect
        self._uncollected: dict[str, Pulse] = {}
        self._epoch: float = -inf  # silence before it does not count
        self._full: bool = False
        self.flaps: Flaps | None = None
        self.suspect_share: float = inf  # of a time-out, after which one is suspect
        self._watch: Watch | None = None

    # -- beats ---------------------------------------------------------------------

    def refresh(self, key: str, device_obj: Device | None = None) -> None:
        """Note a beat of a device; one that is new joins.

        Thread-safe; costs the same for any number of devices.

        Args:
            key: Its name.
            device_obj: What `get_lost` shall return for it; is kept from here on.

        Raises:
            InvalidType: If the key is no text, or the object no `Device`.
        """
        if device_obj is None and fork.stamp[0] and self._generation == fork.epoch:
            try:
                with self._mutex:
                    pulse = self._main.get(key)
                    if pulse is not None:
                        pulse.stamp = self._monotonic()
                        self._main.move_to_end(key)
                        return
            except TypeError:
                pass  # a key that cannot be one: told below
        self.register(key, device=device_obj)

    def refresh_many(self, keys: Iterable[str]) -> None:
        """Note a beat of each of many devices.

        Args:
            keys: Their names.

        Raises:
            InvalidType: If a key is no text; those before it have beaten.
        """
        keys = [*keys]  # an iterator of the caller's does not run under the mutex
        self._check_fork()
        missing: list[str] = []
        with self._mutex:
            get, move = self._main.get, self._main.move_to_end
            now = self._monotonic()
            for key in keys:
                try:
                    pulse = get(key)
                except TypeError:
                    pulse = None
                if pulse is None:
                    missing.append(key)
                else:
                    pulse.stamp = now
                    move(key)
        for key in missing:
            self.register(key)

    def register(
        self, key: str, *, timeout: float | None = None, device: Device | None = None
    ) -> None:
        """Note a beat of a device, and what time-out it has.

        Args:
            key: Its name.
            timeout: Seconds of silence after which it counts as lost; None leaves what
                it has, which at first is that of the service.
            device: What `get_lost` shall return for it; None leaves what it has.

        Raises:
            InvalidType: If the key is no text, or the object no `Device`.
            InvalidValue: If the time-out is not above zero.
        """
        key = check_text("a key", key)
        if timeout is not None:
            timeout = check_seconds("timeout", timeout)
        pulse = None
        if device is not None:
            pulse = pulse_of(device, self._clock)
            device.set_last_healthy()
        self._check_fork()
        with self._mutex:
            if timeout is not None:
                self._tables.set_timeout(key, timeout)
            self._beat(key, pulse, self._monotonic())
        self._deliver()
        if timeout is not None:
            self._listened()  # to look at the clock anew

    def _beat(self, key: str, pulse: Pulse | None, now: float) -> bool:
        """Note a beat; False if there is no room for a new device."""
        tables = self._tables
        table = tables.table_of(key)
        known = table.pulses.get(key)
        if known is None:
            if not self._admit(key, now):
                return False
            table = tables.table_of(key)  # it may have got more time

        if pulse is None:
            pulse = known or tables.take_lost(key) or Pulse(now)
        elif known is None:
            tables.take_lost(key)
        pulse.stamp = now
        table.pulses[key] = pulse
        table.pulses.move_to_end(key)
        return True

    def _admit(self, key: str, now: float) -> bool:
        """Tell of a device that is not in the table; False if there is no room."""
        tables = self._tables
        if len(tables) >= self._max_devices:
            tables.refused += 1
            if not self._full:
                self._full = True
                self._tell(EventKind.REFUSED, key, reason=f"{len(tables)} devices")
            return False

        self._full = False
        self._uncollected.pop(key, None)
        lost = tables.lost.get(key)
        if lost is None:
            self._tell(EventKind.JOINED, key)
            return True

        self._tell(EventKind.RECOVERED, key, silent=now - lost.pulse.stamp)
        if self.flaps is not None:
            reason = self.flaps.recovered(key, now, tables)
            if reason:
                self._tell(EventKind.FLAPPING, key, reason=reason)
        return True

    def leave(self, key: str) -> bool:
        """Take a device off the list, without calling it lost.

        Returns:
            False if it is not on the list.
        """
        self._check_fork()
        with self._mutex:
            pulse = self._tables.drop(key)
            if pulse is not None:
                silent = self._monotonic() - pulse.stamp
                self._tell(EventKind.LEFT, key, silent=silent)
                self._uncollected.pop(key, None)
                self._full = False
        self._deliver()
        return pulse is not None

    def set_timeout(self, key: str, timeout: float | None) -> None:
        """Change the time-out of one device, which need not be known yet.

        Args:
            key: Its name.
            timeout: Seconds; None for that of the service.

        Raises:
            InvalidValue: If the time-out is not above zero.
        """
        if timeout is not None:
            timeout = check_seconds("timeout", timeout)
        self._check_fork()
        with self._mutex:
            self._tables.set_timeout(key, timeout)
        self._listened()  # to look at the clock anew

    # -- losses --------------------------------------------------------------------

    def sweep(self) -> list[tuple[str, Pulse]]:
        """Declare lost who was silent for too long; costs what is lost."""
        self._check_fork()
        with self._mutex:
            now = self._monotonic()
            found = self._tables.expired(now, self._epoch)
            for key, pulse in found:
                self._lose(key, pulse, now)
            self._tables.prune(now)
            if self.flaps is not None:
                self.flaps.prune(now, self._tables)
        self._deliver()
        return found

    def _lose(self, key: str, pulse: Pulse, now: float) -> None:
        tables = self._tables
        tables.lose(key, pulse, now, keep=self._keep)
        if self._collect:
            if len(self._uncollected) >= tables.max_kept:  # nobody asks for them
                self._uncollected.pop(next(iter(self._uncollected)))
            self._uncollected[key] = pulse
        self._tell(EventKind.LOST, key, silent=now - pulse.stamp)

    def get_lost(self) -> list[Device]:
        """Return the devices that were lost since the last call.

        A device is lost after it was silent for its time-out, and is returned once for
        each loss; what beats again in time is not.
        """
        self.sweep()
        with self._mutex:
            taken, self._uncollected = self._uncollected, {}
        return [device_of(key, pulse, self._clock) for key, pulse in taken.items()]

    def forgive(self) -> None:
        """Let silence count from now on: the fault for what was before may be ours."""
        self._check_fork()
        with self._mutex:
            self._epoch = self._monotonic()

    def next_loss(self) -> float | None:
        """Return when the next device may be lost, on the clock; None if none is."""
        self._check_fork()
        with self._mutex:
            return self._tables.next_deadline(self._epoch)

    def adjust_judge_lost_time(self, time_in_sec: float) -> None:
        """Change the time-out of all devices that have none of their own.

        Args:
            time_in_sec: Seconds of silence after which they count as lost.

        Raises:
            InvalidType: If it is no number.
            InvalidValue: If it is not above zero.
        """
        seconds = check_seconds("time_in_sec", time_in_sec)
        self._check_fork()
        with self._mutex:
            self._tables.main.timeout = seconds
        self._listened()  # to look at the clock anew

    # -- lost devices that are kept --------------------------------------------------

    def kept(self) -> dict[str, Lost]:
        """Return the lost devices that are remembered now."""
        self._check_fork()
        with self._mutex:
            return dict(self._tables.lost)

    def forget(self, records: dict[str, Lost]) -> None:
        """Forget lost devices, unless they were lost anew since `kept` told them."""
        with self._mutex:
            for key, record in records.items():
                self._tables.forget(key, record)

    # -- looking -------------------------------------------------------------------

    def is_device_registered(self, key: str, including_dead: bool = False) -> bool:
        """Tell whether a device is on the list.

        Args:
            key: Its name.
            including_dead: Whether lost ones that are kept count, too.
        """
        self._check_fork()
        with self._mutex:
            tables = self._tables
            return key in tables.table_of(key).pulses or (
                including_dead and key in tables.lost
            )

    def find(self, key: str) -> DeviceView | None:
        """Return how a device is; None if it is not known."""
        self._check_fork()
        with self._mutex:
            return make_view(
                self._tables, key, self._clock, self.locate, self.suspect_share
            )

    def snapshot(self) -> Snapshot:
        """Return all devices, and the number of the last event that is in it.

        A reader that missed events takes one, and goes on with later numbers.
        """
        self._check_fork()
        with self._mutex:
            number, found = self._number, self._tables.all()
        return make_snapshot(
            number, found, self._clock, self.locate, self.suspect_share
        )

    def stats(self) -> HeartbeatStats:
        """Return the figures of this moment."""
        self._check_fork()
        with self._mutex:
            return make_stats(
                self._tables, self._number, self._counts, len(self._feeds)
            )

    def __len__(self) -> int:
        return len(self._tables)

    def shortest_timeout(self) -> float:
        """Return the shortest time-out of any device."""
        with self._mutex:
            return self._tables.shortest()

    def _listened(self) -> None:
        """Have losses looked for by themselves, as long as anybody reads events."""
        if self._watch is not None and self._feeds:
            self._watch.arm()
