"""What all generators have in tasks: drawing, waiting for the clock, iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from cup._core.loops import current_loop
from cup._core.pause_aio import pause

from ._core_ids import NotYet, check_count

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import Self

    from ._core_ids import Ids
    from .api import AsyncIDGenerator, IDStats, ParsedID

__all__ = ["AsyncIds", "awaited"]

T = TypeVar("T")
_AT_ONCE = 1000  # identifiers between two looks for cancellation


class AsyncIds(Generic[T]):
    """Draws from a core on the running task; never on another thread.

    An identifier that can be had at once costs a check for cancellation, and every 64th
    or so lets other tasks run.
    """

    __slots__ = ("__weakref__", "_ids")

    def __init__(self, ids: Ids[T]) -> None:
        self._ids: Ids[T] = ids

    async def next_id(self) -> T:
        """Return an identifier that nobody else gets.

        Raises:
            ClockBehind: If the clock policy forbids it; other errors, if the kind says
                so.
        """
        await current_loop().immediate()
        waited = 0.0
        while True:
            try:
                return self._ids.attempt()
            except NotYet as late:
                waited = late.add_to(waited)
                await self._wait(late)

    async def next_ids(self, n: int) -> list[T]:
        """Return `n` identifiers, in order where the kind promises one.

        Args:
            n: How many; a thousand cost a fraction of a thousand calls.

        Raises:
            InvalidType: If it is no integer.
            InvalidValue: If it is negative.
        """
        made: list[T] = []
        missing = check_count(n)
        loop = current_loop()
        await loop.immediate()
        waited = 0.0
        while missing:
            try:
                made += self._ids.attempt_some(min(missing, _AT_ONCE))
                waited = 0.0
            except NotYet as late:
                waited = late.add_to(waited)
                await self._wait(late)
            missing = n - len(made)
            if missing:
                await loop.immediate()
        return made

    async def _wait(self, late: NotYet) -> None:
        await pause(late.seconds)

    def parse(self, value: T | str) -> ParsedID:
        """Say what an identifier of this kind tells about itself."""
        return self._ids.parse(value)

    def bounds(self, time: datetime | float) -> tuple[T, T]:
        """Return the least and the greatest identifier that a time can have."""
        return self._ids.bounds(time)

    def stats(self) -> IDStats:
        """Return the state of this moment."""
        return self._ids.stats()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return await self.next_id()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._ids!r}>"


def awaited(ids: Ids[T]) -> AsyncIDGenerator[T]:
    """Return the face for tasks of a generator of any kind, the older ones, too.

    Args:
        ids: The generator, as threads use it.
    """
    return AsyncIds(ids)
