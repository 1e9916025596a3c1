"""asyncio's loops (uvloop among them), as `loops` sees them."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from . import fork
from .loops import Loop, TaskWaiter
from .wait import Reach

if TYPE_CHECKING:
    from collections.abc import Callable

_get_running_loop = asyncio._get_running_loop  # noqa: SLF001 - 5 times cheaper than the public name

_loops: dict[int, AsyncioLoop] = {}
fork.on_fork(_loops.clear)


class AsyncioLoop(Loop):
    """One asyncio loop. Holds it weakly: a dead loop takes its entry along."""

    __slots__ = ("_deferred", "_native")

    name = "asyncio"

    def __init__(self, native: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        key = id(native)
        self._native = weakref.ref(native, lambda _: _loops.pop(key, None))
        self._deferred: list[Callable[[], None]] = []

    @property
    def native(self) -> asyncio.AbstractEventLoop:
        """The loop itself."""
        native = self._native()
        if native is None:
            raise RuntimeError("the event loop is gone")
        return native

    def _notify(self, callback: Callable[[], None]) -> None:
        self.native.call_soon_threadsafe(callback)

    def is_here(self) -> bool:
        """Tell whether the calling code runs on this loop."""
        native = _get_running_loop()
        return native is not None and native is self._native()

    def reach(self) -> Reach:
        """Tell whether the loop runs, may run again, or is closed."""
        native = self._native()
        if native is None or native.is_closed():
            return Reach.GONE

        return Reach.READY if native.is_running() else Reach.PAUSED

    def defer(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the next iteration of the loop."""
        self.native.call_soon(callback)

    def make_waiter(self) -> AsyncioWaiter:
        """Return a waiter for the task that runs now."""
        return AsyncioWaiter(self)


class AsyncioWaiter(TaskWaiter):
    """Parks one asyncio task on a future of its loop."""

    __slots__ = ("_future",)

    def __init__(self, home: AsyncioLoop) -> None:
        self.home = home
        self._future: asyncio.Future[None] = home.native.create_future()

    def set(self) -> None:
        """Wake the task."""
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self, timeout: float | None) -> None:
        """Park until woken, or for so many seconds."""
        future = self._future
        loop = future.get_loop()
        timer = None if timeout is None else loop.call_later(timeout, self.set)
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()
        self._future = loop.create_future()


def current() -> AsyncioLoop | None:
    """Return the asyncio loop that runs in the calling thread."""
    native = _get_running_loop()
    if native is None:
        return None

    return _loops.get(id(native)) or _loops.setdefault(id(native), AsyncioLoop(native))
