"""Interrupting a thread: one pending slot, a mask, and three places of delivery.

An interrupt is state first (`Target.pending`) and an exception second. It is delivered

1. by waking the thread, when it is parked in one of our waits (`block`);
2. at the end of the outermost mask, when it arrived inside;
3. by `PyThreadState_SetAsyncExc`, when the thread runs plain Python code.

Whoever clears the slot delivers, so an interrupt is raised once. A target is open from
the first step of the code that may be interrupted to its last; an interrupt posted
outside is refused, and never reaches a thread that got the same identifier later.

Not here: whom to interrupt, and when. That is for threads and pools to say.
"""

from __future__ import annotations

import contextlib
from _thread import allocate_lock, get_ident
from typing import TYPE_CHECKING

from . import fork

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Interrupt = BaseException | type[BaseException]

__all__ = ["Target", "current", "masked"]

_targets: dict[int, Target] = {}
fork.on_fork(_targets.clear)


def current() -> Target | None:
    """Return the open target of the calling thread, if it is interruptible."""
    return _targets.get(get_ident()) if _targets else None


class Target:
    """What can be interrupted in one thread, for the time it is open.

    All methods but `post` are called by that thread. `post` is thread-safe.
    """

    __slots__ = ("_depth", "_ident", "_mutex", "_open", "_pending", "_posted", "_wake")

    def __init__(self) -> None:
        self._mutex = allocate_lock()
        self._ident = 0
        self._depth = 0
        self._open = False
        self._pending: Interrupt | None = None
        self._posted: type[BaseException] | None = None
        self._wake: Callable[[], object] | None = None

    @property
    def pending(self) -> bool:
        """Whether an interrupt waits for delivery."""
        return self._pending is not None

    def open(self) -> None:
        """Let interrupts reach the calling thread from here on."""
        self._ident = get_ident()
        self._open = True
        _targets[self._ident] = self

    def close(self) -> Interrupt | None:
        """Refuse interrupts from here on; return the one that was not delivered.

        Nothing can arrive any more once this has returned. It is called with the
        target masked, so that no exception tears it apart.
        """
        with self._mutex:
            self._open = False
            pending, self._pending = self._pending, None
            self._recall()
        _targets.pop(self._ident, None)
        return pending

    def post(self, interrupt: Interrupt) -> bool:
        """Interrupt the thread; a later interrupt replaces one not yet delivered.

        Returns:
            False if the target is not open.
        """
        with self._mutex:
            if not self._open:
                return False

            self._pending = interrupt
            wake = self._wake
            if wake is None and self._depth == 0:
                self._send(interrupt)
        if wake is not None:
            wake()
        return True

    def mask(self) -> None:
        """Keep interrupts pending until the matching `unmask`."""
        with self._mutex:
            self._depth += 1
            self._recall()

    def unmask(self) -> None:
        """Leave one mask; at the last one, raise the interrupt that waited."""
        with self._mutex:
            self._depth -= 1
            if self._depth:
                return
            interrupt, self._pending = self._pending, None
        if interrupt is not None:
            raise interrupt

    def park(self, wake: Callable[[], object]) -> bool:
        """Say how to wake this thread, which is about to wait.

        Returns:
            False if an interrupt is pending already: do not wait, `deliver`.
        """
        with self._mutex:
            self._recall()
            if self._pending is not None:
                return False
            self._wake = wake
            return True

    def unpark(self) -> None:
        """Say that the wait is over; interrupts reach the code by other ways again."""
        with self._mutex:
            self._wake = None

    def deliver(self) -> None:
        """Raise the pending interrupt, if there is one."""
        with self._mutex:
            interrupt, self._pending = self._pending, None
            self._recall()
        if interrupt is not None:
            raise interrupt

    def _send(self, interrupt: Interrupt) -> None:
        """Post to the interpreter; called under the mutex, with the target open."""
        from . import asyncexc  # noqa: PLC0415 - loads ctypes

        self._posted = asyncexc.carrier(interrupt, self._delivered)
        asyncexc.post(self._ident, self._posted)

    def _recall(self) -> None:
        """Take back what was posted and not yet raised; called under the mutex."""
        if self._posted is not None:
            from . import asyncexc  # noqa: PLC0415 - loads ctypes

            self._posted = None
            asyncexc.clear(self._ident)

    def _delivered(self) -> None:
        """Clear the slot: the interpreter raises the interrupt in this thread now.

        It takes no mutex: it may run wherever this thread stands. Nobody else clears
        the slot between the check of the interpreter and this, for only this thread
        does.
        """
        self._posted = None
        self._pending = None


@contextlib.contextmanager
def masked() -> Generator[None]:
    """Keep interrupts of the calling thread pending inside the block."""
    target = current()
    if target is None:
        yield
        return

    target.mask()
    try:
        yield
    finally:
        target.unmask()
