"""trio's loop, as `loops` sees it. Imported only where trio is loaded already."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING

import trio
from trio import lowlevel
from trio.lowlevel import Abort, current_task, in_trio_task, wait_task_rescheduled

from . import fork
from .loops import Loop, TaskWaiter, forget_closed
from .wait import Reach

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .loops import Mark

# The very object that trio writes to; None where it has another way.
mark: Mark | None = getattr(sys.modules.get("trio._core._run"), "sniffio_library", None)

_loops: dict[int, TrioLoop] = {}
fork.on_fork(_loops.clear)


class TrioLoop(Loop):
    """One run of trio.

    A system task of it performs what is deferred to the end of a batch, and tells when
    the run is over: trio itself says so only by refusing to be woken.
    """

    __slots__ = ("_attendant", "_deferred", "_over", "_token")

    name = "trio"

    def __init__(self, token: lowlevel.TrioToken) -> None:
        super().__init__()
        key = id(token)
        self._token = weakref.ref(token, lambda _: _loops.pop(key, None))
        self._deferred: list[Callable[[], None]] = []
        self._attendant: lowlevel.Task | None = None
        self._over = False

    def _notify(self, callback: Callable[[], None]) -> None:
        token = self._token()
        if token is None:
            raise trio.RunFinishedError("the trio run is gone")
        try:
            token.run_sync_soon(callback)
        except trio.RunFinishedError:
            self._over = True
            raise

    def is_here(self) -> bool:
        """Tell whether the calling code runs on this loop."""
        if not in_trio_task():
            return False

        return lowlevel.current_trio_token() is self._token()

    def reach(self) -> Reach:
        """Tell whether the run goes on, or is over."""
        return Reach.GONE if self._over or self._token() is None else Reach.READY

    def defer(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the next batch of tasks."""
        self._deferred.append(callback)
        attendant, self._attendant = self._attendant, None
        if attendant is not None:
            lowlevel.reschedule(attendant)

    def current_task(self) -> object:
        """Return the running task."""
        return current_task()

    def may_be_cancelled(self, _: object, /) -> bool:
        """Return True: a look costs less than to ask trio whether to look."""
        return True

    async def check_cancelled(self) -> None:
        """Raise if the running task is cancelled, without yielding else."""
        await lowlevel.checkpoint_if_cancelled()

    def spawn(self, main: Callable[[], Awaitable[None]]) -> None:
        """Run `main` in a task of its own, which must not raise."""
        lowlevel.spawn_system_task(main, name="cup: a call from a thread")

    def make_waiter(self) -> TrioWaiter:
        """Return a waiter for the task that runs now."""
        return TrioWaiter(self)

    async def attend(self) -> None:
        """Perform what is deferred, until the run ends."""

        def abort(_: object) -> Abort:
            self._attendant = None
            return Abort.SUCCEEDED

        try:
            while True:
                while self._deferred:
                    callbacks, self._deferred = self._deferred, []
                    for callback in callbacks:
                        callback()
                self._attendant = current_task()
                await wait_task_rescheduled(abort)
        finally:
            self._over = True


class TrioWaiter(TaskWaiter):
    """Parks one trio task."""

    __slots__ = ("_leaving", "_task", "woken")

    def __init__(self, home: TrioLoop) -> None:
        self.home = home
        self._task: lowlevel.Task | None = None
        self.woken = False
        self._leaving = False

    def set(self) -> None:
        """Wake the task."""
        self.woken = True
        task, self._task = self._task, None
        if task is not None:
            lowlevel.reschedule(task)

    def _abort(self, _: object) -> Abort:
        self._task = None
        self._leaving = True
        return Abort.SUCCEEDED

    async def parking(self) -> None:
        """Park until woken."""
        if self.woken:
            self.woken = False
            await lowlevel.checkpoint()
        else:
            self._task = current_task()
            await wait_task_rescheduled(self._abort)

    def is_leaving(self) -> bool:
        """Tell whether the parked task is being cancelled, and will run soon."""
        return self._leaving

    async def wait(self, timeout: float | None) -> None:
        """Park until woken, or for so many seconds."""
        if timeout is None:
            await self.parking()
        else:
            with trio.move_on_after(timeout):
                await self.parking()
        self.woken = False
        self._leaving = False


def current() -> TrioLoop | None:
    """Return the trio run of the running task."""
    if not in_trio_task():
        return None

    token = lowlevel.current_trio_token()
    loop = _loops.get(id(token))
    if loop is None:
        forget_closed(_loops)
        loop = _loops[id(token)] = TrioLoop(token)
        lowlevel.spawn_system_task(loop.attend, name="cup: deferred calls")
    return loop
