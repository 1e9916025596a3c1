"""The unit of the pool: a record of one call, and where its outcome goes.

A record is a list `[function, context, args, kwargs, sink]`. Its last item is also its
token: whoever pops it (one atomic step) owns the call, to run it or to drop it, and
empties the list. So a call is run or dropped exactly once, without a lock, and a
dropped one frees its arguments at once; the empty husk goes when a worker meets it.
Who comes second may pop another item before the list is empty: so everybody reads the
whole record first, and looks afterwards whether what was popped is the sink.

Only `submit` pays for a `Job`; other sinks are a loop's waiter, a callback, or nobody.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Protocol

from cup.errors import JobCancelled

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from ._core_owner import Owner
    from ._core_staff import Staff

__all__ = [
    "CallbackSink",
    "Herald",
    "Nobody",
    "Record",
    "Sink",
    "claim",
    "describe",
    "is_claimed",
    "run_claimed",
    "take_to_run",
]

Record = list[Any]
"""Five items of five types, for speed; see the top of this module."""

_WHOLE = 5


class Sink(Protocol):
    """Where the outcome of a call goes. Exactly one of the methods is called, once."""

    @property
    def brief(self) -> bool:
        """Whether `succeed` is over at once: it runs no code of a user."""
        ...

    def succeed(self, value: Any, /) -> None:
        """Take what the function returned."""
        ...

    def fail(self, error: BaseException, /) -> None:
        """Take what the function raised, or why it could not run."""
        ...

    def drop(self) -> None:
        """Take it that the call was cancelled before it started."""
        ...

    def vanish(self) -> None:
        """Take it that this is a forked child, where the call does not exist.

        Called inside the fork: wake nobody, and call nothing of a user.
        """
        ...


def claim(record: Record) -> Sink | None:
    """Take the call, not to run it; None if somebody else has taken it."""
    try:
        sink: Sink = record[_WHOLE - 1]
        taken: Sink = record.pop()
        if taken is not sink:
            return None
    except IndexError:
        return None

    record.clear()
    return sink


def take_to_run(record: Record) -> Record | None:
    """Take the call, to run it with `run_claimed`; None if it was taken."""
    # Not `record.copy()`: until 3.11 that may collect garbage half way, and then other
    # threads run and change the list that is being copied.
    try:
        fn, context, args, kwargs, sink = record
        if record.pop() is not sink:
            return None
    except (IndexError, ValueError):
        return None

    record.clear()
    return [fn, context, args, kwargs, sink]


def run_claimed(owner: Owner, taken: Record) -> bool:
    """Run a call outside of a worker's loop, and tell its sink; True if it failed."""
    fn, context, args, kwargs, sink = taken
    taken.clear()
    failure: BaseException | None = None
    value: object = None
    try:
        value = context.run(fn, *args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - it goes to who waits
        failure = error
    try:
        if failure is None:
            sink.succeed(value)
        else:
            sink.fail(failure)
    except BaseException as error:  # noqa: BLE001 - a callback must not end us
        owner.report(error, "what was told of a job's end failed")
    failed = failure is not None
    del failure  # no cycle through the traceback
    return failed


def describe(sink: object, fn: object) -> str:
    """Return the name of what runs for a sink: a label, or that of the function."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    name = getattr(fn, "__qualname__", type(sink if fn is None else fn).__name__)
    return str(getattr(sink, "label", name))


def is_claimed(record: Record) -> bool:
    """Tell whether the call was started or dropped."""
    return len(record) < _WHOLE


class Nobody:
    """The sink of a call that nobody waits for: its exception is reported."""

    brief: bool = False

    __slots__ = ("_owner",)

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def succeed(self, value: object, /) -> None:
        """Forget the result."""

    def fail(self, error: BaseException, /) -> None:
        """Report the exception, unless somebody wanted the job to end."""
        if isinstance(error, JobCancelled):
            return

        self._owner.report(error, "a posted job failed")

    def drop(self) -> None:
        """Forget the call."""

    def vanish(self) -> None:
        """Forget the call."""


class CallbackSink:
    """Calls `callback(True, result)` or `callback(False, error)`, in the job's context.

    It is called in a worker: a dropped call leaves a record that does so.
    """

    brief: bool = False

    __slots__ = ("_callback", "_context", "_core")

    def __init__(
        self,
        core: Staff,
        callback: Callable[[bool, Any], object],
        context: Context,
    ) -> None:
        self._core = core
        self._callback = callback
        self._context = context

    def succeed(self, value: object, /) -> None:
        """Call back with the result."""
        self._call(ok=True, outcome=value)

    def fail(self, error: BaseException, /) -> None:
        """Call back with the exception."""
        self._call(ok=False, outcome=error)

    def drop(self) -> None:
        """Have a worker call back with a `JobCancelled`."""
        error = JobCancelled("the job was cancelled before it started")
        self._post(ok=False, outcome=error)

    def vanish(self) -> None:
        """Forget the call: its callback belongs to the parent."""

    def _call(self, ok: bool, outcome: object) -> None:
        if self._core.here() is None:
            self._post(ok=ok, outcome=outcome)
            return

        try:
            self._context.run(self._callback, ok, outcome)
        except BaseException as error:  # noqa: BLE001 - never the worker's end
            self._core.report(error, "the callback of a job failed")

    def _post(self, *, ok: bool, outcome: object) -> None:
        # In a copy: a job that was given up may still run in the context itself.
        context = self._context.copy()
        self._core.run_anyway(
            [self._callback, context, (ok, outcome), {}, self._core.herald]
        )


class Herald:
    """The sink of the pool's own records, which call back for jobs that are over."""

    brief: bool = True

    __slots__ = ("_core",)

    def __init__(self, core: Staff) -> None:
        self._core = core

    def succeed(self, _: object, /) -> None:
        """Note that this was no job."""
        self._core.notices.add()

    def fail(self, error: BaseException, /) -> None:
        """Report what the callback raised."""
        self._core.notices.add()
        self._core.notices_failed.add()
        self._core.report(error, "the callback of a job failed")

    def drop(self) -> None:
        """Do nothing: these records are never dropped."""

    def vanish(self) -> None:
        """Forget the callback: it belongs to the parent."""
