"""What locks and threads promise: fairness, figures, and the two protocols of a lock.

`RWLockAPI` is the face for threads, `AsyncRWLockAPI` the one for tasks. Both speak to
one lock: threads, asyncio tasks and trio tasks wait in one queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

__all__ = ["AsyncRWLockAPI", "Fairness", "LockStats", "RWLockAPI"]

Fairness = Literal["fair", "readers", "writers"]
"""Who goes first when both wait.

`fair` alternates: a waiting writer stops new readers, and when it is done all readers
that wait go before the next writer. Neither side starves. `readers` lets readers in
whenever no writer holds the lock, `writers` lets writers go first; the other side may
starve.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockStats:
    """The state of a lock at one moment.

    Attributes:
        readers: Who reads: names of threads and tasks.
        writer: Who writes, None if nobody does.
        waiting_readers: How many wait to read.
        waiting_writers: How many wait to write.
        longest_wait: Seconds that the one who waits longest has waited so far.
    """

    readers: tuple[str, ...]
    writer: str | None
    waiting_readers: int
    waiting_writers: int
    longest_wait: float


class _Common(Protocol):
    """What never waits, and so is the same in both faces."""

    def release_readlock(self) -> None:
        """Give one read lock of the caller back."""
        ...

    def release_writelock(self) -> None:
        """Give one write lock of the caller back."""
        ...

    def downgrade(self) -> None:
        """Turn the caller's write lock into a read lock; no writer gets in between."""
        ...

    def stamp(self) -> int:
        """Begin an optimistic read: return what `validate` takes."""
        ...

    def validate(self, stamp: int) -> bool:
        """Tell whether nobody has written since `stamp`."""
        ...

    def locked(self) -> bool:
        """Tell whether anybody reads or writes."""
        ...

    def reset(self) -> None:
        """Make a lock usable that broke by a fork."""
        ...

    def stats(self) -> LockStats:
        """Return the state of this moment."""
        ...


class RWLockAPI(_Common, Protocol):
    """The readers-writer lock, for threads."""

    def acquire_readlock(self, wait_time: float | None = None) -> None:
        """Wait for a read lock."""
        ...

    def acquire_writelock(self, wait_time: float | None = None) -> None:
        """Wait for the write lock."""
        ...

    def read(self, timeout: float | None = None) -> AbstractContextManager[object]:
        """Read for the length of a block."""
        ...

    def write(self, timeout: float | None = None) -> AbstractContextManager[object]:
        """Write for the length of a block."""
        ...


class AsyncRWLockAPI(_Common, Protocol):
    """The readers-writer lock, for tasks."""

    async def acquire_readlock(self, wait_time: float | None = None) -> None:
        """Wait for a read lock."""
        ...

    async def acquire_writelock(self, wait_time: float | None = None) -> None:
        """Wait for the write lock."""
        ...

    def read(self, timeout: float | None = None) -> AbstractAsyncContextManager[object]:
        """Read for the length of a block."""
        ...

    def write(
        self, timeout: float | None = None
    ) -> AbstractAsyncContextManager[object]:
        """Write for the length of a block."""
        ...
