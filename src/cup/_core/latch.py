"""A gate for threads and tasks: shut until it is opened, for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .line import Line
from .wait import Ask

if TYPE_CHECKING:
    AnyAsk = Ask[Any]  # a line does not look at what it grants

__all__ = ["Latch", "LatchAsk"]


class LatchAsk(Ask[None]):
    """Waits for a latch to open."""

    __slots__ = ()

    value = None


class Latch(Line):
    """A gate that is shut until it is opened, for everybody."""

    __slots__ = ("_opened",)

    def __init__(self) -> None:
        super().__init__()
        self._opened = False

    @property
    def opened(self) -> bool:
        """Whether waiting is over."""
        return self._opened

    def open(self) -> None:
        """Let everybody through, from now on; never waits."""
        self._opened = True
        self.changed()

    def take(self, _: AnyAsk, /) -> bool:
        """Let the ask through an open gate."""
        return self._opened

    def put_back(self, _: AnyAsk, /) -> None:
        """Do nothing: passing takes nothing."""
