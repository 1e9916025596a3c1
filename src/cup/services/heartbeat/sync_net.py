"""Monitors and agents, for threads; their twins for tasks are in `aio_net`.

Each has one thread. Not here: what they do (`_core_monitor`, `_core_agent`).
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from cup._core.clock import SYSTEM
from cup._core.datagrams import DatagramDriver, Datagrams, resolve

from ._core_beater import Beater, agent_settings
from ._core_ender import Ender
from ._core_settings import PORT, make_settings
from ._core_station import Station
from .sync import Events

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike
    from types import TracebackType

    from typing_extensions import Self

    from .api_net import AgentAPI, Listen, MonitorAPI
    from .device import Device
    from .keys import AgentKeys, KeyRing
    from .sync_redis import RedisHeartbeats

__all__ = ["Agent", "Monitor"]


class Monitor(Station):
    """Hears agents over UDP, and tells who is alive and who is lost.

    Only packets count that are signed with a key of the ring, and no packet counts
    twice. Before a loss is declared, the agent is asked; and a monitor that was paused,
    suspended, set back, flooded or cut off from the network doubts itself first, which
    it tells by `HOLDING` and `JUDGING`. Agents announce their own time-outs.

    Use it in a `with` block, or call `start` and `stop`. Thread-safe. It belongs to the
    process that made it: in a forked child it refuses.

    Args:
        listen: Where: `host:port`, a pair, or a list of these. `[::]` takes IPv4, too.
        keys: The keys of the cluster; `UNAUTHENTICATED` does without, in words.
        timeout: Seconds of silence after which an agent counts as lost that announces
            no time-out.
        suspect_after: Seconds of silence, for that time-out, after which an agent is
            asked; None for half of it. For others it is the same share.
        probes: How often it is asked; 0 for never.
        window: Seconds by which the clock of an unknown agent may differ, before it has
            to prove that its packet is no old one.
        longest_timeout: The longest time-out that an agent may announce.
        max_devices: How many agents may be alive; more are refused, which is told.
        kept_for: Seconds that lost agents are remembered.
        mass_share: If more than this share of all falls silent at once, nobody is
            declared lost, until the others beat again, or for `hold` seconds.
        mass_least: How many agents there have to be for that.
        hold: Seconds; None for three time-outs.
        flap_limit: How many recoveries within `flap_window` seconds get an agent twice
            the time-out; four, then eight times, with as many more.
        flap_window: Seconds.
        receive_buffer: Bytes that the system is asked to queue; see `stats().queue`.
        state: A file for what is known, so that a restart declares nobody lost, and
            takes no old packet for a new one.
        store: A view that is shared with other monitors: it gets what is heard here,
            and judges for all. The events of this monitor remain its own.

    Raises:
        InvalidKey: If there are no keys.
        InvalidType: If an argument has the wrong type.
        InvalidValue: If a number makes no sense.
    """

    __slots__ = ("_driver", "_ender")

    def __init__(
        self,
        listen: Listen = ("0.0.0.0", PORT),  # noqa: S104 - what a monitor is for
        *,
        keys: KeyRing,
        timeout: float = 10.0,
        suspect_after: float | None = None,
        probes: int = 3,
        window: float = 30.0,
        longest_timeout: float = 3600.0,
        max_devices: int = 100_000,
        kept_for: float = 86_400.0,
        mass_share: float = 0.5,
        mass_least: int = 10,
        hold: float | None = None,
        flap_limit: int = 3,
        flap_window: float = 600.0,
        receive_buffer: int = 4 << 20,
        state: str | PathLike[str] | None = None,
        store: RedisHeartbeats | None = None,
    ) -> None:
        super().__init__(
            make_settings(
                listen,
                keys=keys,
                timeout=timeout,
                suspect_after=suspect_after,
                probes=probes,
                window=window,
                longest_timeout=longest_timeout,
                max_devices=max_devices,
                kept_for=kept_for,
                mass_share=mass_share,
                mass_least=mass_least,
                hold=hold,
                flap_limit=flap_limit,
                flap_window=flap_window,
                receive_buffer=receive_buffer,
                state=state,
            ),
            store,
        )
        self._driver: DatagramDriver | None = None
        self._ender: Ender | None = None

    def start(self) -> None:
        """Listen.

        Raises:
            NetError: If it cannot listen there.
            HeartbeatError: If it runs already, or has ended.
            ForkedProcess: If it was made in another process.
        """
        self._open()
        driver = DatagramDriver(
            self._program, "cup: heartbeat monitor", self._sockets, SYSTEM
        )
        driver.nudge(float("-inf"))
        self._driver = driver
        weakref.finalize(self, _abandon, driver, self._sockets).atexit = False
        self._ender = Ender(self.stop)

    def stop(self) -> None:
        """End: save the state, let readers go, close the sockets.

        May be called twice.
        """
        if self._driver is not None:
            self._driver.close()
        self._close()

    def events(self, *, limit: int = 1024) -> Events:
        """Return the events from now on, to iterate over.

        Args:
            limit: How many may wait to be taken.

        Raises:
            InvalidType: If the limit is no integer.
            InvalidValue: If it is below 1.
            HeartbeatClosed: If this monitor has ended.
        """
        return Events(self._open_feed(limit))

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


class Agent(Beater):
    """Beats to monitors over UDP, in the name of this process or of a piece of work.

    A thread beats three times in a time-out, and answers monitors that ask. Use it in a
    `with` block: its end says good-bye, unless an exception ends it. Without a word of
    good-bye, as when a process ends in any other way, the agent counts as lost.

    Thread-safe. It belongs to the process that made it: in a forked child it refuses.

    Args:
        name: Its name: one agent, one name.
        monitors: Where they are: `host:port`, a pair, or a list of these. Names are
            looked up once, at the start.
        keys: The keys of the cluster, or those of this agent (`KeyRing.agent`), which
            cannot beat for others.
        timeout: Seconds of silence after which monitors shall count it as lost.
        interval: Seconds between two beats; None for a third of that.
        alive: Asked before each beat whether the work goes on; if it says no, or
            raises, there is no beat. It is called on the agent's thread: be quick.
        device: Its readings go along with each beat.
        state: A file for the number of its life, so that a clock that was set back
            between two lives costs nothing.
        by_hand: Whether only `beat` beats.

    Raises:
        InvalidKey: If there are no keys, or those of another agent.
        InvalidType: If an argument has the wrong type.
        InvalidValue: If a number makes no sense.
    """

    __slots__ = ("_driver", "_ender")

    def __init__(
        self,
        name: str,
        monitors: Listen,
        *,
        keys: KeyRing | AgentKeys,
        timeout: float = 10.0,
        interval: float | None = None,
        alive: Callable[[], bool] | None = None,
        device: Device | None = None,
        state: str | PathLike[str] | None = None,
        by_hand: bool = False,
    ) -> None:
        settings = agent_settings(
            name,
            monitors,
            keys=keys,
            timeout=timeout,
            interval=interval,
            alive=alive,
            device=device,
            by_hand=by_hand,
        )
        super().__init__(settings, state)
        self._driver: DatagramDriver | None = None
        self._ender: Ender | None = None

    def start(self) -> None:
        """Begin to beat, at once.

        Raises:
            NetError: If the name of a monitor is not known.
            HeartbeatError: If it runs already, or has ended.
            ForkedProcess: If it was made in another process.
        """
        self._open([resolve(host, port) for host, port in self._settings.monitors])
        driver = DatagramDriver(
            self._program, "cup: heartbeat agent", self._sockets, SYSTEM
        )
        driver.nudge(float("-inf"))
        self._driver = driver
        weakref.finalize(self, _abandon, driver, self._sockets).atexit = False
        self._ender = Ender(self._stop_at_exit)

    def beat(self) -> None:
        """Beat now.

        The agent's thread does it.

        Raises:
            HeartbeatClosed: If it does not run.
            ForkedProcess: If it was made in another process.
        """
        driver = self._driver
        self._check_runs()
        if driver is not None:
            self._program.calls.append(self._program.beat)
            driver.nudge(float("-inf"))

    def stop(self, *, leave: bool = True) -> None:
        """Say good-bye, and end. May be called twice.

        Args:
            leave: Whether to say good-bye; else monitors will count it as lost.
        """
        if self._driver is not None:
            self._driver.close()
        self._close(leave=leave)

    def _stop_at_exit(self) -> None:
        self.stop(leave=False)  # the work may have failed

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop(leave=error is None)


def _abandon(driver: DatagramDriver, sockets: list[Datagrams]) -> None:
    """End what nobody holds any more, without a word."""
    driver.close()
    for each in sockets:
        each.close()


if TYPE_CHECKING:
    from .keys import UNAUTHENTICATED

    _monitor: MonitorAPI = Monitor(keys=UNAUTHENTICATED)
    _agent: AgentAPI = Agent("a", [], keys=UNAUTHENTICATED)
