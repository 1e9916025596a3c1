"""A record that is on its way to the disk, for tasks; the twin is in `sync_ticket`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cup._core.loops import ablock

from ._core_batch import raise_copy
from ._core_tide import SettledAsk

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._core import LogCore
    from ._core_batch import Batch

__all__ = ["AsyncTicket"]


class AsyncTicket:
    """A record that is on its way to the disk.

    Twin of `Ticket`. It may be awaited itself.
    """

    __slots__ = ("_batch", "_core", "_id")

    def __init__(self, core: LogCore, batch: Batch, number: int) -> None:
        self._core = core
        self._batch = batch
        self._id = number

    @property
    def id(self) -> int:
        """The id that the record has once it is durable."""
        return self._id

    @property
    def durable(self) -> bool:
        """Whether the record is durable."""
        return self._batch.done and self._batch.error is None

    async def wait(self, timeout: float | None = None) -> int:
        """Wait until the record is durable, and return its id.

        Twin of `Ticket.wait`.

        Args:
            timeout: Seconds; None waits for ever, zero or less tries once.

        Raises:
            WaitTimeout: If it is not durable in time. It will be, later.
            LogError: If it failed.
        """
        return await self._settle(timeout)

    async def _settle(self, timeout: float | None) -> int:
        await ablock(SettledAsk(self._core.tide, self._batch), timeout)
        raise_copy(self._batch.error)
        return self._id

    def __await__(self) -> Generator[object, None, int]:
        return self._settle(None).__await__()

    def __repr__(self) -> str:
        state = "durable" if self.durable else "failed" if self._batch.done else "waits"
        return f"<{type(self).__name__} {self._id} {state}>"
