"""Who waits until records are durable: tickets, and who follows a log.

Those who append wait elsewhere (`_core_batch`): this is for who is told later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from cup._core.line import Fifo, Line
from cup._core.wait import Ask

if TYPE_CHECKING:
    from ._core_batch import Batch

    AnyAsk = Ask[Any]  # a line does not look at what it grants

__all__ = ["Durable", "NewsAsk", "SettledAsk", "Tide"]


class Durable(Protocol):
    """What is followed."""

    @property
    def durable(self) -> int:
        """The id behind the last durable record."""
        ...

    def is_over(self) -> bool:
        """Tell whether no record will ever come again."""
        ...


class _AnyOrder(Fifo):
    """Asks, each of which can be granted before those that came earlier."""

    __slots__ = ()

    def head(self) -> AnyAsk | None:
        """Return the first ask that can be granted."""
        for ask in self.asks:
            if isinstance(ask, _TideAsk) and ask.is_over():
                return ask
        return None


class Tide(Line):
    """Tells who waits that more is durable."""

    __slots__ = ()

    def make_queue(self) -> Fifo:
        """Return an empty queue."""
        return _AnyOrder()

    def take(self, ask: AnyAsk, /) -> bool:
        """Let an ask go whose time has come."""
        return isinstance(ask, _TideAsk) and ask.is_over()

    def put_back(self, _: AnyAsk, /) -> None:
        """Do nothing: waiting takes nothing."""

    def rise(self) -> None:
        """Say that more is durable, or failed."""
        if self._queue:
            self.changed()


class _TideAsk(Ask[None]):
    __slots__ = ()

    what = "waiting for records of a log"
    twin = "the method of AsyncLog"
    value = None

    def is_over(self) -> bool:
        """Tell whether there is nothing to wait for."""
        raise NotImplementedError


class NewsAsk(_TideAsk):
    """Waits for the record `number`, or for the end of the log."""

    __slots__ = ("_log", "_number")

    def __init__(self, tide: Tide, log: Durable, number: int) -> None:
        super().__init__(tide)
        self._log = log
        self._number = number

    def is_over(self) -> bool:
        """Tell whether the record is durable, or will never be."""
        return self._log.durable > self._number or self._log.is_over()


class SettledAsk(_TideAsk):
    """Waits until a batch is durable, or has failed."""

    __slots__ = ("_batch",)

    def __init__(self, tide: Tide, batch: Batch) -> None:
        super().__init__(tide)
        self._batch = batch

    def is_over(self) -> bool:
        """Tell whether the batch is settled."""
        return self._batch.done
