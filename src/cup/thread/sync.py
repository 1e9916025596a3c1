"""The readers-writer lock for threads; its twin for tasks is in `aio`.

What holds the lock is a thread. While a thread that can be interrupted holds it,
interrupts of that thread wait until it is released: no lock is ever lost to one.
"""

from __future__ import annotations

from _thread import get_ident
from typing import TYPE_CHECKING, get_args

from typing_extensions import Self

from cup._core import fork, interrupt
from cup._core.clock import check_timeout
from cup._core.fork import stamp
from cup._core.gil import MUTEX_PATHS
from cup._core.wait import block
from cup.errors import InvalidValue

from ._core_asks import ReadAsk, WriteAsk
from ._core_rwlock import RWCore
from .api import Fairness

if TYPE_CHECKING:
    from types import TracebackType

    from .aio import AsyncRWLock
    from .api import RWLockAPI

__all__ = ["RWLock", "ReadGuard", "WriteGuard"]

_targets = interrupt.targets


class RWLock(RWCore):
    """Many readers or one writer: for threads, and, by `aio`, for tasks as well.

    Fair by default: a writer that waits stops new readers, and when it is done all who
    wait to read go before the next writer; no side starves. Reading is re-entrant, also
    while a writer waits. Who would wait for itself gets a `LockDeadlock` at once.

    A waiting thread is woken at once by an interrupt (`CupThread`); while it holds the
    lock, interrupts wait. In a forked child the forking thread keeps what it holds; a
    lock that another thread was writing raises `LockBroken` until `reset()`.

    Args:
        fairness: "fair", "readers" or "writers": who goes first when both wait.
        reentrant: Whether who writes may read and write again.
        name: For `repr` and messages.

    Raises:
        InvalidValue: If `fairness` is none of these.
    """

    __slots__ = ("__weakref__", "_reading", "_writing")

    # Declared again: this class sets what its base declares.
    closed: bool
    readers_turn: bool
    version: int
    writer: object | None

    def __init__(
        self,
        fairness: Fairness = "fair",
        *,
        reentrant: bool = False,
        name: str = "",
    ) -> None:
        if fairness not in get_args(Fairness):
            raise InvalidValue(
                f"fairness={fairness!r} is none of {', '.join(get_args(Fairness))}"
            )

        super().__init__(fairness, reentrant=reentrant, name=name)
        self._reading: ReadGuard | None = None
        self._writing: WriteGuard | None = None

    @property
    def aio(self) -> AsyncRWLock:
        """The face of this very lock for tasks."""
        from .aio import AsyncRWLock  # noqa: PLC0415 - loads event loops

        return AsyncRWLock.over(self)

    def acquire_readlock(self, wait_time: float | None = None) -> None:
        """Wait for a read lock.

        Args:
            wait_time: Seconds; None waits for ever, zero or less tries once.

        Raises:
            LockTimeout: If it was not granted in time; a `RuntimeError` and a
                `TimeoutError`.
            LockDeadlock: If the calling thread writes.
            LockBroken: If a writer vanished in a fork.
            InvalidValue: If `wait_time` is NaN.
        """
        if wait_time is not None:
            wait_time = check_timeout(wait_time, "wait_time")
        me = get_ident()
        if _targets and me in _targets:
            self._masked(ReadAsk, wait_time, _targets[me])
            return

        # `enter`, written out: a call costs as much as a lock.
        if not stamp[0] or self._generation != fork.epoch:
            self._check_fork()
        readers = self.readers
        if me in readers:
            readers[me] += 1
            return

        readers[me] = 1
        if self.closed and not self.enter_closed(me):
            block(ReadAsk(self, me), wait_time)

    def release_readlock(self) -> None:
        """Give one read lock of the caller back; never blocks.

        Raises:
            LockNotHeld: If the calling thread holds none.
        """
        me = get_ident()
        # `exit`, written out for who reads once.
        readers = self.readers
        if readers.get(me) == 1:
            del readers[me]
            if self.closed and not readers:
                self.changed()
        else:
            self.exit(me)
        if _targets and me in _targets:
            _targets[me].unmask()

    def acquire_writelock(self, wait_time: float | None = None) -> None:
        """Wait for the write lock.

        Args:
            wait_time: Seconds; None waits for ever, zero or less tries once.

        Raises:
            LockTimeout: If it was not granted in time; a `RuntimeError` and a
                `TimeoutError`.
            LockDeadlock: If the calling thread reads, or writes and the lock is not
                re-entrant.
            LockBroken: If a writer vanished in a fork.
            InvalidValue: If `wait_time` is NaN.
        """
        if wait_time is not None:
            wait_time = check_timeout(wait_time, "wait_time")
        me = get_ident()
        if _targets and me in _targets:
            self._masked(WriteAsk, wait_time, _targets[me])
            return

        # `enter_to_write`, written out for a lock that is free.
        if stamp[0] and self._generation == fork.epoch and not self._holder:
            with self.mutex:
                if not self.closed and self.writer is None:
                    self.closed = True
                    # Closed first, looked at second.
                    if not self.readers:
                        self.writer = me
                        self._depth = 1
                        self.version += 1
                        return

        if not self.enter_to_write(me):
            block(WriteAsk(self, me), wait_time)

    def release_writelock(self) -> None:
        """Give one write lock of the caller back; never blocks.

        Raises:
            LockNotHeld: If the calling thread does not write.
        """
        me = get_ident()
        # `exit_from_writing`, written out for who writes once.
        if self.writer == me and self._depth == 1 and not MUTEX_PATHS:
            self.readers_turn = True
            self.version += 1
            self.closed = False
            self.writer = None
            # Left first, looked at second.
            if self.waited or self._notes:
                self.changed()
        else:
            self.exit_from_writing(me)
        if _targets and me in _targets:
            _targets[me].unmask()

    def _masked(
        self,
        kind: type[ReadAsk | WriteAsk],
        wait_time: float | None,
        target: interrupt.Target,
    ) -> None:
        """Acquire with interrupts held back from here to the release."""
        me = get_ident()
        target.mask()
        try:
            granted = self.enter(me) if kind is ReadAsk else self.enter_to_write(me)
            if not granted:
                block(kind(self, me), wait_time)
        except BaseException:
            target.unmask_quietly()
            raise

    def downgrade(self) -> None:
        """Turn the caller's write lock into a read lock; no writer gets in between.

        Raises:
            LockNotHeld: If the calling thread does not write.
            LockDeadlock: If it writes more than once.
        """
        self.turn_to_reading(get_ident())

    def read(self, timeout: float | None = None) -> ReadGuard:
        """Read for the length of a block.

        Args:
            timeout: Seconds to wait; None waits for ever.

        Returns:
            A guard; entering it raises what `acquire_readlock` raises.
        """
        if timeout is not None:
            return ReadGuard(self, timeout)

        # One serves all: making another costs as much as a lock.
        guard = self._reading
        if guard is None:
            guard = self._reading = ReadGuard(self, None)
        return guard

    def write(self, timeout: float | None = None) -> WriteGuard:
        """Write for the length of a block.

        Args:
            timeout: Seconds to wait; None waits for ever.

        Returns:
            A guard; entering it raises what `acquire_writelock` raises.
        """
        if timeout is not None:
            return WriteGuard(self, timeout)

        guard = self._writing
        if guard is None:
            guard = self._writing = WriteGuard(self, None)
        return guard


class ReadGuard:
    """Reads for the length of a `with` block. It keeps no state: it can be shared."""

    __slots__ = ("_lock", "_timeout")

    def __init__(self, lock: RWLock, timeout: float | None) -> None:
        self._lock = lock
        self._timeout = timeout

    def __enter__(self) -> Self:
        self._lock.acquire_readlock(self._timeout)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release_readlock()


class WriteGuard:
    """Writes for the length of a `with` block. It keeps no state: it can be shared."""

    __slots__ = ("_lock", "_timeout")

    def __init__(self, lock: RWLock, timeout: float | None) -> None:
        self._lock = lock
        self._timeout = timeout

    def downgrade(self) -> None:
        """Read for the rest of the block; no writer gets in between.

        Raises:
            LockNotHeld: If the calling thread does not write.
        """
        self._lock.downgrade()

    def __enter__(self) -> Self:
        self._lock.acquire_writelock(self._timeout)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        lock = self._lock
        if lock.writer == get_ident():
            lock.release_writelock()
        else:
            lock.release_readlock()  # it was downgraded inside


if TYPE_CHECKING:
    _proof: RWLockAPI = RWLock()
