"""Limits of single jobs: how long they may wait, and how long they may run.

Only jobs that have a limit pay for it: their record runs through a `Limited`, which
is also its sink. Deadlines are kept by a thread of the library's own, which tells who
waits when one is over; done-callbacks of that job run there, too.

A job that is over its `run_timeout` cannot be killed. Who waits gets `RunTimeout` at
once, the worker is given up and replaced, and its late result is counted.
"""

from __future__ import annotations

from _thread import allocate_lock
from time import monotonic
from typing import TYPE_CHECKING, Any, get_args

from cup._core import timekeeper
from cup._core.clock import check_timeout
from cup.errors import InvalidValue, QueueTimeout, RunTimeout

from ._core_record import claim
from .api import Limits, OnCancel, Urgency

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core import PoolCore
    from ._core_record import Record, Sink
    from ._core_worker import Worker

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


def limit(core: PoolCore, record: Record, limits: Limits) -> None:
    """Put a new record, not yet queued, under its limits."""
    if limits.queue_timeout is not None or limits.run_timeout is not None:
        Limited(core, record, limits)


class Limited:
    """A sink before the sink of one job: whatever comes first settles it."""

    __slots__ = (
        "_appointment",
        "_core",
        "_ended",
        "_expired",
        "_limits",
        "_mutex",
        "_record",
        "_worker",
        "inner",
    )

    def __init__(self, core: PoolCore, record: Record, limits: Limits) -> None:
        self._core = core
        self._limits = limits
        self._record = record
        self.inner: Sink = record[4]
        self._worker: Worker | None = None
        self._mutex = allocate_lock()
        self._ended = False
        self._expired = False
        self._appointment: timekeeper.Appointment | None = None
        fn, _, args, _, _ = record
        record[0] = self._run
        record[2] = (fn, *args)
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
            self._worker = self._core.here()
            self._appointment = timekeeper.call_at(
                monotonic() + self._limits.run_timeout, self._ran_too_long
            )
        try:
            return fn(*args, **kwargs)
        finally:
            with self._mutex:
                self._ended = True
            self.forget()
            if self._expired:
                self._core.late.add()
                self._core.overdue.pop(self, None)

    def forget(self) -> None:
        """Cancel the deadline that is running."""
        if self._appointment is not None:
            self._appointment.cancel()
            self._appointment = None

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
        # The worker cannot leave `_run` while this holds the mutex.
        with self._mutex:
            if self._ended:
                return
            self._expired = True
            self._core.overdue[self] = self._worker
            if self._worker is not None:
                self._worker.lost = True
        if self._worker is not None:
            self._core.give_up(self._worker)
        timeout = self._limits.run_timeout
        self.inner.fail(
            RunTimeout(
                f"the job has not ended within its run_timeout of {timeout} s; "
                f"it goes on, and its result will be dropped",
                timeout=timeout,
            )
        )

    def succeed(self, value: Any, /) -> None:
        """Pass the result on, unless the job was late."""
        if not self._expired:
            self.inner.succeed(value)

    def fail(self, error: BaseException, /) -> None:
        """Pass the exception on, unless the job was late."""
        if not self._expired:
            self.inner.fail(error)

    def drop(self) -> None:
        """Pass on that the job was cancelled."""
        self.forget()
        self.inner.drop()

    def vanish(self) -> None:
        """Pass on that this is a forked child."""
        self.inner.vanish()
