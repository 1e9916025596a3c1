"""Waiting for the moment from which on an executor hands nothing over any more."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from cup._core.line import Line
from cup._core.wait import Ask

if TYPE_CHECKING:
    from ._core import ExecutorCore

__all__ = ["HopelessAsk", "Quiet", "QuietAsk"]


class QuietAsk(Ask[None]):
    """Asks for the moment when nothing is left to be handed to the pools."""

    __slots__ = ()

    what = "ExecutionService.stop"
    value = None


class HopelessAsk(QuietAsk):
    """The same, by a thread whose own loop would have to end what is left."""

    __slots__ = ()

    twin = "AsyncExecutionService.stop"


class Quiet(Line):
    """Where callers wait for that moment."""

    __slots__ = ("_core",)

    def __init__(self, core: ExecutorCore) -> None:
        super().__init__()
        self._core = weakref.ref(core)

    def take(self, _: Ask[Any], /) -> bool:
        """Let the ask through when no more runs will be handed over."""
        core = self._core()
        return core is None or core.is_quiet()

    def hopeless(self) -> bool:
        """Tell whether only coroutines of the calling thread's loop are left."""
        core = self._core()
        return core is not None and core.waits_for_this_loop()

    def put_back(self, _: Ask[Any], /) -> None:
        """Do nothing: passing takes nothing."""
