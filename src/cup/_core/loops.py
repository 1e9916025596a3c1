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
from typing import TYPE_CHECKING, Protocol, TypeVar

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
    "current_task",
    "wait_until",
    "wait_until_dead",
]

T = TypeVar("T")
L = TypeVar("L", bound="Loop")
_modules = sys.modules
_BUDGET = 64  # immediate answers between two real checkpoints
_BUDGET_SECONDS = 0.001


class Settable(Protocol):
    """What can be posted to a loop."""

    def set(self) -> None:
        """Do what is to be done on the loop."""
        ...


class TaskWaiter:
    """Parks one task; any thread wakes it. Subclasses know the loop.

    Attributes:
        home: The loop.
        woken: Whether it was woken, and nobody has parked on it since.
    """

    __slots__ = ("home",)

    final = False
    home: Loop
    woken: bool

    def reach(self) -> Reach:
        """Tell whether the task can be woken now, later, or never."""
        return self.home.reach()

    def wake(self) -> bool:
        """Wake the task; False if its loop is closed."""
        home = self.home
        if home.is_here():
            self.set()
            return True

        return home.post(self)

    def set(self) -> None:
        """Wake the task, from its own loop; twice is as good as once."""
        raise NotImplementedError

    def parking(self) -> Awaitable[None]:
        """Return what the task awaits at once, to park until woken."""
        raise NotImplementedError

    def is_leaving(self) -> bool:
        """Tell whether the parked task is being cancelled, and will run soon."""
        raise NotImplementedError

    async def wait(self, timeout: float | None) -> None:
        """Park until woken, or for so many seconds; can be used again afterwards."""
        raise NotImplementedError


class Loop:
    """One event loop, as other threads see it. Subclasses: asyncio and trio.

    `post` is thread-safe; `defer` and `make_waiter` belong to the loop's thread.

    Attributes:
        inbox: What other threads have posted.
        armed: Whether the loop was told to look at its inbox, and has not yet.
    """

    __slots__ = ("__weakref__", "_since", "_spent", "armed", "inbox")

    name = ""

    def __init__(self) -> None:
        self.inbox: deque[Settable] = deque()
        self.armed: bool = False
        self._spent = 0
        self._since = 0.0

    def post(self, waiter: Settable) -> bool:
        """Have `waiter.set()` called on the loop soon; never blocks.

        It is short, and does not raise.

        Returns:
            False if the loop is closed.
        """
        self.inbox.append(waiter)
        return self.armed or self.arm()

    def arm(self) -> bool:
        """Have the loop look at its inbox soon; False if it is closed."""
        self.armed = True
        try:
            self._notify(self._drain)
        except BaseException as error:
            self.armed = False
            if not isinstance(error, RuntimeError) or self.reach() is not Reach.GONE:
                raise
            self.inbox.clear()  # what is in there would keep the loop for ever
            return False
        return True

    def _drain(self) -> None:
        # Disarm first: what is posted from here on arms anew, or is drained below.
        self.armed = False
        inbox = self.inbox
        try:
            for _ in range(len(inbox)):
                inbox.popleft().set()
        finally:
            if inbox and not self.armed:
                self.armed = True
                self._notify(self._drain)

    def may_pass(self, task: object) -> bool:
        """Tell whether the running task may have an immediate answer as it is.

        If not, it awaits `immediate` first. This look saves most of them a coroutine.
        """
        if self._spent >= _BUDGET or self.may_be_cancelled(task):
            return False

        if monotonic() - self._since >= _BUDGET_SECONDS:
            return False

        self._spent += 1
        return True

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
            await self.checkpoint()
            self._spent = 0
            self._since = monotonic()

    def may_be_cancelled(self, task: object, /) -> bool:
        """Tell whether the running task may be cancelled already, without a word."""
        raise NotImplementedError

    async def check_cancelled(self) -> None:
        """Raise if the running task is cancelled, without yielding else."""
        if self.may_be_cancelled(self.current_task()):
            await checkpoint_if_cancelled()

    async def checkpoint(self) -> None:
        """Let others run, and raise if the running task is cancelled."""
        await checkpoint()

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


def forget_closed(known: dict[int, L]) -> None:
    """Drop the loops that are closed: what was posted to one may keep it alive."""
    for key in [key for key, loop in [*known.items()] if loop.reach() is Reach.GONE]:
        known.pop(key, None)


def current_loop() -> Loop:
    """Return the loop of the running task.

    Raises:
        LoopGone: If the caller is not a task of asyncio or trio.
    """
    # trio first: asyncio may be its host (guest mode), never the other way round.
    if "trio" in _modules and _mark.name == "trio":
        loop = _find_trio()
        if loop is not None:
            return loop

    if "asyncio" in _modules:
        loop = _find_asyncio()
        if loop is not None:
            return loop

    raise LoopGone("no event loop runs here; await this from asyncio or trio")


def current_task() -> object:
    """Return the running task; a task is what holds a lock.

    It is `current_loop().current_task()`, for less.

    Raises:
        LoopGone: If the caller is not a task of asyncio or trio.
    """
    if "trio" in _modules and _mark.name == "trio":
        loop = _find_trio()
        if loop is not None:
            return loop.current_task()

    asyncio = _modules.get("asyncio")
    if asyncio is not None:
        try:
            task: object = asyncio.current_task()
        except RuntimeError:  # no loop runs here
            task = None
        if task is not None:
            return task

    raise LoopGone("no event loop runs here; call this from a task of asyncio or trio")


class Mark(Protocol):
    """What trio marks its threads with."""

    @property
    def name(self) -> str | None:
        """The library that runs in the calling thread."""
        ...


class _Unread:
    """Says that trio may run, until somebody knows how to tell."""

    name: str | None = "trio"


# Asking trio costs seven times as much, in a thread where it does not run.
_mark: Mark = _Unread()


def _load_trio() -> Loop | None:
    """Find out how to find a loop of trio, which is loaded already."""
    global _find_trio, _mark  # noqa: PLW0603 - filled once
    from . import loops_trio  # noqa: PLC0415 - trio is not a dependency

    _mark = loops_trio.mark or _mark
    _find_trio = loops_trio.current
    return _find_trio()


def _load_asyncio() -> Loop | None:
    """Find out how to find a loop of asyncio, which is loaded already."""
    global _find_asyncio  # noqa: PLW0603 - filled once
    from . import loops_asyncio  # noqa: PLC0415 - not every program needs it

    _find_asyncio = loops_asyncio.current
    return _find_asyncio()


_find_trio: Callable[[], Loop | None] = _load_trio
_find_asyncio: Callable[[], Loop | None] = _load_asyncio


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
        if line.try_again(ask, loop):
            return ask.value
        raise ask.timed_out(0)

    deadline = None if timeout is None else monotonic() + timeout
    waiter = loop.make_waiter()
    try:
        line.file(ask, waiter)
        await _wait(ask, waiter, deadline)
        in_vain = not ask.is_settled() and line.leave_unless_granted(ask)
    except GeneratorExit:  # maybe in a finalizer, under the mutex of this very thread
        line.leave(ask)
        raise
    except BaseException:
        line.leave_at_once(ask)
        raise

    if in_vain:
        raise ask.timed_out(timeout or 0)
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
