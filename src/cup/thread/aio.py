"""The readers-writer lock for tasks; its twin for threads is in `sync`.

What holds the lock is a task. Both are faces of one lock: a lock held by a thread is
seen by a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import Self

from cup._core import fork
from cup._core.clock import check_timeout
from cup._core.fork import stamp
from cup._core.loops import ablock, current_loop, current_task
from cup.errors import LoopGone

from ._core_asks import ReadAsk, WriteAsk
from .sync import RWLock

if TYPE_CHECKING:
    from types import TracebackType

    from .api import AsyncRWLockAPI, Fairness, LockStats

__all__ = ["AsyncRWLock", "AsyncReadGuard", "AsyncWriteGuard"]


class AsyncRWLock:
    """Many readers or one writer, for tasks of asyncio and trio; twin of `RWLock`.

    Threads, asyncio tasks and trio tasks wait in one queue. A cancelled task leaves it;
    what it was granted meanwhile goes to the next. A closed loop never owns the lock
    for longer than its tasks are remembered: what waited there is passed over.

    The owner is the task. `asyncio.wait_for` runs its coroutine in another task before
    Python 3.12: use `wait_time`, or `async with lock.read(timeout)`, instead.

    Args:
        fairness: "fair", "readers" or "writers": who goes first when both wait.
        reentrant: Whether who writes may read and write again.
        name: For `repr` and messages.

    Raises:
        InvalidValue: If `fairness` is none of these.
    """

    __slots__ = ("__weakref__", "sync")

    sync: RWLock
    """The face of this very lock for threads."""

    def __init__(
        self,
        fairness: Fairness = "fair",
        *,
        reentrant: bool = False,
        name: str = "",
    ) -> None:
        self.sync = RWLock(fairness, reentrant=reentrant, name=name)

    @classmethod
    def over(cls, lock: RWLock) -> Self:
        """Return the face for tasks of a lock that exists."""
        face = cls.__new__(cls)
        face.sync = lock
        return face

    async def acquire_readlock(self, wait_time: float | None = None) -> None:
        """Wait for a read lock.

        Twin of `RWLock.acquire_readlock`. It checks for cancellation also when it
        need not wait.

        Args:
            wait_time: Seconds; None waits for ever, zero or less tries once.

        Raises:
            LockTimeout: If it was not granted in time.
            LockDeadlock: If the calling task writes.
            LockBroken: If a writer vanished in a fork.
            InvalidValue: If `wait_time` is NaN.
        """
        await _enter(self.sync, wait_time)

    def release_readlock(self) -> None:
        """Give one read lock of the caller back; never blocks.

        Twin of `RWLock.release_readlock`.

        Raises:
            LockNotHeld: If the calling task holds none.
        """
        self.sync.exit(current_task())

    async def acquire_writelock(self, wait_time: float | None = None) -> None:
        """Wait for the write lock.

        Twin of `RWLock.acquire_writelock`.

        Args:
            wait_time: Seconds; None waits for ever, zero or less tries once.

        Raises:
            LockTimeout: If it was not granted in time.
            LockDeadlock: If the calling task reads, or writes and the lock is not
                re-entrant.
            LockBroken: If a writer vanished in a fork.
            InvalidValue: If `wait_time` is NaN.
        """
        await _enter_to_write(self.sync, wait_time)

    def release_writelock(self) -> None:
        """Give one write lock of the caller back; never blocks.

        Twin of `RWLock.release_writelock`.

        Raises:
            LockNotHeld: If the calling task does not write.
        """
        self.sync.exit_from_writing(current_task())

    def downgrade(self) -> None:
        """Turn the caller's write lock into a read lock; no writer gets in between.

        Twin of `RWLock.downgrade`.

        Raises:
            LockNotHeld: If the calling task does not write.
            LockDeadlock: If it writes more than once.
        """
        self.sync.turn_to_reading(current_task())

    def read(self, timeout: float | None = None) -> AsyncReadGuard:
        """Read for the length of a block.

        Twin of `RWLock.read`. The guard owns the hold: it releases it in whatever
        task the block ends.

        Args:
            timeout: Seconds to wait; None waits for ever.

        Returns:
            A guard; entering it raises what `acquire_readlock` raises.
        """
        return AsyncReadGuard(self.sync, timeout)

    def write(self, timeout: float | None = None) -> AsyncWriteGuard:
        """Write for the length of a block.

        Twin of `RWLock.write`.

        Args:
            timeout: Seconds to wait; None waits for ever.

        Returns:
            A guard; entering it raises what `acquire_writelock` raises.
        """
        return AsyncWriteGuard(self.sync, timeout)

    def stamp(self) -> int:
        """Begin an optimistic read: return what `validate` takes.

        Twin of `RWLock.stamp`.
        """
        return self.sync.stamp()

    def validate(self, stamp: int) -> bool:
        """Tell whether nobody has written since `stamp`.

        Twin of `RWLock.validate`.

        Args:
            stamp: What `stamp()` returned before the data was read.
        """
        return self.sync.validate(stamp)

    def locked(self) -> bool:
        """Tell whether anybody reads or writes."""
        return self.sync.locked()

    def reset(self) -> None:
        """Make a lock usable that broke by a fork."""
        self.sync.reset()

    def stats(self) -> LockStats:
        """Return the state of this moment."""
        return self.sync.stats()

    def __repr__(self) -> str:
        return f"<AsyncRWLock of {self.sync!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AsyncRWLock):
            return NotImplemented

        return self.sync is other.sync

    def __hash__(self) -> int:
        return hash(self.sync)


async def _enter(lock: RWLock, wait_time: float | None) -> object:
    """Wait for a read lock; return the task that has it now."""
    if wait_time is not None:
        wait_time = check_timeout(wait_time, "wait_time")
    loop = current_loop()
    owner = loop.current_task()
    if owner is None:
        raise LoopGone("what holds a lock is a task: await this in one")

    if not loop.may_pass(owner):
        await loop.immediate()
    # `lock.enter`, written out: a call costs as much as a lock.
    if not stamp[0] or lock.epoch != fork.epoch:
        lock.look_for_fork()
    readers = lock.readers
    if owner in readers:
        readers[owner] += 1
        return owner

    readers[owner] = 1
    if lock.closed and not lock.enter_closed(owner):
        await ablock(ReadAsk(lock, owner), wait_time)
    return owner


async def _enter_to_write(lock: RWLock, wait_time: float | None) -> object:
    """Wait for the write lock; return the task that has it now."""
    if wait_time is not None:
        wait_time = check_timeout(wait_time, "wait_time")
    loop = current_loop()
    owner = loop.current_task()
    if owner is None:
        raise LoopGone("what holds a lock is a task: await this in one")

    if not loop.may_pass(owner):
        await loop.immediate()
    if not lock.enter_to_write(owner):
        await ablock(WriteAsk(lock, owner), wait_time)
    return owner


class AsyncReadGuard:
    """Reads for the length of an `async with` block."""

    __slots__ = ("_lock", "_owner", "_timeout")

    def __init__(self, lock: RWLock, timeout: float | None) -> None:
        self._lock = lock
        self._timeout = timeout
        self._owner: object = None

    async def __aenter__(self) -> Self:
        self._owner = await _enter(self._lock, self._timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is GeneratorExit:  # maybe in a finalizer, long after its loop's end
            self._lock.give_up(self._owner)
        else:
            self._lock.exit(self._owner)


class AsyncWriteGuard:
    """Writes for the length of an `async with` block."""

    __slots__ = ("_lock", "_owner", "_reads", "_timeout")

    def __init__(self, lock: RWLock, timeout: float | None) -> None:
        self._lock = lock
        self._timeout = timeout
        self._owner: object = None
        self._reads = False

    def downgrade(self) -> None:
        """Read for the rest of the block; no writer gets in between.

        Raises:
            LockNotHeld: If the block does not write.
        """
        self._lock.turn_to_reading(self._owner)
        self._reads = True

    async def __aenter__(self) -> Self:
        self._owner = await _enter_to_write(self._lock, self._timeout)
        self._reads = False
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is GeneratorExit:  # maybe in a finalizer, long after its loop's end
            self._lock.give_up(self._owner)
        elif self._reads:
            self._lock.exit(self._owner)
        else:
            self._lock.exit_from_writing(self._owner)


if TYPE_CHECKING:
    _proof: AsyncRWLockAPI = AsyncRWLock()
