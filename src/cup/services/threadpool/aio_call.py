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
from ._core_record import claim

if TYPE_CHECKING:
    from cup._core.loops import Loop, TaskWaiter

    from ._core import PoolCore
    from ._core_record import Record

__all__ = ["Call", "Outbox", "open_outbox"]

T = TypeVar("T")


class Call(Generic[T]):
    """The outcome of one awaited call, and the sink of its record.

    Attributes:
        cancelled: Whether the awaiting task was cancelled; the job may look at it.
        done: Whether the outcome is there: `error`, or `value` if that is None.
    """

    brief: bool = True

    __slots__ = ("_core", "_guard", "cancelled", "done", "error", "value", "waiter")

    value: T

    def __init__(self, core: PoolCore, waiter: TaskWaiter) -> None:
        self._core = core
        self.waiter: TaskWaiter = waiter
        self.done: bool = False
        self.cancelled: bool = False
        self.error: BaseException | None = None
        self._guard: Unretrieved | None = None

    def succeed(self, value: T, /) -> None:
        """Take the result and wake the task."""
        self.value = value
        self.done = True
        waiter = self.waiter
        home = waiter.home
        home.inbox.append(waiter)  # these two lines are `post`, without a call
        if not home.armed:
            home.arm()

    def fail(self, error: BaseException, /) -> None:
        """Take the exception and wake the task; reported if no task takes it."""
        self._guard = Unretrieved.guard(
            self._core, error, "the exception of an awaited job reached nobody"
        )
        self.error = error
        self.done = True
        self.waiter.home.post(self.waiter)

    def drop(self) -> None:
        """Take it that the pool cancelled the call."""
        self.error = JobCancelled("the job was cancelled before it started")
        self.done = True
        self.waiter.home.post(self.waiter)

    def vanish(self) -> None:
        """Do nothing: the loop belongs to the parent."""

    def is_done(self) -> bool:
        """Tell whether the outcome is there."""
        return self.done

    def outcome(self) -> T:
        """Return the result or raise the exception."""
        error = self.error
        if error is None:
            return self.value

        if self._guard is not None:
            self._guard.disarm()
        try:
            raise error
        finally:
            del self, error  # no cycle through the traceback


class Outbox:
    """What the tasks of one loop have asked of one pool in this iteration.

    Attributes:
        lone: The waiter of the last call, if that came alone. Once it was woken, the
            next call is handed over at once: one task that awaits call after call
            has nobody to wait for, and saves an iteration of the loop. Many tasks
            find a call that has not ended, or none that came alone.
    """

    __slots__ = ("_core", "_due", "_loop", "_records", "lone")

    def __init__(self, core: PoolCore, loop: Loop) -> None:
        self._core = core
        self._loop = loop
        self._records: list[Record] = []
        self._due = False
        self.lone: TaskWaiter | None = None

    def put(self, record: Record) -> None:
        """Add a record; called on the loop."""
        self._records.append(record)
        if not self._due:
            self._due = True
            self._loop.defer(self._hand_over)

    def _hand_over(self) -> None:
        self._due = False
        records, self._records = self._records, []
        self.lone = records[0][4].waiter if len(records) == 1 and records[0] else None
        # This is where cancelled tasks are noticed, for all calls that come this way:
        # it is later than a look before `put`, and costs a tenth of it.
        ready = [
            record for record in records if record and not record[4].waiter.is_leaving()
        ]
        if len(ready) < len(records):
            self._keep_back(records)
        try:
            self._core.enqueue_all(ready)
        except Exception as error:  # noqa: BLE001 - it goes to the tasks
            for record in ready:
                sink = claim(record)
                if sink is not None:
                    sink.fail(error)

    def _keep_back(self, records: list[Record]) -> None:
        """Drop what is being cancelled, before any worker sees it."""
        for record in records:
            if not record:
                self._core.queue.met_husk()  # its task has noted one
            elif record[4].waiter.is_leaving():
                sink = claim(record)
                if sink is not None:
                    self._core.cancelled.add()
                    sink.drop()

    def is_over(self) -> bool:
        """Tell whether the loop is gone."""
        return self._loop.reach() is Reach.GONE


def open_outbox(core: PoolCore, loop: Loop) -> Outbox:
    """Make the outbox of a loop for a pool; those of dead loops go."""
    outboxes: dict[object, Outbox] = core.outboxes
    for key in list(outboxes):  # a list: other loops open theirs at the same time
        other = outboxes.get(key)
        if other is not None and other.is_over():
            outboxes.pop(key, None)
    outbox = outboxes[loop] = Outbox(core, loop)
    return outbox
