"""Limits of single jobs: how long they may wait, and how long they may run.

Only jobs that have a limit pay for it: their record runs through a `Limited`, which
is also its sink. Deadlines are kept by a thread of the library's own, which tells who
waits when one is over; done-callbacks of that job run there, too.

A job that is over its `run_timeout` is interrupted; who waits gets `RunTimeout` when it
has ended by that. If it has not within the pool's `interrupt_grace`, who waits gets it
then, and the worker is given up and replaced: it may be inside of C code for ever.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, get_args

from cup._core import timekeeper
from cup._core.clock import check_timeout
from cup.errors import InvalidValue, JobInterrupted, QueueTimeout, RunTimeout

from ._core_record import claim
from .api import Limits, OnCancel, Urgency

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core_record import Record, Sink
    from ._core_staff import Staff

__all__ = ["Limited", "check_limits", "limit"]


def check_limits(
    urgency: Urgency | int,
    queue_timeout: float | None,
    run_timeout: float | None,
    on_cancel: OnCancel,
) -> Limits:
    """Check the options of a view and return them.

    Raises:
        InvalidValue: If one makes no sense.
        InvalidType: If a time-out is not a number.
    """
    try:
        urgency = Urgency(urgency)
    except ValueError:
        raise InvalidValue(
            f"urgency={urgency!r} is none of "
            f"{', '.join(f'{item.name} ({item.value})' for item in Urgency)}"
        ) from None

    if on_cancel not in get_args(OnCancel):
        raise InvalidValue(
            f"on_cancel={on_cancel!r} is none of {', '.join(get_args(OnCancel))}"
        )

    return Limits(
        urgency=urgency,
        queue_timeout=check_timeout(queue_timeout, "queue_timeout"),
        run_timeout=check_timeout(run_timeout, "run_timeout"),
        on_cancel=on_cancel,
    )


def limit(core: Staff, record: Record, limits: Limits) -> None:
    """Put a new record, not yet queued, under its limits."""
    if limits.queue_timeout is not None or limits.run_timeout is not None:
        Limited(core, record, limits)


class Limited:
    """A sink before the sink of one job: whatever comes first settles it.

    Attributes:
        inner: The sink of the job.
    """

    brief: bool = False

    __slots__ = ("_appointment", "_core", "_expired", "_limits", "_record", "inner")

    def __init__(self, core: Staff, record: Record, limits: Limits) -> None:
        self._core = core
        self._limits = limits
        self._record = record
        self._expired = False
        self._appointment: timekeeper.Appointment | None = None
        self.inner: Sink = record[4]
        record[2] = (record[0], *record[2])
        record[0] = self._run
        record[4] = self
        if limits.queue_timeout is not None:
            self._appointment = timekeeper.call_at(
                monotonic() + limits.queue_timeout, self._queued_too_long
            )

    def _run(
        self, fn: Callable[..., object], /, *args: object, **kwargs: object
    ) -> object:
        """Run the job, in its worker."""
        self.forget()
        if self._limits.run_timeout is not None:
            self._appointment = timekeeper.call_at(
                monotonic() + self._limits.run_timeout, self._ran_too_long
            )
        try:
            return fn(*args, **kwargs)
        finally:
            self.forget()

    def forget(self) -> None:
        """Cancel the deadline that is running."""
        appointment, self._appointment = self._appointment, None
        if appointment is not None:
            appointment.cancel()

    # -- deadlines; called by the timekeeper ---------------------------------------

    def _queued_too_long(self) -> None:
        if claim(self._record) is None:
            return

        timeout = self._limits.queue_timeout
        self._core.withdrew(self)
        self.inner.fail(
            QueueTimeout(
                f"the job was not started within its queue_timeout of {timeout} s; "
                f"pool {self._core.name!r} is too busy",
                timeout=timeout,
            )
        )

    def _ran_too_long(self) -> None:
        self._expired = True
        if not self._core.interrupt(self, JobInterrupted("run_timeout is over")):
            self._expired = False  # it has ended at this very moment
            return

        grace = self._core.settings.interrupt_grace
        timekeeper.call_at(monotonic() + grace, self._did_not_end)

    def _did_not_end(self) -> None:
        if self._core.give_up(self):
            self.inner.fail(self._late("it goes on, and its result will be dropped"))

    def _late(self, what: str) -> RunTimeout:
        timeout = self._limits.run_timeout
        return RunTimeout(
            f"the job has not ended within its run_timeout of {timeout} s; {what}",
            timeout=timeout,
        )

    # -- the end of the job --------------------------------------------------------

    def succeed(self, value: Any, /) -> None:
        """Pass the result on, unless the job was late."""
        if self._expired:
            self._core.late.add()
            self.inner.fail(self._late("its result came too late"))
        else:
            self.inner.succeed(value)

    def fail(self, error: BaseException, /) -> None:
        """Pass the exception on, unless the job was late."""
        if self._expired:
            late = self._late("it was interrupted")
            late.__cause__ = error
            error = late
        self.inner.fail(error)

    def drop(self) -> None:
        """Pass on that the job was cancelled."""
        self.forget()
        self.inner.drop()

    def vanish(self) -> None:
        """Pass on that this is a forked child."""
        self.inner.vanish()
