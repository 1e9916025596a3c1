"""Interrupting a thread: one pending slot, masks, and three places of delivery.

An interrupt is state first (`Target.pending`) and an exception second. It is delivered

1. by waking the thread, when it is parked in one of our waits (`wait.park`);
2. at the end of the outermost mask, when it arrived inside;
3. by `PyThreadState_SetAsyncExc`, when the thread runs plain Python code. The
   interpreter may lose it there (to another user of that function), or throw it away
   (raised inside a finalizer): then it is posted again, until it has been raised where
   code can see it.

Whoever clears the slot delivers, so an interrupt is raised once. A target is open from
the first step of the code that may be interrupted to its last; an interrupt posted
outside is refused, and never reaches a thread that got the same identifier later.

A *mask* is held while a lock is: our waits stay points of interruption, as blocking
operations do inside Haskell's `mask` (Marlow et al., "Asynchronous Exceptions in
Haskell", PLDI 2001). A *shield* keeps interrupts out of waits, too.

Not here: whom to interrupt, and when. That is for threads and pools to say.
"""

from __future__ import annotations

import contextlib
from _thread import allocate_lock, get_ident
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

from cup.errors import ThreadTermException

from . import fork

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Interrupt", "Target", "current", "shielded", "targets"]

Interrupt: TypeAlias = "BaseException | type[BaseException]"

targets: dict[int, Target] = {}
"""The open targets, by thread identifier."""
fork.on_fork(targets.clear)

_FIRST_LOOK = 0.001  # seconds after a post, then twice as many, and so on
_LAST_LOOK = 0.05


def current() -> Target | None:
    """Return the open target of the calling thread, if it is interruptible."""
    return targets.get(get_ident()) if targets else None


class Target:
    """What can be interrupted in one thread, for the time it is open.

    `post` is thread-safe; all other methods are called by the thread itself.
    """

    __slots__ = (
        "_closed",
        "_depth",
        "_ident",
        "_mutex",
        "_open",
        "_pending",
        "_posted",
        "_sent",
        "_shields",
        "_wake",
    )

    def __init__(self) -> None:
        self._mutex = allocate_lock()
        self._ident = 0
        self._depth = 0
        self._shields = 0
        self._open = False
        self._closed = False
        self._sent = False
        self._pending: Interrupt | None = None
        self._posted: type[BaseException] | None = None
        self._wake: Callable[[], object] | None = None

    @property
    def pending(self) -> bool:
        """Whether an interrupt waits for delivery."""
        return self._pending is not None

    def open(self) -> None:
        """Let interrupts reach the calling thread from here on.

        What was posted before is pending: `deliver` it when it may be raised.
        """
        self._ident = get_ident()
        targets[self._ident] = self
        self._open = True

    def close(self) -> Interrupt | None:
        """Refuse interrupts from here on; return the one that was not delivered.

        Nothing can arrive any more once this has returned. It may be called again.
        """
        with self._mutex:
            self._open = False
            self._closed = True
            pending, self._pending = self._pending, None
            self._recall()
            if self._sent:
                self._forget()
        if targets.get(self._ident) is self:
            del targets[self._ident]
        return pending

    def withdraw(self) -> None:
        """Drop the pending interrupt; the target stays open for the next."""
        with self._mutex:
            self._pending = None
            self._recall()
            if self._sent:
                self._forget()

    def post(self, interrupt: Interrupt) -> bool:
        """Interrupt the thread, now or when the target opens.

        A later interrupt replaces one not yet delivered, unless that ends the thread.

        Returns:
            False if the target is closed.
        """
        with self._mutex:
            if self._closed:
                return False

            if not _ends_thread(self._pending):
                self._pending = interrupt
            wake = self._wake
            self._send_if_free()
        if wake is not None:
            wake()
        else:
            self._look_again(_FIRST_LOOK)
        return True

    # -- masks and shields ---------------------------------------------------------

    def mask(self) -> None:
        """Keep interrupts out of plain code until the matching `unmask`."""
        with self._mutex:
            self._depth += 1
            self._recall()

    def unmask(self) -> None:
        """Leave one mask; at the last one, raise the interrupt that waited."""
        with self._mutex:
            self._depth -= 1
        self.deliver_if_free()

    def unmask_quietly(self) -> None:
        """Leave one mask while another exception is on its way."""
        with self._mutex:
            self._depth -= 1
            pending = self._pending is not None
        if pending:
            self._look_again(_FIRST_LOOK)

    def shield(self) -> None:
        """Keep interrupts out of plain code and of waits until `unshield`."""
        with self._mutex:
            self._shields += 1
            self._recall()

    def unshield(self) -> None:
        """Leave one shield; at the last one, raise the interrupt that waited."""
        with self._mutex:
            self._shields -= 1
        self.deliver_if_free()

    def unshield_quietly(self) -> None:
        """Leave one shield while another exception is on its way."""
        with self._mutex:
            self._shields -= 1
            pending = self._pending is not None
        if pending:
            self._look_again(_FIRST_LOOK)

    def deliver_if_free(self) -> None:
        """Raise the pending interrupt, unless a mask or a shield is left."""
        if not self._depth:
            self.deliver()

    # -- waits ---------------------------------------------------------------------

    def park(self, wake: Callable[[], object]) -> bool:
        """Say how to wake this thread, which is about to wait.

        Returns:
            False if an interrupt is pending already: do not wait, `deliver`.
        """
        with self._mutex:
            self._recall()
            if self._shields:
                return True

            if self._pending is not None:
                return False

            self._wake = wake
            return True

    def unpark(self) -> None:
        """Say that the wait is over; interrupts reach the code by other ways again."""
        with self._mutex:
            self._wake = None

    def deliver(self) -> None:
        """Raise the pending interrupt, if there is one and no shield is up."""
        with self._mutex:
            if self._shields:
                return

            interrupt, self._pending = self._pending, None
            self._recall()
        if interrupt is not None:
            raise interrupt

    # -- the interpreter -----------------------------------------------------------

    def _send_if_free(self) -> None:
        """Post to the interpreter if plain code may be interrupted; under the mutex."""
        if self._pending is None or self._wake is not None:
            return

        if self._depth or self._shields or not self._open:
            return

        from . import asyncexc  # noqa: PLC0415 - loads ctypes

        self._sent = True
        self._posted = asyncexc.carrier(self._pending, self)
        asyncexc.post(self._ident, self._posted)

    def _recall(self) -> None:
        """Take back what was posted and not yet raised; called under the mutex."""
        if self._posted is not None:
            from . import asyncexc  # noqa: PLC0415 - loads ctypes

            self._posted = None
            asyncexc.clear(self._ident)

    def _forget(self) -> None:
        from . import asyncexc  # noqa: PLC0415 - loaded already

        self._sent = False
        asyncexc.forget(self._ident)

    def _look_again(self, after: float) -> None:
        """Have somebody see, a little later, whether the interrupt was raised."""
        from . import timekeeper  # noqa: PLC0415 - starts a thread, once

        timekeeper.call_at(monotonic() + after, lambda: self._send_again(after))

    def _send_again(self, after: float) -> None:
        with self._mutex:
            if not self._open or self._pending is None:
                return

            self._send_if_free()
        self._look_again(min(2 * after, _LAST_LOOK))

    def raised(self) -> None:
        """Clear the slot: the interpreter raises the interrupt in this thread now.

        It takes no mutex: it may run wherever this thread stands.
        """
        self._posted = None
        self._pending = None

    def thrown_away(self, interrupt: Interrupt) -> None:
        """Fill the slot again: what was raised went nowhere. Takes no mutex, either."""
        if self._pending is None:
            self._pending = interrupt
            self._look_again(_FIRST_LOOK)


def _ends_thread(interrupt: Interrupt | None) -> bool:
    kind = interrupt if isinstance(interrupt, type) else type(interrupt)
    return issubclass(kind, ThreadTermException)


@contextlib.contextmanager
def shielded() -> Generator[None]:
    """Keep interrupts of the calling thread out of the block, and of its waits."""
    target = current()
    if target is None:
        yield
        return

    target.shield()
    try:
        yield
    except BaseException:
        target.unshield_quietly()
        raise
    target.unshield()
