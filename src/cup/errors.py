"""Every error that cup raises, in one tree.

Each error is one of ours and also the built-in that a caller would catch::

    CupError (Exception)
    ├── InvalidValue              ValueError
    ├── InvalidType               TypeError
    ├── MissingExtra              ImportError
    ├── WaitTimeout               TimeoutError
    │   ├── ConditionTimeout
    │   ├── LockTimeout           RuntimeError
    │   └── JobTimeout            concurrent.futures.TimeoutError
    │       ├── QueueTimeout
    │       └── RunTimeout
    ├── WaitFailed                RuntimeError
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
    ├── CronError                 ValueError
    ├── ExecutorError             RuntimeError
    │   ├── ExecutorClosed
    │   ├── UnknownJob            LookupError
    │   └── UnsendableResult      TypeError
    ├── HeartbeatError            RuntimeError
    │   ├── HeartbeatClosed
    │   └── InvalidKey            ValueError
    ├── LogError                  OSError
    │   ├── CorruptRecord
    │   ├── TornTail
    │   ├── WriteFailed
    │   ├── LogPoisoned
    │   ├── LogLocked
    │   ├── LogClosed             ValueError
    │   ├── UnsupportedFormat     ValueError
    │   ├── RecordTooLarge        ValueError
    │   └── RecordGone            LookupError
    ├── MetaStoreError            RuntimeError
    │   ├── KeyExists             ValueError
    │   ├── NoSuchKey             KeyError
    │   └── UnreadableEntry       ValueError
    ├── StoreUnreachable          ConnectionError
    ├── BlockingInLoop            RuntimeError
    ├── LoopGone                  RuntimeError
    ├── ThreadNotStarted          RuntimeError
    ├── ForkedProcess             RuntimeError
    ├── LoggerException           RuntimeError
    ├── MonitoringError           OSError
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
    "ConditionTimeout",
    "CorruptRecord",
    "CronError",
    "CupError",
    "EpochOver",
    "ExecutorClosed",
    "ExecutorError",
    "ExpectFailure",
    "ForeignBuffer",
    "ForkedProcess",
    "HeartbeatClosed",
    "HeartbeatError",
    "IdError",
    "InvalidId",
    "InvalidKey",
    "InvalidType",
    "InvalidValue",
    "JobCancelled",
    "JobInterrupted",
    "JobTimeout",
    "KeyExists",
    "LockBroken",
    "LockDeadlock",
    "LockError",
    "LockNotHeld",
    "LockTimeout",
    "LogClosed",
    "LogError",
    "LogLocked",
    "LogPoisoned",
    "LoggerException",
    "LoopGone",
    "MetaStoreError",
    "MissingExtra",
    "MonitoringError",
    "NetError",
    "NoSuchKey",
    "NoWorkerId",
    "PoolBroken",
    "PoolClosed",
    "PoolError",
    "PoolFull",
    "QueueTimeout",
    "RecordGone",
    "RecordTooLarge",
    "RunTimeout",
    "StoreUnreachable",
    "ThreadNotStarted",
    "ThreadTermException",
    "TimelessId",
    "TornTail",
    "UnknownJob",
    "UnreadableEntry",
    "UnsendableResult",
    "UnsupportedFormat",
    "WaitFailed",
    "WaitTimeout",
    "WorkerIdLost",
    "WriteFailed",
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


class ConditionTimeout(WaitTimeout):
    """A condition did not come to hold in time.

    Attributes:
        seen: What was seen last; empty where several conditions are combined: then the
            message has it for each.
        mechanism: How its changes were noticed.
    """

    def __init__(
        self,
        message: str = "",
        *,
        timeout: float | None = None,
        seen: str = "",
        mechanism: str = "",
    ) -> None:
        super().__init__(message, timeout=timeout)
        self.seen = seen
        self.mechanism = mechanism


class WaitFailed(CupError, RuntimeError):
    """A wait was given up: what must not happen before its end has happened.

    Attributes:
        reason: What has happened.
        mechanism: How changes were noticed.
    """

    def __init__(
        self, message: str = "", *, reason: str = "", mechanism: str = ""
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.mechanism = mechanism


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


class CronError(CupError, ValueError):
    """A cron expression, or its time zone, means nothing or never comes.

    Attributes:
        field: What is wrong: "minute", "day of month", "time zone" ...; "" if it is the
            expression as a whole.
        value: The part that is wrong, as it was given.
    """

    def __init__(self, message: str = "", *, field: str = "", value: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.value = value


class ExecutorError(CupError, RuntimeError):
    """An executor cannot do what was asked."""


class ExecutorClosed(ExecutorError):
    """The executor does not take jobs (any more)."""


class UnknownJob(ExecutorError, LookupError):
    """A job is not known by that name, or its function cannot be found."""


class UnsendableResult(ExecutorError, TypeError):
    """A job ran in another process, and its result cannot be sent back."""


class HeartbeatError(CupError, RuntimeError):
    """A heartbeat service cannot do what was asked."""


class HeartbeatClosed(HeartbeatError):
    """The service, or the reading of its events, has ended."""


class InvalidKey(HeartbeatError, ValueError):
    """Something is no key for heartbeats, or is one that anybody may know."""


class LogError(CupError, OSError):
    """A log on disk cannot do what was asked.

    Attributes:
        errno: The number of the system's error behind it; 0 if there is none.
    """

    def __init__(self, message: str = "", *, errno: int = 0) -> None:
        super().__init__(message)
        self.errno: int | None = errno

    def __reduce__(self) -> tuple[object, ...]:
        # `OSError` does not keep its number where other attributes are.
        return (*super().__reduce__(), {"errno": self.errno})


class CorruptRecord(LogError):
    """Something that was stored is damaged, or gone. Nothing is read past it.

    Attributes:
        path: The file.
        offset: Where in it, in bytes.
        record_id: The record that should be there.
    """

    def __init__(
        self, message: str = "", *, path: str = "", offset: int = 0, record_id: int = 0
    ) -> None:
        super().__init__(message)
        self.path: str = path
        self.offset: int = offset
        self.record_id: int = record_id


class TornTail(CorruptRecord):
    """The last write to a log was cut off by a crash, and is not to be cut away.

    None of its records was ever acknowledged.
    """


class WriteFailed(LogError):
    """Records could not be written, and nothing of them is stored. The log goes on."""


class LogPoisoned(LogError):
    """The disk did not confirm a write: what is stored is not known.

    The log accepts nothing any more. Opening it anew finds out.
    """


class LogLocked(LogError):
    """Another log, here or elsewhere, writes to the same directory.

    Attributes:
        pid: The process that does; 0 if that is not known.
        host: The machine it runs on.
    """

    def __init__(self, message: str = "", *, pid: int = 0, host: str = "") -> None:
        super().__init__(message)
        self.pid: int = pid
        self.host: str = host


class LogClosed(LogError, ValueError):
    """The log is closed."""


class UnsupportedFormat(LogError, ValueError):
    """A file is no log, or one that needs a later version, or another codec."""


class RecordTooLarge(LogError, ValueError):
    """A record is larger than the log accepts."""


class RecordGone(LogError, LookupError):
    """A record was asked for that lies before the first one of the log."""


class MetaStoreError(CupError, RuntimeError):
    """A store of metadata cannot do what was asked. Errors of its log are others."""


class KeyExists(MetaStoreError, ValueError):
    """A key was to be new, and is there already."""


class NoSuchKey(MetaStoreError, KeyError):
    """A store has no such key."""


class UnreadableEntry(MetaStoreError, ValueError):
    """What is stored under a key means nothing to this program. It is kept.

    A function that migrates raises it for entries that it cannot make sense of.
    """


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


class MonitoringError(CupError, OSError):
    """A process cannot show its services, or the one that is asked does not."""


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
