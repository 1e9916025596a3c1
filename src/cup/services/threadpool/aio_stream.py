"""The results of a stream of calls, for `async for`.

Not an async generator: one that is left early (a `break`) is closed by the loop at some
later time, or complains, as under trio. This takes back at once what has not started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from cup._core.loops import ablock, current_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from typing_extensions import Self

    from ._core_record import Record
    from ._core_stream import Cell, Stream

__all__ = ["AsyncResults"]

T = TypeVar("T")


class AsyncResults(Generic[T]):
    """An async iterator over the results of one stream, for one task.

    Args:
        stream: The calls.
        offer: What queues the record of a call.
    """

    __slots__ = ("_offer", "_stream")

    def __init__(
        self, stream: Stream[T], offer: Callable[[Record], Awaitable[None]]
    ) -> None:
        self._stream = stream
        self._offer = offer

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            cell = await self._next_cell()
            if cell is not None:
                return cell.outcome()
        except StopAsyncIteration as error:
            self._stream.cancel()
            raise RuntimeError("a job of a stream raised StopAsyncIteration") from error
        except BaseException:
            self._stream.cancel()
            raise
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Take back what has not started; the iteration is over."""
        self._stream.cancel()

    def __del__(self) -> None:
        self._stream.cancel()

    async def _next_cell(self) -> Cell[T] | None:
        """Wait for the next outcome; None if there is none left."""
        stream = self._stream
        if not stream.exhausted:
            await current_loop().check_cancelled()  # before anything is started
        while True:
            for record in stream.next_records():
                await self._offer(record)
            cell = stream.pop()
            if cell is not None:
                await current_loop().immediate()
                return cell

            if not stream.in_flight():
                return None

            ask = stream.ask()
            try:
                await ablock(ask)
            finally:
                stream.got()
