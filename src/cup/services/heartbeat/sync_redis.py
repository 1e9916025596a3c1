"""One view for several monitors, on a Redis or Valkey server, for threads.

Not here: what is asked of the server (`_core_shared`).
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from cup._core import fork
from cup._core.program import Program, ThreadDriver
from cup._core.redis.threads import Server
from cup.errors import StoreUnreachable

from ._core_shared import BATCH, SharedCore
from ._core_tables import check_seconds
from .sync import Events

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .api import Snapshot
    from .api_net import SharedAPI

__all__ = ["RedisHeartbeats"]


class _Ticks(Program):
    """Calls a view again and again, as long as it lives."""

    __slots__ = ("_every", "_view")

    def __init__(self, view: RedisHeartbeats, every: float) -> None:
        super().__init__()
        self._view: weakref.ref[RedisHeartbeats] = weakref.ref(view)
        self._every: float = every

    def step(self, now: float) -> float | None:
        """Have the view ticked; the driver's thread may wait for the server."""
        view = self._view()
        if view is None:
            return None

        self.effects.append(view.tick)
        return now + self._every


class RedisHeartbeats(SharedCore):
    """Who is alive, as several monitors see it together, on one server.

    Monitors that are given this as `store` send it what they hear; who has no monitor
    calls `refresh`. A loss is declared once, for all, by whoever looks first; everybody
    reads the same events with the same numbers, and devices that come back are back
    with their next beat.

    Judgement follows a clock of its own on the server, which is not moved by clocks
    that are set. After any gap, of the server or of all monitors, silence counts anew.

    Use it in a `with` block. Thread-safe. Nothing but `snapshot` and `tick` waits for
    the server; while that does not answer, beats wait here, one for each device.

    Args:
        url: The server: `redis://`, `rediss://` or `unix://`.
        name: What shares a view; all its processes use the same other arguments.
        timeout: Seconds of silence after which a device counts as lost that has no
            time-out of its own.
        tick: Seconds between two calls of the server; None for a tenth of that, and
            half a second at most.
        max_devices: How many may be alive; more are refused.
        kept_for: Seconds that lost devices are remembered.
        mass_share: If more than this share of all falls silent at once, nobody is
            declared lost, until the others beat again, or for `hold` seconds.
        mass_least: How many devices there have to be for that.
        hold: Seconds; None for three time-outs.
        server_timeout: Seconds that the server may take to answer.

    Raises:
        MissingExtra: If redis-py is not installed.
        InvalidType: If an argument has the wrong type.
        InvalidValue: If a number makes no sense.
    """

    __slots__ = ("_driver", "_server")

    def __init__(
        self,
        url: str,
        *,
        name: str = "default",
        timeout: float = 10.0,
        tick: float | None = None,
        max_devices: int = 1_000_000,
        kept_for: float = 86_400.0,
        mass_share: float = 0.5,
        mass_least: int = 10,
        hold: float | None = None,
        server_timeout: float = 2.0,
    ) -> None:
        super().__init__(
            name,
            timeout=timeout,
            tick=tick,
            max_devices=max_devices,
            kept_for=kept_for,
            mass_share=mass_share,
            mass_least=mass_least,
            hold=hold,
        )
        answer = check_seconds("server_timeout", server_timeout)
        self._server: Server = Server(url, answer, "a shared view of heartbeats")
        ticks = _Ticks(self, self._tick)
        self._driver: ThreadDriver = ThreadDriver(ticks, f"cup: heartbeats {name}")
        weakref.finalize(self, self._driver.stop).atexit = False

    def start(self) -> None:
        """Begin to call the server; if it does not answer, it is asked again.

        Events are told from the first answer on.
        """
        self.tick()
        self._driver.nudge(float("-inf"))

    def stop(self) -> None:
        """Send what is left, let readers go, and close the connections.

        May be called twice.
        """
        self._driver.stop()
        if not self._closed:
            if self._generation == fork.generation():
                self.tick()
            self._end()
            self._server.close()

    def tick(self) -> None:
        """Send what is to be sent, look for losses, and read events, now."""
        self._check()
        try:
            if not self._met:
                self._look()
            self._send()
            self._look()
        except StoreUnreachable as error:
            self.failed(error)

    def _look(self) -> None:
        behind = True
        while behind:
            script, keys, arguments = self.to_tick()
            behind = self.ticked(self._server.run(script, keys, *arguments))

    def _send(self) -> None:
        beats = self.take_beats()
        try:
            while beats:
                batch = beats[:BATCH]
                script, keys, arguments = self.to_beat(batch)
                self.beaten(len(batch), self._server.run(script, keys, *arguments))
                beats = beats[BATCH:]
        except StoreUnreachable:
            self.give_back(beats)
            raise
        leaving = self.take_farewells()
        try:
            while leaving:
                script, keys, arguments = self.to_leave(*leaving[0])
                self._server.run(script, keys, *arguments)
                del leaving[0]
        except StoreUnreachable:
            self.keep_farewells(leaving)
            raise

    def events(self, *, limit: int = 1024) -> Events:
        """Return the events from now on, to iterate over.

        Args:
            limit: How many may wait to be taken.

        Raises:
            InvalidType: If the limit is no integer.
            InvalidValue: If it is below 1.
            HeartbeatClosed: If this view has ended.
        """
        return Events(self._open_feed(limit))

    def snapshot(self) -> Snapshot:
        """Return all devices, as the server knows them now.

        Raises:
            StoreUnreachable: If the server does not answer in time.
        """
        script, keys, arguments = self.to_snapshot()
        return self._snapshot(self._server.run(script, keys, *arguments))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


if TYPE_CHECKING:
    _shared: SharedAPI = RedisHeartbeats("redis://")
