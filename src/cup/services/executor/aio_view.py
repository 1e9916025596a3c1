"""An executor with options, for tasks: what `AsyncExecutionService` and views share.

Twin: `sync_view`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from anyio import CancelScope, to_thread
from anyio.lowlevel import checkpoint_if_cancelled
from typing_extensions import ParamSpec

from cup._core.loops import current_loop
from cup.errors import InvalidType

from ._core_face import Face
from ._core_series_handle import Series
from .aio_crew import LoopCrew, is_coroutine_function, loop_crew
from .aio_handle import AsyncScheduledJob, AsyncSeries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from cup._core.loops import Loop

    from ._core_cron import Cron
    from ._core_handle import Handle
    from ._core_lane import Lane
    from ._core_stored import Entry
    from .api_values import Aligned, FixedDelay, FixedRate

__all__ = ["AsyncExecutorView"]

P = ParamSpec("P")
T = TypeVar("T")
H = TypeVar("H", bound="Handle[Any]")


class AsyncExecutorView(Face):
    """An executor as seen with options: every job taken through it has them.

    Made by `AsyncExecutionService.options`; twin of `ExecutorView`.
    """

    __slots__ = ()

    @overload
    async def submit(
        self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncScheduledJob[T]: ...

    @overload
    async def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncScheduledJob[T]: ...

    async def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> AsyncScheduledJob[Any]:
        """Run a call as soon as a worker is free.

        Twin of `ExecutorView.submit`. A coroutine function runs as a task of the
        calling loop, soon.

        Args:
            fn: What is called: a function in a worker, a coroutine function here.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments; they never meet ours.

        Raises:
            ExecutorClosed: If the executor was stopped.
            InvalidType: If `fn` cannot be called.
        """
        loop = current_loop()
        await loop.immediate()
        lane = self._lane_for(fn, loop, self._soon)
        entry = await self._save(None, 0.0, fn, args, kwargs)
        job = await self._hand_in(entry, lambda: self._submit(lane, fn, args, kwargs))
        return AsyncScheduledJob(job, cancels=self._options.cancel_with_waiter)

    @overload
    async def after(
        self,
        delay: float,
        fn: Callable[P, Awaitable[T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncScheduledJob[T]: ...

    @overload
    async def after(
        self, delay: float, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncScheduledJob[T]: ...

    async def after(
        self, delay: float, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> AsyncScheduledJob[Any]:
        """Run a call in so many seconds.

        Twin of `ExecutorView.after`. No task waits for the time: a coroutine function
        becomes a task of the calling loop when it is due.

        Args:
            delay: Seconds; zero or less means now.
            fn: What is called: a function in a worker, a coroutine function here.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            ExecutorClosed: If the executor was stopped.
            InvalidType: If `fn` cannot be called.
            InvalidValue: If `delay` is NaN or infinite.
        """
        loop = current_loop()
        await loop.immediate()
        lane = self._lane_for(fn, loop, self._then)
        entry = await self._save(None, delay, fn, args, kwargs)
        job = await self._hand_in(
            entry, lambda: self._after(lane, delay, fn, args, kwargs)
        )
        return AsyncScheduledJob(job, cancels=self._options.cancel_with_waiter)

    @overload
    async def at(
        self,
        when: datetime | float,
        fn: Callable[P, Awaitable[T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncScheduledJob[T]: ...

    @overload
    async def at(
        self,
        when: datetime | float,
        fn: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncScheduledJob[T]: ...

    async def at(
        self,
        when: datetime | float,
        fn: Callable[..., Any],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> AsyncScheduledJob[Any]:
        """Run a call at a time of day.

        Twin of `ExecutorView.at`.

        Args:
            when: A datetime (a naive one is local time), or seconds since the epoch; a
                time that is over means now.
            fn: What is called: a function in a worker, a coroutine function here.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            ExecutorClosed: If the executor was stopped.
            InvalidType: If `fn` cannot be called, or `when` is no time.
            InvalidValue: If `when` is NaN or infinite.
        """
        loop = current_loop()
        await loop.immediate()
        lane = self._lane_for(fn, loop, self._clock)
        entry = await self._save(None, self._until(when), fn, args, kwargs)
        job = await self._hand_in(entry, lambda: self._at(lane, when, fn, args, kwargs))
        return AsyncScheduledJob(job, cancels=self._options.cancel_with_waiter)

    @overload
    async def every(
        self,
        rhythm: float | FixedRate | FixedDelay | Aligned,
        fn: Callable[P, Awaitable[T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncSeries[T]: ...

    @overload
    async def every(
        self,
        rhythm: float | FixedRate | FixedDelay | Aligned,
        fn: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncSeries[T]: ...

    async def every(
        self,
        rhythm: float | FixedRate | FixedDelay | Aligned,
        fn: Callable[..., Any],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> AsyncSeries[Any]:
        """Run a call again and again.

        Twin of `ExecutorView.every`.

        Args:
            rhythm: Seconds at a fixed rate, or a `FixedRate`, `FixedDelay`, `Aligned`.
            fn: What is called: a function in a worker, a coroutine function here.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            ExecutorClosed: If the executor was stopped.
            InvalidType: If `fn` cannot be called, or the rhythm is none.
            InvalidValue: If its period makes no sense.
        """
        loop = current_loop()
        await loop.immediate()
        entry = await self._save(rhythm, 0.0, fn, args, kwargs)

        def begin() -> Series[Any]:
            return Series(
                self._every(self._crew_for(fn, loop), rhythm, fn, args, kwargs)
            )

        series = await self._hand_in(entry, begin)
        return AsyncSeries(series, cancels=self._options.cancel_with_waiter)

    @overload
    async def cron(
        self,
        cron: Cron | str,
        fn: Callable[P, Awaitable[T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncSeries[T]: ...

    @overload
    async def cron(
        self, cron: Cron | str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncSeries[T]: ...

    async def cron(
        self, cron: Cron | str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> AsyncSeries[Any]:
        """Run a call by the calendar.

        Twin of `ExecutorView.cron`.

        Args:
            cron: A `Cron`, with its zone, or an expression, which means UTC.
            fn: What is called: a function in a worker, a coroutine function here.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            ExecutorClosed: If the executor was stopped.
            CronError: If the expression means nothing.
            InvalidType: If `fn` cannot be called.
        """
        loop = current_loop()
        await loop.immediate()
        chosen = self._calendar(cron, fn)
        entry = await self._save(chosen, 0.0, fn, args, kwargs)

        def begin() -> Series[Any]:
            return Series(
                self._by_calendar(self._crew_for(fn, loop), chosen, fn, args, kwargs)
            )

        series = await self._hand_in(entry, begin)
        return AsyncSeries(series, cancels=self._options.cancel_with_waiter)

    async def _save(
        self,
        rhythm: float | FixedRate | FixedDelay | Aligned | Cron | None,
        delay: float,
        fn: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Entry | None:
        """Store a job before it is handed in, if it has a key; in a thread.

        It is none of the workers, which may all be busy, and whose jobs are counted.
        """
        ledger = self._core.ledger
        if ledger is None or self._options.key is None:
            return None

        if is_coroutine_function(fn):
            raise InvalidType(
                f"{fn!r} cannot be stored: its event loop ends with this process"
            )

        entry = self._entry(rhythm, delay, fn, args, kwargs)
        try:
            await to_thread.run_sync(ledger.save, entry)
            await checkpoint_if_cancelled()
        except BaseException:  # cancelled: it may have been stored
            await self._take_back(entry)
            raise
        return entry

    async def _hand_in(self, entry: Entry | None, begin: Callable[[], H]) -> H:
        """Begin a job and follow it to its end; have it forgotten if it is refused."""
        try:
            return self._attach(entry, begin())
        except BaseException:
            await self._take_back(entry)
            raise

    async def _take_back(self, entry: Entry | None) -> None:
        """Have a job forgotten that was stored, and then refused."""
        ledger = self._core.ledger
        if ledger is not None and entry is not None:
            with CancelScope(shield=True):
                await to_thread.run_sync(ledger.refuse, entry)

    def _crew_for(self, fn: object, loop: Loop) -> LoopCrew | None:
        """Return the crew of this loop for a coroutine function, else None."""
        return loop_crew(self._core, loop) if is_coroutine_function(fn) else None

    def _lane_for(self, fn: object, loop: Loop, lane: Lane) -> Lane:
        """Return the lane of a call: that of workers, or one to this loop."""
        crew = self._crew_for(fn, loop)
        return lane if crew is None else crew.lane_like(lane)
