"""An executor with options, for threads: what `ExecutionService` and its views share.

Twin: `aio_view`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import ParamSpec

from ._core_face import Face
from ._core_series_handle import Series

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ._core_cron import Cron
    from ._core_handle import ScheduledJob
    from ._core_stored import Entry
    from .api_values import Aligned, FixedDelay, FixedRate

__all__ = ["ExecutorView"]

P = ParamSpec("P")
T = TypeVar("T")


class ExecutorView(Face):
    """An executor as seen with options: every job taken through it has them.

    Made by `ExecutionService.options`; keeps the executor alive. Thread-safe.
    """

    __slots__ = ()

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> ScheduledJob[T]:
        """Run a call as soon as a worker is free.

        HIGH before NORMAL before LOW (see `options`), first come, first served inside;
        a lower class gets one start in 16 while a higher one waits. Context variables
        travel with the job. Starts an executor that was never started. Never blocks;
        may be called inside of jobs.

        Args:
            fn: What is called, in a worker.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments; they never meet ours.

        Raises:
            ExecutorClosed: If the executor was stopped.
            InvalidType: If `fn` cannot be called.
        """
        entry = self._save(None, 0.0, fn, args, kwargs)
        try:
            job = self._submit(self._soon, fn, args, kwargs)
        except BaseException:
            self._take_back(entry)
            raise
        return self._attach(entry, job)

    def after(
        self, delay: float, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> ScheduledJob[T]:
        """Run a call in so many seconds.

        Never early. The seconds are those of the monotonic clock: setting the wall
        clock does not move them, and on Linux they stand still while the machine
        sleeps. Due jobs run on workers of their own. A thread that computes in Python
        makes them late by the switch interval of the interpreter (5 ms), as it does
        with everything else; see `sys.setswitchinterval`.

        Args:
            delay: Seconds; zero or less means now.
            fn: What is called, in a worker.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            ExecutorClosed: If the executor was stopped.
            InvalidType: If `fn` cannot be called.
            InvalidValue: If `delay` is NaN or infinite.
        """
        entry = self._save(None, delay, fn, args, kwargs)
        try:
            job = self._after(self._then, delay, fn, args, kwargs)
        except BaseException:
            self._take_back(entry)
            raise
        return self._attach(entry, job)

    def at(
        self,
        when: datetime | float,
        fn: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> ScheduledJob[T]:
        """Run a call at a time of day.

        It follows the wall clock: when that is set, or the machine has slept, the job
        runs when the clock shows the time or a later one; that is noticed within half
        a minute.

        Args:
            when: A datetime (a naive one is local time), or seconds since the epoch; a
                time that is over means now.
            fn: What is called, in a worker.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            ExecutorClosed: If the executor was stopped.
            InvalidType: If `fn` cannot be called, or `when` is no time.
            InvalidValue: If `when` is NaN or infinite.
        """
        entry = self._save(None, self._until(when), fn, args, kwargs)
        try:
            job = self._at(self._clock, when, fn, args, kwargs)
        except BaseException:
            self._take_back(entry)
            raise
        return self._attach(entry, job)

    def every(
        self,
        rhythm: float | FixedRate | FixedDelay | Aligned,
        fn: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Series[T]:
        """Run a call again and again.

        What happens when a run is due while another has not ended, or when runs were
        missed, is said by `options`; by default one run waits for the other's end, and
        one makes up for all that were missed.

        Args:
            rhythm: Seconds at a fixed rate, or a `FixedRate`, `FixedDelay`, `Aligned`.
            fn: What is called, in a worker.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            ExecutorClosed: If the executor was stopped.
            InvalidType: If `fn` cannot be called, or the rhythm is none.
            InvalidValue: If its period makes no sense.
        """
        entry = self._save(rhythm, 0.0, fn, args, kwargs)
        try:
            made = self._every(None, rhythm, fn, args, kwargs)
        except BaseException:
            self._take_back(entry)
            raise
        series: Series[T] = Series(made)
        return self._attach(entry, series)

    def cron(
        self, cron: Cron | str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Series[T]:
        """Run a call by the calendar.

        Up to three hours by which the wall clock is set are made up for, or waited
        for, as Debian's cron does; a clock that is set further is believed. That it was
        set, or that the machine has slept, is noticed within half a minute.

        Args:
            cron: A `Cron`, with its zone, or an expression, which means UTC.
            fn: What is called, in a worker.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            ExecutorClosed: If the executor was stopped.
            CronError: If the expression means nothing.
            InvalidType: If `fn` cannot be called.
        """
        chosen = self._calendar(cron, fn)
        entry = self._save(chosen, 0.0, fn, args, kwargs)
        try:
            made = self._by_calendar(None, chosen, fn, args, kwargs)
        except BaseException:
            self._take_back(entry)
            raise
        series: Series[T] = Series(made)
        return self._attach(entry, series)

    def _save(
        self,
        rhythm: float | FixedRate | FixedDelay | Aligned | Cron | None,
        delay: float,
        fn: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Entry | None:
        """Store a job before it is handed in, if it has a key."""
        ledger = self._core.ledger
        if ledger is None or self._options.key is None:
            return None

        entry = self._entry(rhythm, delay, fn, args, kwargs)
        ledger.save(entry)
        return entry

    def _take_back(self, entry: Entry | None) -> None:
        """Have a job forgotten that was stored, and then refused."""
        ledger = self._core.ledger
        if ledger is not None and entry is not None:
            ledger.refuse(entry)
