"""Letting time pass on the calling thread; the twin for tasks is in `pause_aio`.

For who waits for the clock, and for nothing that anybody could grant.
"""

from __future__ import annotations

from time import monotonic

from .park import LockParker
from .running import guard_blocking
from .wait import park

__all__ = ["pause"]


def pause(seconds: float, what: str, twin: str) -> None:
    """Wait on this thread for so many seconds; an interrupt ends it at once.

    Args:
        seconds: How long.
        what: The call that blocks, for the warning on a loop's thread.
        twin: What a task awaits instead.
    """
    guard_blocking(what, twin)
    deadline = monotonic() + seconds
    parker = LockParker()
    while park(parker, deadline):
        pass  # a stray wake is allowed
