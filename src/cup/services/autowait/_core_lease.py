"""Listening in the waiting thread itself: for a few waits at a time.

The helper thread costs a change of threads with each event, which takes as long as all
else together. So the first few waits of threads borrow eyes of their own and sleep on
them. Those are never closed, since to close a descriptor of inotify takes milliseconds;
and they are few, since a user has 128. Who gets none is served by the helper thread.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from cup._core import fork
from cup._core.park import LockParker

from . import _core_eyes
from ._core_eyes import Unwatchable
from ._core_hub import Hub

if TYPE_CHECKING:
    from ._core_eyes import Eyes

__all__ = ["Lease", "borrow", "give_back", "leases"]

_MOST: Final = 7  # with the helper thread's: eight instances of inotify
_LONGEST: Final = 1e6  # seconds; the system counts milliseconds in an int

leases: Final[list[Lease]] = []
"""All that were made in this process."""

_free: Final[deque[Lease]] = deque()
_seats: Final = deque(range(_MOST))  # who takes one may make a lease


class Lease(Hub):
    """A hub without a thread: who waits listens, by parking on it.

    It is a parker (see `cup._core.park`), and what the bell of its one wait wakes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = LockParker()

    @override
    def open(self) -> Eyes:
        """Return the open eyes."""
        if self.eyes is None:
            self.eyes = _core_eyes.open_eyes()
        return self.eyes

    def park(self) -> None:
        """Listen until something is heard, or somebody wakes."""
        self._listen_for(None)

    def park_until(self, deadline: float) -> bool:
        """Listen until something is heard, or until `deadline`."""
        return self._listen_for(max(0.0, deadline - monotonic()))

    def _listen_for(self, seconds: float | None) -> bool:
        self.check_fork()
        try:
            eyes = self.open()
        except (Unwatchable, OSError):  # all is polled
            until = monotonic() + (_LONGEST if seconds is None else seconds)
            return self._lock.park_until(until)
        self.listen_once(eyes, None if seconds is None else min(seconds, _LONGEST))
        return True

    def wake(self) -> None:
        """End the sleep, from any thread."""
        self._lock.wake()
        eyes = self.eyes
        if eyes is not None:
            eyes.wake()

    def clear(self) -> None:
        """Forget what the wait before has not heard."""
        if self.eyes is not None:
            self.listen_once(self.eyes, 0)


class Here:
    """The waiting thread, as its bell sees it: it is awake whenever it listens."""

    __slots__ = ()

    def wake(self) -> bool:
        """Do nothing: who rings is the thread itself."""
        return True


HERE: Final = Here()


def borrow() -> Lease | None:
    """Return a lease for one wait; None if there are too many waits."""
    fork.generation()  # a forked child has none yet
    try:
        lease = _free.pop()
    except IndexError:
        try:
            _seats.pop()
        except IndexError:
            return None

        lease = Lease()
        leases.append(lease)
    try:
        lease.clear()  # now, not when it comes back: then somebody waits for the return
    except BaseException:
        give_back(lease)
        raise
    return lease


def give_back(lease: Lease) -> None:
    """Return a lease that nothing is listened to by any more."""
    if lease in leases:  # else it is one of the parent
        _free.append(lease)


def _enter_child() -> None:
    for lease in leases:
        lease.enter_child()
    leases.clear()
    _free.clear()
    _seats.extend(range(_MOST - len(_seats)))


fork.on_fork(_enter_child)
