"""Calls that a task awaits: from its loop into the pool, and straight back.

A `Call` is the sink of one awaited call: it holds the outcome and wakes the task. An
`Outbox` gathers what the tasks of one loop ask for in one iteration, and hands it over
at the end of it: workers are not woken while the loop still has tasks to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from cup._core.wait import Reach
from cup.errors import JobCancelled

from ._core_owner import Unretrieved
from ._core_record import claim, is_claimed

if TYPE_CHECKING:
    from cup._core.loops import Loop, TaskWaiter

    from ._core import PoolCore
    from ._core_record import Record

__all__ = ["Call", "Outbox", "outbox_of"]

T = TypeVar("T")


class Call(Generic[T]):
    """The outcome of one awaited call, and the sink of its record.

    Attributes:
        cancelled: Whether the awaiting task was cancelled; the job may look at it.
    """

    __slots__ = ("_core", "_error", "_guard", "_value", "cancelled", "done", "waiter")

    _value: T

    def __init__(self, core: PoolCore, waiter: TaskWaiter) -> None:
        self._core = core
        self.waiter: TaskWaiter = waiter
        self.done: bool = False
        self.cancelled: bool = False
        self._error: BaseException | None = None
        self._guard: Unretrieved | None = None

    def succeed(self, value: T, /) -> None:
        """Take the result and wake the task."""
        self._value = value
        self.done = True
        waiter = self.waiter
        waiter.home.post(waiter.set)

    def fail(self, error: BaseException, /) -> None:
        """Take the exception and wake the task; reported if no task takes it."""
        self._guard = Unretrieved.guard(
            self._core, error, "the exception of an awaited job reached nobody"
        )
        self._error = error
        self.done = True
        self.waiter.home.post(self.waiter.set)

    def drop(self) -> None:
        """Take it that the pool cancelled the call."""
        self._error = JobCancelled("the job was cancelled before it started")
        self.done = True
        self.waiter.home.post(self.waiter.set)

    def vanish(self) -> None:
        """Do nothing: the loop belongs to the parent."""

    def is_done(self) -> bool:
        """Tell whether the outcome is there."""
        return self.done

    def outcome(self) -> T:
        """Return the result or raise the exception."""
        error = self._error
        if error is None:
            return self._value

        if self._guard is not None:
            self._guard.disarm()
        try:
            raise error
        finally:
            del self, error  # no cycle through the traceback


class Outbox:
    """What the tasks of one loop have asked of one pool in this iteration."""

    __slots__ = ("_core", "_due", "_loop", "_records")

    def __init__(self, core: PoolCore, loop: Loop) -> None:
        self._core = core
        self._loop = loop
        self._records: list[Record] = []
        self._due = False

    def put(self, record: Record) -> None:
        """Add a record; called on the loop."""
        self._records.append(record)
        if not self._due:
            self._due = True
            self._loop.defer(self._hand_over)

    def _hand_over(self) -> None:
        self._due = False
        records, self._records = self._records, []
        # Those whose tasks were cancelled meanwhile are empty: they were never queued.
        records = [record for record in records if not is_claimed(record)]
        try:
            self._core.enqueue_all(records)
        except Exception as error:  # noqa: BLE001 - it goes to the tasks
            for record in records:
                sink = claim(record)
                if sink is not None:
                    sink.fail(error)

    def is_over(self) -> bool:
        """Tell whether the loop is gone."""
        return self._loop.reach() is Reach.GONE


def outbox_of(core: PoolCore, loop: Loop) -> Outbox:
    """Return the outbox of a loop for a pool."""
    outboxes: dict[object, Outbox] = core.outboxes
    outbox = outboxes.get(loop)
    if outbox is None:
        for key in [key for key, other in outboxes.items() if other.is_over()]:
            outboxes.pop(key, None)
        outbox = outboxes[loop] = Outbox(core, loop)
    return outbox
