"""Parking a thread until another one wakes it: the one-to-one signals below all waits.

Two kinds. `LockParker` works everywhere. `EventParker` sits on an eventfd (Linux):
waking releases the GIL before the peer runs, which halves a hand-over between two
threads; idle workers and untimed waits for a result use it. A parker carries no
condition: who parks loops on a predicate of its own, since a stray wake is allowed.

Not here: who waits for what (`wait`), event loops (`loops`).
"""

from __future__ import annotations

import os
import select
import sys
from _thread import allocate_lock
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from . import fork
from .clock import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EventParker", "LockParker", "Parker", "borrow", "give_back", "make_parker"]

_LONGEST_POLL = 1e6  # seconds; the system counts milliseconds in an int
_CACHED = 64  # idle result parkers kept: one descriptor each


class Parker(Protocol):
    """One thread parks on it, any thread wakes it; a wake before the park counts."""

    def park(self) -> None:
        """Wait until woken."""
        ...

    def park_until(self, deadline: float) -> bool:
        """Wait until woken or until the monotonic clock reaches `deadline`.

        Returns:
            False if the deadline came first.
        """
        ...

    def wake(self) -> None:
        """Wake the parked thread: thread-safe, never blocks, may happen twice."""
        ...


class LockParker:
    """A parker made of one lock; works on every platform and under gevent."""

    __slots__ = ("_gate",)

    def __init__(self) -> None:
        self._gate = allocate_lock()
        self._gate.acquire()

    def park(self) -> None:
        """Wait until woken."""
        self._gate.acquire()

    def park_until(self, deadline: float) -> bool:
        """Wait until woken (True) or until `deadline` (False)."""
        while True:
            left = deadline - monotonic()
            if left <= 0:
                return self._gate.acquire(blocking=False)

            if self._gate.acquire(timeout=min(left, LONGEST)):
                return True

    def wake(self) -> None:
        """Wake the parked thread."""
        try:
            self._gate.release()
        except RuntimeError:
            pass  # woken already: one wake is as good as two


if sys.platform == "linux":

    class EventParker:
        """A parker on an eventfd: the fastest hand-over between two threads."""

        __slots__ = ("_fd", "_generation", "_poll")

        def __init__(self) -> None:
            self._generation = fork.generation()
            self._poll: Callable[[float, int], list[tuple[int, int]]] | None = None
            self._fd = -1
            self._fd = os.eventfd(0, os.EFD_CLOEXEC)

        def park(self) -> None:
            """Wait until woken."""
            if self._poll is not None:
                self._poll(-1.0, 1)
                return

            while True:
                try:
                    os.eventfd_read(self._fd)
                except InterruptedError:
                    continue  # a signal; its handler has run and did not raise
                return

        def park_until(self, deadline: float) -> bool:
            """Wait until woken (True) or until `deadline` (False)."""
            poll = self._poll or self._watch()
            left = deadline - monotonic()
            while left > 0.0:
                if poll(min(left, _LONGEST_POLL), 1):
                    return True

                left = deadline - monotonic()
            return bool(poll(0.0, 1))

        def _watch(self) -> Callable[[float, int], list[tuple[int, int]]]:
            """Return what waits with a time-out in one system call.

            It hears of each wake, whatever the counter says, which is never read again.
            """
            try:
                epoll = select.epoll(1)
                epoll.register(self._fd, select.EPOLLIN | select.EPOLLET)
            except OSError:  # no descriptors left: two system calls do it as well
                return self._poll_and_read
            self._poll = epoll.poll
            return epoll.poll

        def _poll_and_read(self, seconds: float, _: int) -> list[tuple[int, int]]:
            poll = select.poll()
            poll.register(self._fd, select.POLLIN)
            ready = poll.poll(seconds * 1000.0)
            if ready:
                os.eventfd_read(self._fd)
            return ready

        def wake(self) -> None:
            """Wake the parked thread; in a forked child, nobody is parked."""
            if self._generation == fork.generation():
                # The counter cannot overflow: a parker is woken a few times per park.
                os.eventfd_write(self._fd, 1)

        def __del__(self, close: Callable[[int], object] = os.close) -> None:
            if self._fd >= 0:
                close(self._fd)  # at interpreter exit, `os` may be gone

else:
    EventParker = LockParker


def _threading_is_patched() -> bool:
    """Tell whether gevent replaced thread locks: a descriptor would stop its hub."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def make_parker() -> Parker:
    """Return the fastest parker that this process can have now."""
    if _threading_is_patched():
        return LockParker()

    try:
        return EventParker()
    except OSError:  # no descriptors left
        return LockParker()


_free: deque[Parker] = deque()
fork.on_fork(_free.clear)  # the descriptors are shared with the parent


def borrow() -> Parker:
    """Return a parker for one wait; `give_back` it after an undisturbed wait.

    A wait that ended by an exception drops its parker: a wake may still be under way.
    """
    try:
        return _free.pop()
    except IndexError:
        return make_parker()


def give_back(parker: Parker) -> None:
    """Keep a parker whose one wake has arrived for the next wait."""
    if len(_free) < _CACHED:
        _free.append(parker)
