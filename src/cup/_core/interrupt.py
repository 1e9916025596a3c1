"""Interrupting a thread: one pending slot, masks, and three places of delivery.

An interrupt is state first (`Target.pending`) and an exception second. It is delivered

1. by waking the thread, when it is parked in one of our waits (`wait.park`);
2. at the end of the outermost mask, when it arrived inside;
3. by `PyThreadState_SetAsyncExc`, when the thread runs plain Python code. The
   interpreter may lose it there (to another user of that function), or throw it away
   (raised inside a finalizer): then it is sent again, until it has been raised where
   code can see it.

Whoever takes it out of the slot delivers it, so an interrupt is raised once. A target
is open from the first step of the code that may be interrupted to its last; an
interrupt posted outside is refused, and never reaches a thread that got the same
identifier later.

A *mask* is held while a lock is: our waits stay points of interruption, as blocking
operations do inside Haskell's `mask` (Marlow et al., "Asynchronous Exceptions in
Haskell", PLDI 2001). A *shield* keeps interrupts out of waits, too.

What is sent may be raised wherever the thread is called into, also in the methods
here. Each of them takes back first what was sent, and counts second: what is raised on
the way leaves nothing half done.

Not here: whom to interrupt, and when. That is for threads and pools to say.
"""

from __future__ import annotations

from _thread import get_ident
from threading import RLock
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

from cup.errors import ThreadTermException

from . import fork
from .gil import MUTEX_PATHS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Interrupt", "Parcel", "Target", "current", "shielded", "targets"]

Interrupt: TypeAlias = "BaseException | type[BaseException]"

targets: dict[int, Target] = {}
"""The open targets, by thread identifier."""

_FIRST_LOOK = 0.001  # seconds after a post; then after twice as many, and so on
_LAST_LOOK = 0.05


def current() -> Target | None:
    """Return the open target of the calling thread, if it is interruptible."""
    if not targets:
        return None

    fork.generation()  # a forked child has other targets
    return targets.get(get_ident())


class Parcel:
    """One interrupt on its way to a thread.

    Attributes:
        interrupt: What is to be raised.
        carrier: The class that takes it there through the interpreter, once it was
            sent that way.
    """

    __slots__ = ("carrier", "interrupt")

    def __init__(self, interrupt: Interrupt) -> None:
        self.interrupt = interrupt
        self.carrier: type[BaseException] | None = None

    def ends_thread(self) -> bool:
        """Tell whether no other interrupt takes its place."""
        interrupt = self.interrupt
        kind = interrupt if isinstance(interrupt, type) else type(interrupt)
        return issubclass(kind, ThreadTermException)


class Target:
    """What can be interrupted in one thread, for the time it is open.

    `post` is thread-safe; all other methods are called by the thread itself.

    Attributes:
        pending: The interrupt that waits for delivery.
        depth: How many masks are held; only the thread itself counts.
        opened: Whether an interrupt may be sent. The thread itself may set it to False
            at any point: at most what was sent before is raised after that.
    """

    __slots__ = (
        "_after",
        "_closed",
        "_generation",
        "_ident",
        "_looking",
        "_mutex",
        "_sent",
        "_shields",
        "_traced",
        "_wake",
        "depth",
        "opened",
        "pending",
    )

    def __init__(self) -> None:
        self.depth: int = 0
        self.opened: bool = False
        self.pending: Parcel | None = None
        self._ident = 0
        self._shields = 0
        self._closed = False
        self._sent = False  # something may be on its way through the interpreter
        self._traced = False  # the interpreter's way was taken since the last wait
        self._wake: Callable[[], object] | None = None
        self._after = _FIRST_LOOK
        self._looking = False  # somebody will see what has become of it
        self._renew()

    def _renew(self) -> None:
        self._generation = fork.generation()
        # What is dropped or allocated under it may run finalizers, which mask, too.
        self._mutex = RLock()

    def enter_child(self) -> None:
        """Start anew, in the forking thread: an interrupt was for the parent."""
        self._renew()  # another thread may have held the mutex
        self._looking = False
        self.withdraw()

    def open(self) -> None:
        """Let interrupts reach the calling thread from here on.

        What was posted before is pending: `deliver` it when it may be raised.
        """
        if self._generation != fork.generation():
            self._renew()
        self._ident = get_ident()
        targets[self._ident] = self
        self.opened = True

    def close(self) -> None:
        """Refuse interrupts from here on, and drop the one that was not delivered.

        Nothing can arrive any more once this has returned. It may be called again.
        """
        fork.generation()
        with self._mutex:
            self.opened = False
            self._closed = True
            self.pending = None
            self._take_back()
            self._forget()
        if targets.get(self._ident) is self:
            del targets[self._ident]

    def withdraw(self) -> None:
        """Drop the pending interrupt; the target stays open for the next."""
        with self._mutex:
            self.pending = None
            self._take_back()
            self._forget()

    def post(self, interrupt: Interrupt) -> bool:
        """Interrupt the thread, now or when the target opens.

        A later interrupt replaces one not yet delivered, unless that ends the thread.

        Returns:
            False if the target is closed, or its thread is not in this process.
        """
        if self._generation != fork.generation():
            return False

        parcel = Parcel(interrupt)
        with self._mutex:
            if self._closed:
                return False

            pending = self.pending
            if pending is None or not pending.ends_thread():
                self.pending = parcel
            wake = self._wake
            self._send_if_free()
        if wake is not None:
            wake()
        else:
            self._look_soon()
        return True

    # -- masks and shields ---------------------------------------------------------

    def mask(self) -> None:
        """Keep interrupts out of plain code until the matching `unmask`."""
        # Counted first, looked at second; `asyncexc.send` says so first and looks at
        # the count second. One of the two sees the other, and nothing is raised here
        # after the count.
        self.depth += 1
        if self._sent or MUTEX_PATHS:
            self.depth -= 1
            fork.generation()
            with self._mutex:
                self._take_back()
                self.depth += 1

    def unmask(self) -> None:
        """Leave one mask; at the last one, raise the interrupt that waited."""
        # What was acquired before the target was opened had no mask.
        if self.depth:
            self.depth -= 1
        if self.pending is not None and not self.depth:
            self.deliver()

    def unmask_quietly(self) -> None:
        """Leave one mask while another exception is on its way."""
        if self.depth:
            self.depth -= 1
        if self.pending is not None:
            self._look_soon()

    def shield(self) -> None:
        """Keep interrupts out of plain code and of waits until `unshield`."""
        with self._mutex:
            self._take_back()
            self._shields += 1

    def unshield(self, *, quietly: bool = False) -> None:
        """Leave one shield; at the last one, raise the interrupt that waited.

        Args:
            quietly: Another exception is on its way: raise this one a little later.
        """
        fork.generation()
        with self._mutex:
            self._shields -= 1
        if self.pending is None:
            return

        if quietly:
            self._look_soon()
        elif not self.depth:
            self.deliver()

    # -- waits ---------------------------------------------------------------------

    def park(self, wake: Callable[[], object]) -> bool:
        """Say how to wake this thread, which is about to wait.

        Returns:
            False if an interrupt is pending already: do not wait, `deliver`.
        """
        with self._mutex:
            self._take_back()
            self._forget()
            if self._shields:
                return True

            if self.pending is not None:
                return False

            self._wake = wake
            return True

    def unpark(self) -> None:
        """Say that the wait is over; interrupts reach the code by other ways again."""
        with self._mutex:
            self._wake = None

    def deliver(self) -> None:
        """Raise the pending interrupt, if there is one and no shield is up."""
        fork.generation()
        with self._mutex:
            if self._shields:
                return

            parcel, self.pending = self.pending, None
            self._take_back()
        if parcel is not None:
            raise parcel.interrupt

    # -- the interpreter -----------------------------------------------------------

    def _send_if_free(self) -> None:
        """Send what is pending if plain code may be interrupted; under the mutex."""
        parcel = self.pending
        if parcel is None or self._wake is not None or self._shields:
            return

        if self.depth or not self.opened:
            return

        from . import asyncexc  # noqa: PLC0415 - loads ctypes

        self._sent = self._traced = True
        asyncexc.send(self._ident, parcel, self)
        self._sent = True  # a finalizer may have masked meanwhile, and taken it back

    def _take_back(self) -> None:
        """Take back what was sent and not yet raised; called under the mutex."""
        if self._sent:
            from . import asyncexc  # noqa: PLC0415 - loaded already

            self._sent = False
            asyncexc.clear(self._ident)

    def _forget(self) -> None:
        if self._traced:
            from . import asyncexc  # noqa: PLC0415 - loaded already

            self._traced = False
            asyncexc.forget(self._ident)

    def _look_soon(self) -> None:
        """Have somebody see, a little later, whether the interrupt was raised."""
        self._after = _FIRST_LOOK
        if not self._looking:
            self._look_again()

    def _look_again(self) -> None:
        from . import timekeeper  # noqa: PLC0415 - starts a thread, once

        self._looking = True
        try:
            timekeeper.call_at(monotonic() + self._after, self._look)
        except BaseException:
            self._looking = False
            raise

    def _look(self) -> None:
        # Said first, looked at second: who fills the slot does it the other way round.
        self._looking = False
        with self._mutex:
            if not self.opened or self.pending is None:
                return

            self._send_if_free()
        self._look_again()
        self._after = min(2 * self._after, _LAST_LOOK)

    def thrown_away(self, parcel: Parcel) -> None:
        """Fill the slot again: what was raised went nowhere.

        It takes no mutex: it may run wherever this thread stands.
        """
        self.depth += 1  # raised in here, it would be lost for good
        if self.pending is None:
            self.pending = parcel
            self._look_soon()
        self.depth -= 1


def _enter_child() -> None:
    """Keep the forking thread's own target."""
    own = targets.get(get_ident())
    targets.clear()
    if own is not None:
        own.enter_child()
        targets[get_ident()] = own


fork.on_fork(_enter_child)


class shielded:  # noqa: N801 - reads as a function
    """Keep interrupts of the calling thread out of the block, and of its waits.

    A thread that cannot be interrupted passes through.
    """

    __slots__ = ("_target",)

    def __init__(self) -> None:
        self._target: Target | None = None

    def __enter__(self) -> None:
        target = current()
        if target is not None:
            target.shield()
        self._target = target

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._target is not None:
            self._target.unshield(quietly=error is not None)
