"""One view for several monitors, on a Redis or Valkey server, for tasks.

Not here: what is asked of the server (`_core_shared`).
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from anyio import CancelScope, create_task_group

from cup._core.pause_aio import pause
from cup._core.redis.tasks import Server
from cup.errors import StoreUnreachable

from ._core_shared import BATCH, SharedCore
from ._core_tables import check_seconds
from .aio import AsyncEvents

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .api import Snapshot
    from .api_net import AsyncSharedAPI

__all__ = ["AsyncRedisHeartbeats"]


class AsyncRedisHeartbeats(SharedCore):
    """Who is alive, as several monitors see it together, on one server.

    Twin of `RedisHeartbeats`: use it in an `async with` block, or call `start` and
    `stop` in one and the same task. It asks by way of coredis, on asyncio and trio.

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
        MissingExtra: If coredis is not installed.
        InvalidType: If an argument has the wrong type.
        InvalidValue: If a number makes no sense.
    """

    __slots__ = ("_block", "_server", "_url")

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
        self._block: AsyncExitStack | None = None

    async def start(self) -> None:
        """Begin to call the server; if it does not answer, it is asked again.

        Twin of `RedisHeartbeats.start`. Events are told from the first answer on.
        """
        async with AsyncExitStack() as block:
            await block.enter_async_context(self._server)
            await self.tick()
            tasks = await block.enter_async_context(create_task_group())
            tasks.start_soon(self._tick_on)
            block.callback(tasks.cancel_scope.cancel)
            self._block = block.pop_all()

    async def stop(self) -> None:
        """Send what is left, let readers go, and close the connections.

        Twin of `RedisHeartbeats.stop`. May be called twice.
        """
        await self.__aexit__(None, None, None)

    async def _tick_on(self) -> None:
        while True:
            await self.tick()
            await pause(self._tick)

    async def tick(self) -> None:
        """Send what is to be sent, look for losses, and read events, now.

        Twin of `RedisHeartbeats.tick`.
        """
        try:
            if not self._met:
                await self._look()
            await self._send()
            await self._look()
        except StoreUnreachable as error:
            self.failed(error)

    async def _look(self) -> None:
        behind = True
        while behind:
            script, keys, arguments = self.to_tick()
            behind = self.ticked(await self._server.run(script, keys, *arguments))

    async def _send(self) -> None:
        beats = self.take_beats()
        leaving: list[tuple[str, str]] = []
        try:
            while beats:
                batch = beats[:BATCH]
                script, keys, arguments = self.to_beat(batch)
                reply = await self._server.run(script, keys, *arguments)
                self.beaten(len(batch), reply)
                beats = beats[BATCH:]
            leaving = self.take_farewells()
            while leaving:
                script, keys, arguments = self.to_leave(*leaving[0])
                await self._server.run(script, keys, *arguments)
                del leaving[0]
        except BaseException:  # a cancelled tick, too, loses nothing
            self.give_back(beats)
            self.keep_farewells(leaving)
            raise

    def events(self, *, limit: int = 1024) -> AsyncEvents:
        """Return the events from now on, to iterate over.

        Twin of `RedisHeartbeats.events`.

        Args:
            limit: How many may wait to be taken.

        Raises:
            InvalidType: If the limit is no integer.
            InvalidValue: If it is below 1.
            HeartbeatClosed: If this view has ended.
        """
        return AsyncEvents(self._open_feed(limit))

    async def snapshot(self) -> Snapshot:
        """Return all devices, as the server knows them now.

        Twin of `RedisHeartbeats.snapshot`.

        Raises:
            StoreUnreachable: If the server does not answer in time.
        """
        script, keys, arguments = self.to_snapshot()
        return self._snapshot(await self._server.run(script, keys, *arguments))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        block, self._block = self._block, None
        if block is None:
            return None

        try:
            async with block:
                with CancelScope(shield=True):
                    await self.tick()
        finally:
            self._end()
        return None


if TYPE_CHECKING:
    _shared: AsyncSharedAPI = AsyncRedisHeartbeats("redis://")
