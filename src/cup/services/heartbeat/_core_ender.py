"""Ends something at interpreter exit, if it still lives then."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from cup._core.lifecycle import Stage, at_exit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ender"]


class Ender:
    """Calls a method at exit; whoever the method is of holds this, not the reverse."""

    __slots__ = ("__weakref__", "_stop")

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop: weakref.WeakMethod[Callable[[], None]] = weakref.WeakMethod(stop)
        at_exit(Stage.TIMERS, self)

    def end_at_exit(self) -> None:
        """End it, as its own method does."""
        stop = self._stop()
        if stop is not None:
            stop()
