"""Monitors and agents, for tasks; their twins for threads are in `sync_net`.

Each works in tasks of the loop that started it. Not here: what they do
(`_core_monitor`, `_core_agent`).
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from anyio import CancelScope, create_task_group, to_thread

from cup._core.clock import SYSTEM
from cup._core.datagrams import resolve
from cup._core.datagrams_aio import LoopDriver

from ._core_beater import Beater, agent_settings
from ._core_settings import PORT, make_settings
from ._core_station import Station
from .aio import AsyncEvents

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike
    from types import TracebackType

    from typing_extensions import Self

    from .aio_redis import AsyncRedisHeartbeats
    from .api_net import AsyncAgentAPI, AsyncMonitorAPI, Listen
    from .device import Device
    from .keys import AgentKeys, KeyRing

__all__ = ["AsyncAgent", "AsyncMonitor"]


class AsyncMonitor(Station):
    """Hears agents over UDP, and tells who is alive and who is lost.

    Twin of `Monitor`: use it in an `async with` block, or call `start` and `stop` in
    one and the same task.

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

    __slots__ = ("_block",)

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
        store: AsyncRedisHeartbeats | None = None,
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
        self._block: AsyncExitStack | None = None

    async def start(self) -> None:
        """Listen.

        Twin of `Monitor.start`.

        Raises:
            NetError: If it cannot listen there.
            HeartbeatError: If it runs already, or has ended.
            ForkedProcess: If it was made in another process.
        """
        await to_thread.run_sync(self._open)
        driver = LoopDriver(self._program, self._sockets, SYSTEM)
        self._block = await _run(driver)

    async def stop(self) -> None:
        """End: save the state, let readers go, close the sockets.

        Twin of `Monitor.stop`. May be called twice.
        """
        await self._end(None, None, None)

    async def _end(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        block, self._block = self._block, None
        try:
            if block is None:
                return None
            return await block.__aexit__(kind, error, traceback)
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(self._close)

    def events(self, *, limit: int = 1024) -> AsyncEvents:
        """Return the events from now on, to iterate over.

        Twin of `Monitor.events`.

        Args:
            limit: How many may wait to be taken.

        Raises:
            InvalidType: If the limit is no integer.
            InvalidValue: If it is below 1.
            HeartbeatClosed: If this monitor has ended.
        """
        return AsyncEvents(self._open_feed(limit))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._end(kind, error, traceback)


class AsyncAgent(Beater):
    """Beats to monitors over UDP, in the name of this process or of a piece of work.

    Twin of `Agent`: use it in an `async with` block, or call `start` and `stop` in one
    and the same task. It beats as long as its loop runs; a loop that is blocked does
    not beat, which is right: its work does not go on, either.

    Args:
        name: Its name: one agent, one name.
        monitors: Where they are: `host:port`, a pair, or a list of these. Names are
            looked up once, at the start.
        keys: The keys of the cluster, or those of this agent (`KeyRing.agent`), which
            cannot beat for others.
        timeout: Seconds of silence after which monitors shall count it as lost.
        interval: Seconds between two beats; None for a third of that.
        alive: Asked before each beat whether the work goes on; if it says no, or
            raises, there is no beat. It is called on the loop: be quick.
        device: Its readings go along with each beat.
        state: A file for the number of its life, so that a clock that was set back
            between two lives costs nothing.
        by_hand: Whether only `beat` beats.

    Raises:
        InvalidKey: If there are no keys, or those of another agent.
        InvalidType: If an argument has the wrong type.
        InvalidValue: If a number makes no sense.
    """

    __slots__ = ("_block", "_driver")

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
        self._block: AsyncExitStack | None = None
        self._driver: LoopDriver | None = None

    async def start(self) -> None:
        """Begin to beat, at once.

        Twin of `Agent.start`.

        Raises:
            NetError: If the name of a monitor is not known.
            HeartbeatError: If it runs already, or has ended.
            ForkedProcess: If it was made in another process.
        """
        await to_thread.run_sync(self._resolve_and_open)
        self._driver = LoopDriver(self._program, self._sockets, SYSTEM)
        self._block = await _run(self._driver)

    def _resolve_and_open(self) -> None:
        self._open([resolve(host, port) for host, port in self._settings.monitors])

    def beat(self) -> None:
        """Beat now.

        Twin of `Agent.beat`.

        Raises:
            HeartbeatClosed: If it does not run.
            ForkedProcess: If it was made in another process.
        """
        self._check_runs()
        if self._driver is not None:
            self._program.calls.append(self._program.beat)
            self._driver.nudge(float("-inf"))

    async def stop(self, *, leave: bool = True) -> None:
        """Say good-bye, and end. May be called twice.

        Twin of `Agent.stop`.

        Args:
            leave: Whether to say good-bye; else monitors will count it as lost.
        """
        await self._end(leave, None, None, None)

    async def _end(
        self,
        leave: bool,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        block, self._block = self._block, None
        try:
            if block is None:
                return None
            return await block.__aexit__(kind, error, traceback)
        finally:
            self._close(leave=leave)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._end(error is None, kind, error, traceback)


async def _run(driver: LoopDriver) -> AsyncExitStack:
    """Run a driver in a task; return what ends it."""
    async with AsyncExitStack() as block:
        tasks = await block.enter_async_context(create_task_group())
        tasks.start_soon(driver.run)
        block.callback(tasks.cancel_scope.cancel)
        return block.pop_all()


if TYPE_CHECKING:
    from .keys import UNAUTHENTICATED

    _monitor: AsyncMonitorAPI = AsyncMonitor(keys=UNAUTHENTICATED)
    _agent: AsyncAgentAPI = AsyncAgent("a", [], keys=UNAUTHENTICATED)
