"""asyncio's loops (uvloop among them), as `loops` sees them."""

from __future__ import annotations

import asyncio
import sys
import weakref
from typing import TYPE_CHECKING

from . import fork
from .loops import Loop, TaskWaiter
from .wait import Reach

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_get_running_loop = asyncio._get_running_loop  # noqa: SLF001 - 5 times cheaper than the public name

_loops: dict[int, AsyncioLoop] = {}
fork.on_fork(_loops.clear)


class AsyncioLoop(Loop):
    """One asyncio loop. Holds it weakly: a dead loop takes its entry along."""

    __slots__ = ("_native", "_tasks")

    name = "asyncio"

    def __init__(self, native: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        key = id(native)
        self._native = weakref.ref(native, lambda _: _loops.pop(key, None))
        self._tasks: set[asyncio.Task[None]] = set()  # the loop holds them weakly

    @property
    def native(self) -> asyncio.AbstractEventLoop:
        """The loop itself."""
        native = self._native()
        if native is None:
            raise RuntimeError("the event loop is gone")
        return native

    def _notify(self, callback: Callable[[], None]) -> None:
        self.native.call_soon_threadsafe(callback)

    @property
    def must_check(self) -> bool:
        """Whether cancel scopes of anyio can exist: its backend is loaded then."""
        return "anyio._backends._asyncio" in sys.modules

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

    def current_task(self) -> object:
        """Return the running task."""
        return asyncio.current_task()

    def spawn(self, main: Callable[[], Awaitable[None]]) -> None:
        """Run `main` in a task of its own, which must not raise."""

        async def run() -> None:
            await main()

        task = self.native.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def make_waiter(self) -> AsyncioWaiter:
        """Return a waiter for the task that runs now."""
        return AsyncioWaiter(self, self.native)


class AsyncioWaiter(TaskWaiter):
    """Parks one asyncio task on a future of its loop."""

    __slots__ = ("_future", "_native", "_woken")

    def __init__(self, home: AsyncioLoop, native: asyncio.AbstractEventLoop) -> None:
        self.home = home
        self._native = native
        self._future: asyncio.Future[None] | None = None
        self._woken = False

    def set(self) -> None:
        """Wake the task."""
        self._woken = True
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)

    async def wait(self, timeout: float | None) -> None:
        """Park until woken, or for so many seconds."""
        if not self._woken:
            native = self._native
            future = self._future = native.create_future()
            if timeout is None:
                await future
            else:
                timer = native.call_later(timeout, self.set)
                try:
                    await future
                finally:
                    timer.cancel()
        self._woken = False


def current() -> AsyncioLoop | None:
    """Return the asyncio loop that runs in the calling thread."""
    native = _get_running_loop()
    if native is None:
        return None

    return _loops.get(id(native)) or _loops.setdefault(id(native), AsyncioLoop(native))
