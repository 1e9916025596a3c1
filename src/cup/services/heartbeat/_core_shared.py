"""One view for several monitors, on a server: what to ask, what the answers mean.

Beats are gathered here and sent a few times a second; a beat never waits for the
server. Whoever looks first declares a loss, for all; everybody reads the same events,
with the same numbers.

Not here: the scripts (`_core_scripts`), asking (`sync_redis`, `aio_redis`).
"""

from __future__ import annotations

import json
import logging
import math
import secrets
from _thread import allocate_lock
from typing import TYPE_CHECKING, Final

from cup._core import fork
from cup._core.clock import SYSTEM
from cup.errors import ForkedProcess, HeartbeatClosed

from ._core_feed import check_limit
from ._core_scripts import BEATS, LEAVE, SNAPSHOT, TICK
from ._core_settings import check_share
from ._core_shared_reply import (
    SharedEvents,
    order,
    read_event,
    read_view,
    sendable,
)
from ._core_tables import check_seconds
from .api import Snapshot
from .api_net import SharedStats
from .device import check_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cup.errors import StoreUnreachable

    from ._core_feed import Feed
    from .api import HeartbeatEvent, ListenerAPI

__all__ = ["Request", "SharedCore"]

_log = logging.getLogger("cup.heartbeat")

Request = tuple[str, list[str], list["str | int"]]
"""A script, its keys, and its arguments."""

BATCH: Final = 500
"""Beats in one call, and events in one answer."""

_KEPT_EVENTS: Final = 100_000
_LEAST_GAP: Final = 2000  # milliseconds without a call, after which silence is forgiven
_NO_ORDER: Final = ""
_FIELDS: Final = 7  # of an event
_VIEW_FIELDS: Final = 6


class SharedCore:
    """What both faces have: all that never waits."""

    __slots__ = (
        "__weakref__",
        "_alive",
        "_closed",
        "_events",
        "_failing",
        "_forgive",
        "_generation",
        "_gone",
        "_hold",
        "_holding",
        "_kept_for",
        "_last",
        "_leaving",
        "_life",
        "_mass_least",
        "_mass_share",
        "_max_devices",
        "_mutex",
        "_name",
        "_pending",
        "_refused",
        "_sent",
        "_stale",
        "_tick",
        "_timeout",
        "_unreachable",
    )

    def __init__(
        self,
        name: str,
        *,
        timeout: float,
        tick: float | None,
        max_devices: int,
        kept_for: float,
        mass_share: float,
        mass_least: int,
        hold: float | None,
    ) -> None:
        self._name: str = check_text("name", name)
        self._timeout: float = check_seconds("timeout", timeout)
        tick = min(0.5, self._timeout / 10) if tick is None else tick
        self._tick: float = check_seconds("tick", tick)
        self._max_devices: int = check_limit(max_devices, "max_devices")
        self._kept_for: float = check_seconds("kept_for", kept_for)
        self._mass_share: float = check_share("mass_share", mass_share)
        self._mass_least: int = check_limit(mass_least, "mass_least")
        hold = 3 * self._timeout if hold is None else hold
        self._hold: float = check_seconds("hold", hold)
        self._events: SharedEvents = SharedEvents(SYSTEM)
        self._mutex = allocate_lock()
        self._generation: int = fork.generation()
        self._pending: dict[str, tuple[str, int, str]] = {}
        self._leaving: list[tuple[str, str]] = []
        self._life: str | None = None
        self._last: int = -1  # the last event that was read; -1 before the first look
        self._closed: bool = False
        self._failing: bool = False
        self._forgive: bool = False
        self._holding: bool = False
        self._alive: int = 0
        self._gone: int = 0
        self._sent: int = 0
        self._stale: int = 0
        self._refused: int = 0
        self._unreachable: int = 0

    # -- what users call -----------------------------------------------------------

    def refresh(self, key: str, *, timeout: float | None = None) -> None:
        """Note a beat of a device; it is sent with the next tick.

        Args:
            key: Its name.
            timeout: Seconds of silence after which it counts as lost; None for that of
                this view.

        Raises:
            InvalidType: If the key is no text.
            InvalidValue: If the time-out is not above zero, or the key cannot be sent.
        """
        self._check()
        beat = _NO_ORDER, self._millis(timeout), ""
        with self._mutex:
            self._pending[sendable(key)] = beat

    def refresh_many(self, keys: Iterable[str]) -> None:
        """Note a beat of each of many devices.

        Args:
            keys: Their names.

        Raises:
            InvalidType: If a key is no text.
            InvalidValue: If a key cannot be sent.
        """
        self._check()
        beat = _NO_ORDER, self._millis(None), ""
        beats = {sendable(key): beat for key in keys}
        with self._mutex:
            self._pending.update(beats)

    def leave(self, key: str) -> None:
        """Take a device off the list, without calling it lost, with the next tick.

        Raises:
            InvalidType: If the key is no text.
            InvalidValue: If the key cannot be sent.
        """
        self.offer_leave(sendable(key), 0, 0)

    def offer(
        self, key: str, incarnation: int, sequence: int, millis: int, address: str
    ) -> None:
        """Note a beat that was heard, unless a later one was already."""
        ours = order(incarnation, sequence)
        millis = millis or self._millis(None)
        with self._mutex:
            known = self._pending.get(key)
            if known is None or known[0] < ours:
                self._pending[key] = ours, millis, address

    def offer_leave(self, key: str, incarnation: int, sequence: int) -> None:
        """Note a farewell that was heard."""
        ours = order(incarnation, sequence) if incarnation else _NO_ORDER
        with self._mutex:
            self._pending.pop(key, None)
            self._leaving.append((key, ours))

    def forgive(self) -> None:
        """Let silence count from the next tick on: who hears beats was stopped."""
        self._forgive = True

    def on_event(
        self, callback: Callable[[HeartbeatEvent], object], *, limit: int = 1024
    ) -> ListenerAPI:
        """Have a function called with each event from now on.

        Args:
            callback: What is called, on a thread of its own.
            limit: How many events may wait for it.

        Raises:
            InvalidType: If the callback cannot be called.
            InvalidValue: If the limit is below 1.
        """
        return self._events.on_event(callback, limit=limit)

    def _check(self) -> None:
        if self._generation != fork.generation():
            raise ForkedProcess(
                "a shared view works in the process that made it; make one in the child"
            )

    def _open_feed(self, limit: int) -> Feed:
        self._check()
        if self._closed:
            raise HeartbeatClosed("this view has ended: there are no more events")
        return self._events.open_feed(limit)

    def stats(self) -> SharedStats:
        """Return the figures of this moment, as of the last tick."""
        return SharedStats(
            devices=self._alive,
            kept=self._gone,
            events=max(0, self._last),
            sent=self._sent,
            waiting=len(self._pending) + len(self._leaving),
            stale=self._stale,
            refused=self._refused,
            unreachable=self._unreachable,
            reachable=self._life is not None and not self._failing,
            holding=self._holding,
        )

    def _millis(self, timeout: float | None) -> int:
        seconds = (
            self._timeout if timeout is None else check_seconds("timeout", timeout)
        )
        return math.ceil(seconds * 1000)

    @property
    def _met(self) -> bool:
        """Whether the server has answered once: what it tells begins there."""
        return self._life is not None

    # -- what to ask ---------------------------------------------------------------

    def _request(self, script: str, *arguments: str | int) -> Request:
        place = f"{{cup:heartbeat:{self._name}}}"
        keys = [f"{place}:{part}" for part in ("meta", "due", "info", "gone", "events")]
        gap = max(_LEAST_GAP, math.ceil(self._tick * 4000))
        token = secrets.token_hex(
            8
        )  # names the life of the server's data, if it begins
        common: list[str | int] = [token, gap, self._max_devices, _KEPT_EVENTS]
        return script, keys, [*common, *arguments]

    def take_beats(self) -> list[tuple[str, tuple[str, int, str]]]:
        """Take what is to be sent; `give_back` it if it could not be."""
        with self._mutex:
            pending, self._pending = self._pending, {}
        return [*pending.items()]

    def give_back(self, beats: Iterable[tuple[str, tuple[str, int, str]]]) -> None:
        """Keep beats for the next tick, unless there are later ones."""
        with self._mutex:
            for key, beat in beats:
                self._pending.setdefault(key, beat)

    def to_beat(self, beats: Iterable[tuple[str, tuple[str, int, str]]]) -> Request:
        """Ask to note some beats."""
        flat: list[str | int] = []
        for key, beat in beats:
            flat += (key, *beat)
        return self._request(BEATS, json.dumps(flat))

    def take_farewells(self) -> list[tuple[str, str]]:
        """Take who has left."""
        with self._mutex:
            leaving, self._leaving = self._leaving, []
        return leaving

    def keep_farewells(self, leaving: list[tuple[str, str]]) -> None:
        """Keep farewells for the next tick."""
        with self._mutex:
            self._leaving = leaving + self._leaving

    def to_leave(self, key: str, last: str) -> Request:
        """Ask to take a device off the list."""
        return self._request(LEAVE, key, last)

    def to_tick(self) -> Request:
        """Ask to look for losses, and for the events since the last."""
        forgive, self._forgive = self._forgive, False
        return self._request(
            TICK,
            self._last,
            BATCH,
            self._millis(None),
            repr(self._mass_share),
            self._mass_least,
            math.ceil(self._hold * 1000),
            math.ceil(self._kept_for * 1000),
            int(forgive),
        )

    def to_snapshot(self) -> Request:
        """Ask for all devices."""
        return self._request(SNAPSHOT)

    # -- what the answers mean -----------------------------------------------------

    def beaten(self, beats: int, reply: list[str]) -> None:
        """Take in the answer to beats."""
        self._sent += beats
        self._stale += int(reply[2])
        self._refused += int(reply[3])

    def ticked(self, reply: list[str]) -> bool:
        """Take in the answer to a tick; tell whether there are more events to read."""
        life, number, holding, alive, gone = reply[:5]
        self._failing = False
        self._holding = holding == "1"
        self._alive, self._gone = int(alive), int(gone)
        last = int(number)
        if life != self._life or last < self._last:
            self._meet(life, last)
            return False

        events = [
            read_event(reply[at : at + _FIELDS]) for at in range(5, len(reply), _FIELDS)
        ]
        if events and events[0].number > self._last + 1:
            # The server keeps so many events, and these were too many.
            missed = events[0].number - self._last - 1
            self._events.skip(events[0].number - 1, missed)
        elif not events and last > self._last:
            self._events.skip(last, last - self._last)
            self._last = last
        self._events.publish(events)
        if events:
            self._last = events[-1].number
        return self._last < last

    def _meet(self, life: str, number: int) -> None:
        """Begin with what a server knows that is new, or has lost its data."""
        known, self._life = self._life, life
        if known is None:
            self._events.begin(number)
        else:
            _log.warning("the server has lost what it knew of %r", self._name)
            self._events.skip(number, 1)
        self._last = number

    def failed(self, error: StoreUnreachable) -> None:
        """Note that the server did not answer; it is asked again with the next tick."""
        self._unreachable += 1
        if not self._failing:
            self._failing = True
            _log.warning("%s", error)

    def _snapshot(self, reply: list[str]) -> Snapshot:
        _, number, wall, _ = reply[:4]
        now = int(wall) / 1000
        views = (
            read_view(reply[at : at + _VIEW_FIELDS], now)
            for at in range(4, len(reply), _VIEW_FIELDS)
        )
        return Snapshot(number=int(number), time=now, devices=tuple(views))

    def _end(self) -> None:
        self._closed = True
        self._events.end_feeds()

    def __repr__(self) -> str:
        stats = self.stats()
        state = "" if stats.reachable else ", unreachable"
        name = type(self).__name__
        return f"<{name} {self._name!r}: {stats.devices} alive{state}>"
