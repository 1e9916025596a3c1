"""What users call of a monitor, in threads and tasks alike: all that never waits.

Not here: what it does by itself (`_core_monitor`), starting and stopping (the faces).
"""

from __future__ import annotations

import logging
import weakref
from time import monotonic
from typing import TYPE_CHECKING

from cup._core import fork
from cup._core.clock import SYSTEM
from cup._core.datagrams import Datagrams
from cup._core.program import Program, ThreadDriver
from cup.errors import ForkedProcess, HeartbeatClosed, HeartbeatError

from ._core_files import write_whole
from ._core_monitor import MonitorProgram
from ._core_peers import as_text
from ._core_settings import check_ring
from ._core_state import dump, load_into
from .api_net import MonitorStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core_feed import Feed
    from ._core_settings import MonitorSettings
    from ._core_shared import SharedCore
    from .api import DeviceView, HeartbeatEvent, ListenerAPI, Snapshot
    from .device import Device
    from .keys import KeyRing

__all__ = ["Station"]

_log = logging.getLogger("cup.heartbeat")

_SAVE_EVERY = 30.0  # seconds


class _Saver(Program):
    """Saves the state now and then, on a thread of its own: a disk may be slow."""

    __slots__ = ("_save",)

    def __init__(self, save: Callable[[], None]) -> None:
        super().__init__()
        self._save = weakref.WeakMethod(save)

    def step(self, now: float) -> float | None:
        """Have it saved, while there is a monitor."""
        save = self._save()
        if save is None:
            return None

        self.effects.append(save)
        return now + _SAVE_EVERY


class Station:
    """A monitor: its program, its sockets, and its file."""

    __slots__ = (
        "__weakref__",
        "_generation",
        "_program",
        "_saver",
        "_settings",
        "_sockets",
        "_stopped",
    )

    def __init__(self, settings: MonitorSettings, store: SharedCore | None) -> None:
        self._settings: MonitorSettings = settings
        self._program: MonitorProgram = MonitorProgram(settings, SYSTEM)
        self._program.hearing.store = store
        self._sockets: list[Datagrams] = []
        self._saver: ThreadDriver | None = None
        self._stopped: bool = False
        self._generation: int = fork.generation()

    # -- beginning and end: called by the faces ------------------------------------

    def _check(self) -> None:
        if self._generation != fork.generation():
            raise ForkedProcess(
                "a monitor works in the process that made it; make one in the child"
            )

    def _open(self) -> None:
        """Bind the sockets, and take in the state of before."""
        self._check()
        if self._stopped:
            raise HeartbeatClosed("this monitor has ended; make a new one")
        if self._sockets:
            raise HeartbeatError("this monitor runs already")

        settings, program = self._settings, self._program
        for host, port in settings.listen:
            try:
                self._sockets.append(Datagrams.bound(host, port, settings.buffer))
            except BaseException:
                self._close_sockets()
                raise
        program.transports = self._sockets
        if settings.state is not None:
            wall = SYSTEM.time()
            load_into(settings.state, program.registry, program.hearing, wall)
            self._saver = ThreadDriver(_Saver(self.save_state), "cup: heartbeat state")
            self._saver.nudge(monotonic() + _SAVE_EVERY)

    def _close(self) -> None:
        """Save the state, let readers go, and close the sockets."""
        if self._stopped or self._generation != fork.generation():
            return

        self._stopped = True
        if self._saver is not None:
            self._saver.stop()
        if self._sockets and self._settings.state is not None:
            try:
                self.save_state()
            except OSError as error:
                _log.error("the state of the monitor cannot be saved: %s", error)
        self._program.registry.end_feeds()
        self._program.transports = ()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for each in self._sockets:
            each.close()
        self._sockets = []

    def _open_feed(self, limit: int) -> Feed:
        self._check()
        if self._stopped:
            raise HeartbeatClosed("this monitor has ended: there are no more events")
        return self._program.registry.open_feed(limit)

    # -- looking -------------------------------------------------------------------

    @property
    def addresses(self) -> list[str]:
        """Where it listens, as `host:port`; empty unless it runs."""
        return [as_text(each.address) for each in self._sockets]

    def find(self, key: str) -> DeviceView | None:
        """Return how an agent is; None if it is not known."""
        return self._program.registry.find(key)

    def device(self, key: str) -> Device | None:
        """Return an agent as a device, with its last readings; None if unknown."""
        peer = self._program.hearing.peers.find(key)
        return None if peer is None else peer.device()

    def snapshot(self) -> Snapshot:
        """Return all agents, and the number of the last event that is in it."""
        return self._program.registry.snapshot()

    def stats(self) -> MonitorStats:
        """Return the figures of this moment."""
        program = self._program
        figures, counts = program.registry.stats(), program.hearing.counts
        return MonitorStats(
            devices=figures.devices,
            suspects=program.suspects,
            kept=figures.kept,
            events=figures.events,
            lost=figures.lost,
            beats=counts.beats,
            garbage=counts.garbage,
            unknown_key=counts.unknown_key,
            forged=counts.forged,
            stale=counts.stale,
            skewed=counts.skewed,
            limited=counts.limited,
            refused=counts.refused,
            drops=sum(each.drops() for each in self._sockets),
            queue=min((each.granted for each in self._sockets), default=0),
            holding=program.holding,
        )

    def on_event(
        self, callback: Callable[[HeartbeatEvent], object], *, limit: int = 1024
    ) -> ListenerAPI:
        """Have a function called with each event from now on.

        Args:
            callback: What is called, on a thread of its own; it may take its time. What
                it raises is logged by `cup.program`.
            limit: How many events may wait for it.

        Returns:
            What ends it, by its `close()`.

        Raises:
            InvalidType: If the callback cannot be called.
            InvalidValue: If the limit is below 1.
        """
        self._check()
        return self._program.registry.on_event(callback, limit=limit)

    # -- doing ---------------------------------------------------------------------

    def leave(self, key: str) -> bool:
        """Take an agent off the list; if it beats again, it joins anew.

        Returns:
            False if it is not on the list.
        """
        self._check()
        return self._program.registry.leave(key)

    def set_keys(self, keys: KeyRing) -> None:
        """Accept what is signed with these keys, and nothing else, within a tick.

        Raises:
            InvalidKey: If it is no ring.
        """
        ring = check_ring(keys)
        self._program.calls.append(lambda: self._program.hearing.set_keys(ring))

    def save_state(self) -> None:
        """Write the state to its file now.

        That is also done twice a minute, and at the end.

        Raises:
            HeartbeatError: If this monitor has no file.
            OSError: If it cannot be written.
        """
        path = self._settings.state
        if path is None:
            raise HeartbeatError("this monitor has no state file; give it `state=`")
        program = self._program
        write_whole(path, dump(program.registry, program.hearing, SYSTEM.time()))

    def __repr__(self) -> str:
        where = ", ".join(self.addresses) or "not running"
        stats = self._program.registry.stats()
        name = type(self).__name__
        return f"<{name} {where}: {stats.devices} alive, {stats.kept} lost>"
