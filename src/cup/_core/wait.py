"""Asking and waiting: the seam between a core and its two faces.

A core never waits. An operation that cannot answer at once is an `Ask`; a face hands it
to `block` (here, for threads) or to `ablock` (in `loops`, for tasks). An ask is
waiting, granted or settled, and is settled exactly once: a grant whose caller has gone
away goes back to the line, which gives it to the next.

`block` is the only place where a thread waits for an ask.
"""

from __future__ import annotations

import enum
from time import monotonic
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from cup.errors import WaitTimeout

from . import interrupt, running
from .clock import check_timeout
from .park import LockParker, Parker

if TYPE_CHECKING:
    from .line import Line

__all__ = ["Ask", "Reach", "State", "ThreadWaiter", "Waiter", "block", "park"]

T = TypeVar("T")

SLICE = 0.1
"""Seconds that are parked at once where a loop that stopped may hold things up."""


class Reach(enum.Enum):
    """Whether a waiter can be woken."""

    READY = enum.auto()
    PAUSED = enum.auto()
    """Its loop is not running, and may run again."""
    GONE = enum.auto()
    """Its loop is closed: nobody will ever wake."""


class Waiter(Protocol):
    """Something parked that any thread can wake."""

    @property
    def final(self) -> bool:
        """Whether a grant to it is final at once (threads), or an offer (tasks)."""
        ...

    @property
    def home(self) -> object | None:
        """The loop it waits on; None for a thread."""
        ...

    def reach(self) -> Reach:
        """Tell whether it can be woken now, later, or never."""
        ...

    def wake(self) -> bool:
        """Wake it: thread-safe, never blocks, may happen twice or before the wait.

        Returns:
            False if nobody can be woken any more.
        """
        ...


class State(enum.Enum):
    """Where an ask stands. It is changed under the mutex of its line."""

    NEW = enum.auto()
    WAITING = enum.auto()
    OFFERED = enum.auto()
    """Granted to a task, which has not claimed it on its loop yet."""
    SETTLED = enum.auto()
    """The caller has it."""
    GONE = enum.auto()
    """The caller has gone without it, or has given it back."""


class Ask(Generic[T]):
    """One request to a line, by one caller, for one wait.

    Subclasses carry what is asked for, and put what was granted into `value`.
    """

    __slots__ = ("line", "state", "told", "value", "waiter")

    what = "the call"
    """What blocks, for messages."""
    twin = ""
    """What a task awaits instead; empty where blocking is the contract."""

    value: T

    def __init__(self, line: Line) -> None:
        self.line: Line = line
        self.state: State = State.NEW
        self.told: bool = False  # to ask again, once its loop that stopped runs again
        self.waiter: Waiter | None = None

    def is_settled(self) -> bool:
        """Tell whether the caller has what it asked for."""
        return self.state is State.SETTLED

    def timed_out(self, timeout: float) -> WaitTimeout:
        """Return the error for a wait that ended without a grant."""
        return WaitTimeout(f"{self.what}: not granted within {timeout} s")


class ThreadWaiter:
    """Parks the calling thread for one ask."""

    __slots__ = ("parker",)

    final = True
    home = None

    def __init__(self) -> None:
        self.parker = LockParker()

    def reach(self) -> Reach:
        """Return READY: a thread always comes back from its wait."""
        return Reach.READY

    def wake(self) -> bool:
        """Wake the parked thread."""
        self.parker.wake()
        return True


def block(ask: Ask[T], timeout: float | None = None) -> T:
    """Wait on this thread until the ask is granted.

    An interrupt, or an exception that a signal handler raises, ends the wait: the ask
    leaves its line, and what was granted meanwhile goes to the next.

    Args:
        ask: A new ask.
        timeout: Seconds; None waits for ever, zero or less tries once.

    Raises:
        WaitTimeout: What `ask.timed_out` returns.
        BlockingInLoop: If only the loop of this very thread could grant it.
        InvalidValue: If `timeout` is NaN.
    """
    timeout = check_timeout(timeout)
    target = interrupt.current()
    if target is None:
        return _block(ask, timeout)

    # Only the wait itself is a point of interruption: an exception inside of the line
    # would leave it half changed, for everybody.
    target.mask()
    try:
        value = _block(ask, timeout)
    except BaseException:
        target.unmask_quietly()
        raise
    try:
        target.unmask()
    except BaseException:
        ask.line.leave_at_once(ask)
        raise
    return value


def _block(ask: Ask[T], timeout: float | None) -> T:
    line = ask.line
    if line.try_now(ask):
        return ask.value

    if timeout == 0:
        if line.try_again(ask):
            return ask.value
        raise ask.timed_out(0)

    running.guard_blocking(ask.what, ask.twin, hopeless=line.hopeless())
    deadline = None if timeout is None else monotonic() + timeout
    waiter = ThreadWaiter()
    try:
        line.file(ask, waiter)
        _wait(ask, waiter, deadline)
        in_vain = not ask.is_settled() and line.leave_unless_granted(ask)
    except BaseException:
        line.leave_at_once(ask)
        raise

    if in_vain:
        raise ask.timed_out(0 if timeout is None else timeout)

    return ask.value


def _wait(ask: Ask[T], waiter: ThreadWaiter, deadline: float | None) -> None:
    """Park until the ask is granted, the deadline is over, or an interrupt comes."""
    line = ask.line
    while not ask.is_settled():
        now = monotonic()
        if deadline is not None and now >= deadline:
            return

        until = deadline
        if line.may_stall(None):
            until = now + SLICE if deadline is None else min(deadline, now + SLICE)
        park(waiter.parker, until)
        if not ask.is_settled():
            line.revise()


def park(parker: Parker, deadline: float | None) -> bool:
    """Park the calling thread until it is woken; an interrupt ends it at once.

    Returns:
        False if the deadline came first.
    """
    target = interrupt.current()
    if target is None:
        return _park(parker, deadline)

    woken = True
    if target.park(parker.wake):
        try:
            woken = _park(parker, deadline)
        finally:
            target.unpark()
    target.deliver()
    return woken


def _park(parker: Parker, deadline: float | None) -> bool:
    if deadline is not None:
        return parker.park_until(deadline)

    parker.park()
    return True
