"""Time in ticks, counted from 1970: when an identifier may be issued, and in which.

The tick of a generator never goes back. Where the clock is behind it (it stepped back,
or the tick is used up), the policy decides; see `ClockPolicy`.

Not here: what a tick's identifiers look like (the kinds).
"""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, TypeVar, get_args

from cup._core import fork
from cup._core.clock import SYSTEM, check_timeout
from cup.errors import ClockBehind, InvalidType, InvalidValue

from ._core_ids import NotYet, begin_of, tick_at, utc
from ._core_runs import Chain, Run
from .api import ClockPolicy, IDStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from .api import Clock

__all__ = ["Ticking"]

T = TypeVar("T")

_LONG_AGO: Final = -(1 << 80)
_MICROS: Final = 1_000_000
_STANDSTILL: Final = 1.0  # seconds beyond the bound that a stopped clock is waited for


class Ticking(Chain[T], Generic[T]):
    """A core whose runs belong to ticks of a clock.

    Args:
        tick: Microseconds of a tick.
        policy: What happens when the clock is behind.
        max_ahead: Seconds by which identifiers may be ahead of the clock, and that may
            be waited for it; None for no limit.
        clock: What tells the time.
    """

    __slots__ = (
        "_clock",
        "_held",
        "_lead",
        "_max_ahead",
        "_per_second",
        "_policy",
        "_read",
        "_tick_micros",
    )

    def __init__(
        self,
        *,
        tick: int,
        policy: ClockPolicy,
        max_ahead: float | None,
        clock: Clock | None,
    ) -> None:
        if policy not in get_args(ClockPolicy):
            names = ", ".join(get_args(ClockPolicy))
            raise InvalidValue(f"policy={policy!r} is none of {names}")

        self._clock: Clock = check_clock(clock)
        self._read: Callable[[], float] = (
            time.time if self._clock is SYSTEM else self._clock.time
        )
        self._policy: ClockPolicy = policy
        self._max_ahead: float | None = check_timeout(max_ahead, "max_ahead")
        self._tick_micros: int = tick
        self._per_second: float = _MICROS / tick
        bound = _LONG_AGO
        if self._max_ahead is not None:
            bound = -int(self._max_ahead * self._per_second)
        self._held: int = bound if policy in {"hold", "borrow"} else 0
        """Ticks that the clock may be behind a run that is drawn from, below zero."""
        self._lead: int = -bound if policy == "borrow" else 0
        """Ticks that a new run may be ahead of the clock."""

    def _now(self) -> int:
        """Return the tick that the clock shows, since 1970."""
        return tick_at(self._read(), self._tick_micros)

    def _make(self, tick: int, limit: int) -> Run | int:
        """Make a run in a tick, or in a later one up to a limit.

        Returns:
            The run; or the earliest tick that can be had, if that is above the limit.
        """
        raise NotImplementedError

    def _go_on(self, run: Run) -> Run | None:
        """Make one more run in the tick of a full one, if there is room for that."""
        del run
        return None

    def _follow(self, run: Run | None) -> Run:
        tick = now = self._now()
        fresh = None
        if run is not None and now <= run.tick:
            if now - run.tick < self._held:
                raise self._refusal(run.tick - now, -self._held)
            tick = run.tick + 1
            fresh = self._go_on(run) if run.full else None
        if fresh is None and tick - now <= self._lead:
            made = self._make(tick, now + self._lead)
            if isinstance(made, Run):
                fresh = made
            else:
                tick = made
        if fresh is None:
            raise self._refusal(tick - now, self._lead)

        fresh.floor = fresh.tick + self._held
        fresh.opens = begin_of(fresh.floor, self._tick_micros)
        fresh.closes = begin_of(fresh.tick + 1, self._tick_micros)
        return fresh

    def _begin(self) -> None:
        # With a run that is over: the first draw takes a real one.
        self._run: Run = Run(0, 0, tick=_LONG_AGO)

    def _draw(self) -> int:
        while True:
            run = self._run
            if (
                fork.stamp[0]
                and run.epoch == fork.epoch
                and not run.after
                and run.opens <= self._read() < run.closes
            ):
                number = next(run.numbers)
                if number < run.end:
                    return run.first + number

                run.full = True
            self._prepare(run)

    def _draw_some(self, n: int) -> list[int]:
        run, numbers = self._take(n)
        first = run.first
        return [first + number for number in numbers]

    def _take(self, n: int) -> tuple[Run, list[int]]:
        """Return at least one and at most `n` numbers, with the run they are from."""
        while True:
            run = self._run
            if (
                self._is_mine(run)
                and not run.after
                and run.opens <= self._read() < run.closes
            ):
                numbers = [*islice(run.numbers, min(n, run.size))]
                if not numbers or numbers[-1] >= run.end:
                    run.full = True
                    numbers = [number for number in numbers if number < run.end]
                if numbers:
                    return run, numbers

            self._prepare(run)

    def _prepare(self, run: Run) -> None:
        """Have a run that can be drawn from, or raise."""
        if self._is_mine(run) and not run.after and not run.full:
            tick = self._now()
            if tick < run.floor:
                raise self._refusal(run.tick - tick, -self._held)
            if tick <= run.tick:
                return  # another thread had moved on since the clock was read
        self._turn(run)

    def _refusal(self, lead: int, allowed: int) -> Exception:
        """Return what to raise where an identifier would be `lead` ticks ahead."""
        bound = self._max_ahead
        patience = (lead - allowed) / self._per_second
        ahead = lead / self._per_second
        limit = "its policy is to raise" if bound is None else f"{bound} s are allowed"
        error = ClockBehind(
            f"the next {self.kind} would be {ahead:.3f} s ahead of the clock, and "
            f"{limit}: the clock stepped back, or the tick is used up",
            ahead=ahead,
        )
        if self._policy == "raise" or (
            bound is not None and patience > max(bound, 2 / self._per_second)
        ):
            return error

        return NotYet(
            "the clock is behind",
            seconds=max(patience, 1e-4),
            most=None if bound is None else bound + _STANDSTILL,
            error=error,
        )

    def _micros(self, tick: int) -> int:
        """Return when a tick since 1970 begins, in microseconds since 1970."""
        return tick * self._tick_micros

    def stats(self) -> IDStats:
        """Return the state of this moment."""
        run = self._run
        if run.tick == _LONG_AGO:
            return IDStats(kind=self.kind)

        ahead = (run.tick - self._now()) / self._per_second
        return IDStats(
            kind=self.kind,
            latest=utc(self._micros(run.tick)),
            ahead=max(0.0, ahead),
            left=run.left(),
        )

    def __repr__(self) -> str:
        now = self.stats()
        return (
            f"<{type(self).__name__} {self._policy}, latest {now.latest}, "
            f"{now.ahead:.3f} s ahead>"
        )


def check_clock(clock: Clock | None) -> Clock:
    """Return the clock to use; None means that of the machine.

    Raises:
        InvalidType: If it is no clock.
    """
    if clock is None:
        return SYSTEM

    if not callable(getattr(clock, "time", None)):
        raise InvalidType(f"clock is {clock!r}; give an object with time()")

    return clock
