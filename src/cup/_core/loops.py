"""Event loops: finding the running one, waking its tasks, waiting on it.

`ablock` is the only place where a task waits for an ask. A `Loop` stands for one
running asyncio or trio loop; other threads reach it through one inbox, whose wake-ups
are coalesced: many completions, one write to the loop's self-pipe.

Imported by async faces only: it loads anyio. Not here: `block` for threads (`wait`).
"""

from __future__ import annotations

import sys
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from anyio import sleep
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from cup.errors import LoopGone

from .clock import check_timeout
from .wait import SLICE, Ask, Reach, State

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable, Iterable

__all__ = [
    "Loop",
    "TaskWaiter",
    "ablock",
    "current_loop",
    "wait_until",
    "wait_until_dead",
]

T = TypeVar("T")

_modules = sys.modules
_BUDGET = 64  # immediate answers between two real checkpoints
_BUDGET_SECONDS = 0.001


class TaskWaiter:
    """Parks one task; any thread wakes it. Subclasses know the loop."""

    __slots__ = ("home",)

    final = False
    home: Loop

    def reach(self) -> Reach:
        """Tell whether the task can be woken now, later, or never."""
        return self.home.reach()

    def wake(self) -> bool:
        """Wake the task; False if its loop is closed."""
        home = self.home
        if home.is_here():
            self.set()
            return True

        return home.post(self.set)

    def set(self) -> None:
        """Wake the task, from its own loop; twice is as good as once."""
        raise NotImplementedError

    async def wait(self, timeout: float | None) -> None:
        """Park until woken, or for so many seconds; can be used again afterwards."""
        raise NotImplementedError


class Loop:
    """One event loop, as other threads see it. Subclasses: asyncio and trio.

    `post` is thread-safe; `defer` and `make_waiter` belong to the loop's thread.
    """

    __slots__ = ("__weakref__", "_armed", "_inbox", "_since", "_spent")

    name = ""

    def __init__(self) -> None:
        self._inbox: deque[Callable[[], None]] = deque()
        self._armed = False
        self._spent = 0
        self._since = 0.0

    def post(self, callback: Callable[[], None]) -> bool:
        """Have `callback` called on the loop soon; never blocks.

        Callbacks are ours alone: short, and they do not raise.

        Returns:
            False if the loop is closed.
        """
        self._inbox.append(callback)
        if not self._armed:
            self._armed = True
            try:
                self._notify(self._drain)
            except RuntimeError:  # closed; trio's RunFinishedError is one
                self._armed = False
                return False
            except BaseException:
                self._armed = False
                raise
        return True

    def _drain(self) -> None:
        # Disarm first: what is posted from here on arms anew, or is drained below.
        self._armed = False
        inbox = self._inbox
        try:
            for _ in range(len(inbox)):
                inbox.popleft()()
        finally:
            if inbox and not self._armed:
                self._armed = True
                self._notify(self._drain)

    async def immediate(self) -> None:
        """Check for cancellation, and yield for real once the budget is spent.

        A task that only ever meets immediate answers would otherwise never let others
        run, and no time-out around it would ever fire.
        """
        self._spent += 1
        now = monotonic()
        if self._spent < _BUDGET and now - self._since < _BUDGET_SECONDS:
            await self.check_cancelled()
        else:
            await checkpoint()
            self._spent = 0
            self._since = monotonic()

    @property
    def must_check(self) -> bool:
        """Whether a task may have been cancelled in a way that only a look shows."""
        return True

    async def check_cancelled(self) -> None:
        """Raise if the running task is cancelled, without yielding else."""
        if self.must_check:
            await checkpoint_if_cancelled()

    def _notify(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the loop soon; RuntimeError if the loop is closed."""
        raise NotImplementedError

    def is_here(self) -> bool:
        """Tell whether the calling code runs on this loop."""
        raise NotImplementedError

    def reach(self) -> Reach:
        """Tell whether the loop runs, may run again, or is closed."""
        raise NotImplementedError

    def defer(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the tasks that are ready now have run."""
        raise NotImplementedError

    def current_task(self) -> object:
        """Return the running task; it is what holds a lock."""
        raise NotImplementedError

    def spawn(self, main: Callable[[], Awaitable[None]]) -> None:
        """Run `main` in a task of its own, which must not raise."""
        raise NotImplementedError

    def make_waiter(self) -> TaskWaiter:
        """Return a waiter for the task that runs now."""
        raise NotImplementedError


def current_loop() -> Loop:
    """Return the loop of the running task.

    Raises:
        LoopGone: If the caller is not a task of asyncio or trio.
    """
    # trio first: asyncio may be its host (guest mode), never the other way round.
    if "trio" in _modules:
        loop = _finder("trio")()
        if loop is not None:
            return loop

    if "asyncio" in _modules:
        loop = _finder("asyncio")()
        if loop is not None:
            return loop

    raise LoopGone("no event loop runs here; await this from asyncio or trio")


_finders: dict[str, Callable[[], Loop | None]] = {}


def _finder(name: str) -> Callable[[], Loop | None]:
    """Return what finds the running loop of a library that is loaded already."""
    finder = _finders.get(name)
    if finder is None:
        if name == "trio":
            from . import loops_trio  # noqa: PLC0415 - trio is not a dependency

            finder = loops_trio.current
        else:
            from . import loops_asyncio  # noqa: PLC0415 - not every program needs it

            finder = loops_asyncio.current
        _finders[name] = finder
    return finder


async def ablock(ask: Ask[T], timeout: float | None = None) -> T:
    """Wait on this task until the ask is granted; twin of `wait.block`.

    Cancellation ends the wait: the ask leaves its line, and what was granted meanwhile
    goes to the next.

    Args:
        ask: A new ask.
        timeout: Seconds; None waits for ever, zero or less tries once.

    Raises:
        WaitTimeout: What `ask.timed_out` returns.
        LoopGone: If no asyncio or trio loop runs here.
        InvalidValue: If `timeout` is NaN.
    """
    timeout = check_timeout(timeout)
    loop = current_loop()
    await loop.immediate()
    line = ask.line
    if line.try_now(ask):
        return ask.value

    if timeout == 0:
        raise ask.timed_out(0)

    deadline = None if timeout is None else monotonic() + timeout
    waiter = loop.make_waiter()
    try:
        line.file(ask, waiter)
        await _wait(ask, waiter, deadline)
    except BaseException:
        line.leave(ask)
        raise

    if not ask.is_settled() and line.leave_unless_granted(ask):
        raise ask.timed_out(0 if timeout is None else timeout)

    return ask.value


async def wait_until(
    done: Callable[[], bool], waiter: TaskWaiter, timeout: float | None = None
) -> bool:
    """Wait on this task until `done()`, which whoever makes it so tells the waiter.

    Returns:
        What `done()` says in the end; False if the time is over.
    """
    deadline = None if timeout is None else monotonic() + timeout
    while not done():
        left = None if deadline is None else deadline - monotonic()
        if left is not None and left <= 0:
            return False

        await waiter.wait(left)
    return True


async def wait_until_dead(threads: Iterable[threading.Thread]) -> None:
    """Wait on this task for threads that have nothing left to do but end."""
    for thread in threads:
        while thread.is_alive():  # noqa: ASYNC110 - threads tell nobody of their end
            await sleep(0.0002)


async def _wait(ask: Ask[T], waiter: TaskWaiter, deadline: float | None) -> None:
    """Park until the ask is claimed or the deadline is over."""
    line = ask.line
    while not line.claim(ask):
        left = None if deadline is None else deadline - monotonic()
        if left is not None and left <= 0:
            return

        if line.may_stall(waiter.home):
            left = SLICE if left is None else min(left, SLICE)
        await waiter.wait(left)
        if ask.state is State.WAITING:
            line.revise()
