"""Leaving the block of a service that works for tasks.

Not here: how a service ends; each says that itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["StopsAtExit"]


class StopsAtExit:
    """Ends at the end of `async with`: finishes what it has, unless left in a hurry."""

    __slots__ = ()

    async def stop(self) -> object:
        """Finish all work, and end."""
        raise NotImplementedError

    async def _stop_in_grace(self) -> None:
        """End within a bounded time, whatever is left; not to be cancelled."""
        raise NotImplementedError

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                await self.stop()
        except BaseException:
            await self._stop_in_grace()
            raise
        if error is not None:
            await self._stop_in_grace()
