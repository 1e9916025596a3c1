"""asyncio's loops (uvloop among them), as `loops` sees them."""

from __future__ import annotations

import asyncio
import sys
import weakref
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from . import fork
from .loops import Loop, TaskWaiter, forget_closed
from .wait import Reach

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_get_running_loop = asyncio._get_running_loop  # noqa: SLF001 - 5 times cheaper than the public name

_modules = sys.modules
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

    def may_be_cancelled(self, task: object, /) -> bool:
        """Tell whether a task is in a cancel scope of anyio's.

        anyio keeps a state for each task that is; asking it about a task without a
        scope costs six times as much as this look. Where it keeps it elsewhere, it is
        asked.
        """
        backend = _modules.get("anyio._backends._asyncio")
        if backend is None:
            return False

        states = getattr(backend, "_task_states", None)
        if states is None:
            return True

        state = states.get(task)
        return state is not None and getattr(state, "cancel_scope", state) is not None

    async def checkpoint(self) -> None:
        """Let others run, and raise if the running task is cancelled."""
        if self.may_be_cancelled(self.current_task()):
            await checkpoint()
        else:
            await asyncio.sleep(0)  # anyio would load its backend

    def is_here(self) -> bool:
        """Tell whether a task of this loop is the calling code.

        Between tasks the loop may be about to sleep, or asleep: what a signal handler
        or a finalizer schedules there directly would not wake it.
        """
        native = _get_running_loop()
        return (
            native is not None
            and native is self._native()
            and asyncio.current_task(native) is not None
        )

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
        return asyncio.current_task(self._native())

    def spawn(self, main: Callable[[], Awaitable[None]]) -> None:
        """Run `main` in a task of its own, which must not raise."""

        async def run() -> None:
            await main()

        task = self.native.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def make_waiter(self) -> AsyncioWaiter:
        """Return a waiter for the task that runs now."""
        return AsyncioWaiter(self, self._native)


class AsyncioWaiter(TaskWaiter):
    """Parks one asyncio task on a future of its loop."""

    __slots__ = ("_future", "_native", "woken")

    def __init__(
        self,
        home: AsyncioLoop,
        native: weakref.ReferenceType[asyncio.AbstractEventLoop],
    ) -> None:
        self.home = home
        self._native = native
        self._future: asyncio.Future[None] | None = None
        self.woken = False

    def set(self) -> None:
        """Wake the task."""
        self.woken = True
        # A waiter that lives on does not keep the loop alive through its future.
        future, self._future = self._future, None
        if future is not None:
            try:
                future.set_result(None)
            except asyncio.InvalidStateError:
                pass  # its task was cancelled

    def parking(self) -> asyncio.Future[None]:
        """Return the future that parks the task; awaiting it needs no coroutine."""
        native = self._native()
        assert native is not None, "the calling task runs on it"
        future = self._future = native.create_future()
        if self.woken:
            self.woken = False
            future.set_result(None)
        return future

    def is_leaving(self) -> bool:
        """Tell whether the parked task is being cancelled, and will run soon."""
        future = self._future
        return future is not None and future.cancelled()

    async def wait(self, timeout: float | None) -> None:
        """Park until woken, or for so many seconds."""
        if timeout is None:
            await self.parking()
        elif not self.woken:
            future = self.parking()
            timer = future.get_loop().call_later(timeout, self.set)
            try:
                await future
            finally:
                timer.cancel()
        self.woken = False


def current() -> AsyncioLoop | None:
    """Return the asyncio loop that runs in the calling thread."""
    native = _get_running_loop()
    if native is None:
        return None

    return _loops.get(id(native)) or _meet(native)


def _meet(native: asyncio.AbstractEventLoop) -> AsyncioLoop:
    forget_closed(_loops)
    return _loops.setdefault(id(native), AsyncioLoop(native))
