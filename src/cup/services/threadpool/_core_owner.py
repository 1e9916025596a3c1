"""What a job needs of the pool that runs it, and of those who wait for it.

It keeps jobs and records apart from the pool, which knows both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cup.errors import JobCancelled

if TYPE_CHECKING:
    from collections import deque

    from cup._core.interrupt import Interrupt

    from ._core_record import Record, Sink

__all__ = ["Owner", "Unretrieved", "Wakeable", "wake_all"]


class Owner(Protocol):
    """What a job needs of the pool that runs it."""

    def withdrew(self, sink: Sink) -> None:
        """Count a job that was taken out of the queue."""
        ...

    def interrupt(self, sink: Sink, interrupt: Interrupt) -> bool:
        """Interrupt the running job of a sink; False if it does not run."""
        ...

    def run_here(self, record: Record) -> bool:
        """Run a queued job in the calling worker, if waiting for it would never end."""
        ...

    def relieve(self) -> None:
        """Take it that what a job tells of its end may last."""
        ...

    def may_starve(self, record: Record) -> bool:
        """Tell whether who waits for a queued job has to try `run_here` again."""
        ...

    def report(self, error: BaseException, what: str) -> None:
        """Tell of an exception that nobody else will see."""
        ...


class Wakeable(Protocol):
    """A thread or a task that waits for the end of a job."""

    def wake(self) -> object:
        """Wake it: thread-safe, never blocks."""
        ...


def wake_all(parked: deque[Wakeable]) -> None:
    """Wake each waiter once."""
    while parked:
        try:
            waiter = parked.popleft()
        except IndexError:
            return
        waiter.wake()


class Unretrieved:
    """Reports an exception when it dies with its job, unless somebody looked."""

    __slots__ = ("_error", "_owner", "_what")

    def __init__(self, owner: Owner, error: BaseException, what: str) -> None:
        self._owner: Owner | None = owner
        self._error = error
        self._what = what

    @classmethod
    def guard(cls, owner: Owner, error: BaseException, what: str) -> Unretrieved | None:
        """Return a guard; None for a cancelled job, which somebody wanted to end."""
        return None if isinstance(error, JobCancelled) else cls(owner, error, what)

    def disarm(self) -> None:
        """Somebody has looked at the exception."""
        self._owner = None

    def __del__(self) -> None:
        if self._owner is not None:
            self._owner.report(self._error, self._what)
