"""Every error that cup raises, in one tree.

Each error is one of ours and also the built-in that a caller would catch::

    CupError (Exception)
    ├── InvalidValue              ValueError
    ├── InvalidType               TypeError
    ├── MissingExtra              ImportError
    ├── WaitTimeout               TimeoutError
    │   ├── LockTimeout           RuntimeError
    │   └── JobTimeout            concurrent.futures.TimeoutError
    │       ├── QueueTimeout
    │       └── RunTimeout
    ├── LockError                 RuntimeError
    │   ├── LockDeadlock
    │   ├── LockNotHeld
    │   └── LockBroken
    ├── JobCancelled              concurrent.futures.CancelledError
    ├── PoolError                 RuntimeError
    │   ├── PoolClosed
    │   ├── PoolFull              queue.Full
    │   └── PoolBroken            concurrent.futures.BrokenExecutor
    ├── BufferPoolError           RuntimeError
    │   ├── BufferReleased        ValueError
    │   ├── BufferOverflow        ValueError
    │   ├── BufferTooLarge        ValueError
    │   └── ForeignBuffer         ValueError
    ├── IdError                   RuntimeError
    │   ├── InvalidId             ValueError
    │   ├── TimelessId            ValueError
    │   ├── ClockBehind
    │   ├── EpochOver             OverflowError
    │   ├── NoWorkerId            LookupError
    │   └── WorkerIdLost
    ├── StoreUnreachable          ConnectionError
    ├── BlockingInLoop            RuntimeError
    ├── LoopGone                  RuntimeError
    ├── ThreadNotStarted          RuntimeError
    ├── ForkedProcess             RuntimeError
    ├── LoggerException           RuntimeError
    ├── NetError                  OSError
    └── ExpectFailure             AssertionError

    ThreadTermException (BaseException)   ends a thread; never caught by accident
    JobInterrupted (BaseException)        ends a job; never caught by accident

    BlockingInLoopWarning (RuntimeWarning)

All of them can be copied and pickled, with their attributes.
"""

from __future__ import annotations

import concurrent.futures
import queue
from concurrent.futures.thread import BrokenThreadPool

__all__ = [
    "BlockingInLoop",
    "BlockingInLoopWarning",
    "BufferOverflow",
    "BufferPoolError",
    "BufferReleased",
    "BufferTooLarge",
    "ClockBehind",
    "CupError",
    "EpochOver",
    "ExpectFailure",
    "ForeignBuffer",
    "ForkedProcess",
    "IdError",
    "InvalidId",
    "InvalidType",
    "InvalidValue",
    "JobCancelled",
    "JobInterrupted",
    "JobTimeout",
    "LockBroken",
    "LockDeadlock",
    "LockError",
    "LockNotHeld",
    "LockTimeout",
    "LoggerException",
    "LoopGone",
    "MissingExtra",
    "NetError",
    "NoWorkerId",
    "PoolBroken",
    "PoolClosed",
    "PoolError",
    "PoolFull",
    "QueueTimeout",
    "RunTimeout",
    "StoreUnreachable",
    "ThreadNotStarted",
    "ThreadTermException",
    "TimelessId",
    "WaitTimeout",
    "WorkerIdLost",
]


def _rebuild(
    kind: type[BaseException], message: str, fields: dict[str, object]
) -> BaseException:
    """Make an error again from what `__reduce__` kept."""
    error = kind.__new__(kind, message)
    error.args = (message,)  # OSError and its kin do not keep it by themselves
    error.__dict__.update(fields)
    return error


class CupError(Exception):
    """Base of every error of this library.

    The message is kept apart from `args`: some built-in bases (`OSError`,
    `TimeoutError`) would otherwise lose it.

    Attributes:
        message: What was wrong, with the value, and what to do.
    """

    message: str

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, dict(self.__dict__))


class InvalidValue(CupError, ValueError):
    """An argument has the right type and a value that makes no sense."""


class InvalidType(CupError, TypeError):
    """An argument has a type that the call cannot take."""


class MissingExtra(CupError, ImportError):
    """A feature needs a package that is not installed.

    Attributes:
        requirement: What `pip install` has to be given.
    """

    def __init__(self, message: str = "", *, requirement: str = "") -> None:
        super().__init__(message)
        self.requirement = requirement


class WaitTimeout(CupError, TimeoutError):
    """Something was waited for longer than allowed.

    Attributes:
        timeout: The seconds that were allowed, None where no single number says it.
    """

    def __init__(self, message: str = "", *, timeout: float | None = None) -> None:
        super().__init__(message)
        self.timeout = timeout


class LockTimeout(WaitTimeout, RuntimeError):
    """A lock was not granted in time."""


class LockError(CupError, RuntimeError):
    """A lock cannot do what was asked."""


class LockDeadlock(LockError):
    """The caller would wait for itself."""


class LockNotHeld(LockError):
    """The caller releases what it does not hold."""


class LockBroken(LockError):
    """The process forked while another thread wrote under the lock."""


class JobTimeout(WaitTimeout, concurrent.futures.TimeoutError):
    """A job took too long: in the queue, in its run, or for who waited for it."""


class QueueTimeout(JobTimeout):
    """A job was not started within its `queue_timeout`."""


class RunTimeout(JobTimeout):
    """A job did not end within its `run_timeout`."""


class JobCancelled(CupError, concurrent.futures.CancelledError):
    """The job was cancelled before it ran, or interrupted while it ran.

    It is a `concurrent.futures.CancelledError`, never asyncio's: a cancelled job is
    not a cancelled task.
    """


class PoolError(CupError, RuntimeError):
    """A pool cannot do what was asked."""


class PoolClosed(PoolError):
    """The pool does not take work (any more)."""


class PoolFull(PoolError, queue.Full):
    """The queue of a bounded pool has no room, and its policy is to refuse."""


class PoolBroken(PoolError, BrokenThreadPool):
    """The initializer of a worker failed: the pool can run nothing."""


class BufferPoolError(CupError, RuntimeError):
    """A buffer or its pool cannot do what was asked."""


class BufferReleased(BufferPoolError, ValueError):
    """A buffer was used, or given back, after it had been given back."""


class BufferOverflow(BufferPoolError, ValueError):
    """Content does not fit into a buffer, which is left as it was."""


class BufferTooLarge(BufferPoolError, ValueError):
    """More blocks were asked for than the pool can ever give."""


class ForeignBuffer(BufferPoolError, ValueError):
    """A buffer was given to a pool that it is not from."""


class IdError(CupError, RuntimeError):
    """A generator of identifiers cannot do what was asked."""


class InvalidId(IdError, ValueError):
    """A value is no identifier of the kind that it is read as."""


class TimelessId(IdError, ValueError):
    """Identifiers of this kind say nothing about the time they were made at."""


class ClockBehind(IdError):
    """The next identifier would lie further ahead of the clock than is allowed.

    The clock stepped back, or more was asked for than the layout has room for.

    Attributes:
        ahead: Seconds by which the identifier would be ahead.
    """

    def __init__(self, message: str = "", *, ahead: float = 0.0) -> None:
        super().__init__(message)
        self.ahead = ahead


class EpochOver(IdError, OverflowError):
    """The clock shows a time that the bits of the layout cannot express."""


class NoWorkerId(IdError, LookupError):
    """No worker number can be had: none is configured, or all are taken."""


class WorkerIdLost(IdError):
    """A worker number is not held any more, so nothing is issued under it."""


class StoreUnreachable(CupError, ConnectionError):
    """The server that numbers are leased from does not answer, or refuses."""


class BlockingInLoop(CupError, RuntimeError):
    """A thread that runs an event loop would block for something only it could do."""


class LoopGone(CupError, RuntimeError):
    """The event loop that a call needs has ended, or there is none."""


class ThreadNotStarted(CupError, RuntimeError):
    """A thread that was not started cannot be interrupted."""


class ForkedProcess(CupError, RuntimeError):
    """A service does not work in a forked child, or a fork broke its state."""


class LoggerException(CupError, RuntimeError):
    """The log cannot be set up as asked."""


class NetError(CupError, OSError):
    """A network question has no answer."""


class ExpectFailure(CupError, AssertionError):
    """A call did not raise what a test expects of it."""


class ThreadTermException(BaseException):
    """Raised inside a thread to end it.

    Not an `Exception`, so that `except Exception` in the interrupted code does not
    swallow it. It ends a thread's `run()` silently.
    """


class JobInterrupted(BaseException):
    """Raised inside a running job to end it.

    Not an `Exception`, so that `except Exception` in the job does not swallow it. Who
    waits for a job that ends by it gets a `JobCancelled`.
    """


class BlockingInLoopWarning(RuntimeWarning):
    """A blocking call is about to stop an event loop that runs in this thread.

    The message names the async twin to await instead. `CUP_ALLOW_BLOCKING_IN_LOOP=1`
    in the environment silences it.
    """
